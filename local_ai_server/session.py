"""One caller's conversation: turns become transcripts, transcripts become replies, replies become sound."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from itertools import count

import structlog

from local_ai_server import asides, protocol
from local_ai_server.agent import Agent
from local_ai_server.errors import AgentError, JobFailed, ProtocolError
from local_ai_server.llm.base import Act, LanguageModel, Piece, Verdict
from local_ai_server.llm.intents import tokens_of
from local_ai_server.record import Record, SpokenReply
from local_ai_server.stt.base import Transcript
from local_ai_server.tts.clauses import ClauseSplitter
from local_ai_server.workers import WorkerPool

_log = structlog.get_logger()

_PARTIAL_MS = 400
"""A partial transcript is tried after this much more sound, and after a quarter more of a long turn."""
_MAX_WAITING = 16
"""Turns and replies a client may have waiting."""
_BROKEN_OFF = "\u2026 "
"""Ends the clause in which an answer was lost."""


@dataclass(eq=False, slots=True)
class _Turn:
    number: int
    pcm: bytearray = field(default_factory=bytearray)
    next_partial: int = 0
    """Bytes of sound at which the next partial transcript is due."""
    partial: str = ""
    is_brief: bool = False
    """It was a short sound into the agent's own words, and need not be answered."""
    is_dropped: bool = False


@dataclass(eq=False, slots=True)
class _Ask:
    """A reply to be made: to ``text``, of a turn or of an earlier one, or to say ``line`` as it is."""

    turn: _Turn | None = None
    text: str = ""
    line: str | None = None


@dataclass(eq=False, slots=True)
class _Making:
    """The reply that is being made."""

    number: int
    task: asyncio.Task[None]


class Session:
    """Feed it with ``receive`` and ``hear``, which never wait, while ``run`` answers through ``send``."""

    def __init__(
        self,
        start: protocol.Start,
        rates: tuple[int, int],
        pool: WorkerPool,
        model: LanguageModel,
        send: Callable[[protocol.ServerMessage | bytes], Awaitable[None]],
    ) -> None:
        self._agent: Agent = start.agent
        self._input_rate, self._output_rate = rates
        self._pool = pool
        self._model = model
        self._send = send
        self._log = _log.bind(call_id=start.call_id)
        self.record = Record(start.history)
        self.sound_dropped = 0
        """Binary frames that came outside a turn."""
        self._last_turn = -1
        self._open: _Turn | None = None
        self._turns: dict[int, _Turn] = {}
        self._ended: asyncio.Queue[_Turn] = asyncio.Queue()
        self._asks: asyncio.Queue[_Ask] = asyncio.Queue()
        self._numbers = count(1)
        self._tools = count(1)
        self._making: _Making | None = None
        self._misunderstood = 0
        self._unanswered = ""
        """What the caller asked and has heard no sound in answer to; the next turn may be no more than a cough."""
        self._answering = (0, "")
        """The latest reply, and the question that is unanswered again should none of it be heard."""
        self._guesses: asyncio.Queue[_Turn] = asyncio.Queue()
        self._is_guessing = False

    async def run(self) -> None:
        """Transcribe and answer until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_partials())
            group.create_task(self._transcribe_turns())
            group.create_task(self._make_replies())

    def receive(self, message: protocol.ClientMessage) -> None:
        """Take one message. Raises ProtocolError where it does not fit the conversation."""
        match message:
            case protocol.TurnBegin(turn):
                self._begin(turn)
            case protocol.TurnEnd(turn, brief):
                if self._open and self._open.number == turn:
                    self._open.is_brief = brief
                    self._end()
            case protocol.TurnDrop(turn):
                self._forget(turn)
                self._answer_unanswered()
            case protocol.Text(turn, text):
                self._ask(_Ask(self._new_turn(turn), text=text))
            case protocol.Greet():
                self._ask(_Ask(line=self._agent.greeting))
            case protocol.Say(text):
                self._ask(_Ask(line=text))
            case protocol.Nudge(last):
                self._ask(_Ask(line=self._agent.goodbye if last else self._agent.nudge))
            case protocol.Digit(digit):
                self.record.caller_said(f"[key {digit}]")
            case protocol.Cancel(reply, heard_ms):
                self._cancel(reply, heard_ms)
            case protocol.ToolResult(id, result):
                self._log.info("tool answered", tool_id=id, result=dict(result))
            case _:
                raise ProtocolError("a session is started only once")

    def hear(self, pcm: bytes) -> None:
        """The caller's sound, belonging to the open turn."""
        turn = self._open
        if turn is None:
            self.sound_dropped += 1
            return
        turn.pcm += pcm
        if len(turn.pcm) >= protocol.MAX_TURN_BYTES:
            self._end()
        elif len(turn.pcm) >= turn.next_partial:
            self._try_partial(turn)

    # the caller's side

    def _new_turn(self, number: int) -> _Turn:
        if number <= self._last_turn:
            raise ProtocolError(f"turn {number} came after turn {self._last_turn}")
        if self._ended.qsize() + self._asks.qsize() >= _MAX_WAITING:
            raise ProtocolError(f"more than {_MAX_WAITING} turns and replies are waiting")
        self._last_turn = number
        self._turns[number] = turn = _Turn(number, next_partial=self._bytes(_PARTIAL_MS))
        return turn

    def _begin(self, number: int) -> None:
        turn = self._new_turn(number)
        if self._open:
            self._forget(self._open.number)
        self._open = turn

    def _end(self) -> None:
        if self._open:
            self._ended.put_nowait(self._open)
            self._open = None

    def _forget(self, number: int) -> None:
        turn = self._turns.pop(number, None)
        if turn:
            turn.is_dropped = True
        if turn is self._open:
            self._open = None

    def _bytes(self, ms: int) -> int:
        return self._input_rate * ms // 1000 * 2

    def _try_partial(self, turn: _Turn) -> None:
        # one worker always stays free, so that no final and no first sound waits for a partial
        if self._pool.idle < 2 or self._is_guessing:
            return
        turn.next_partial = len(turn.pcm) + max(self._bytes(_PARTIAL_MS), len(turn.pcm) // 4)
        self._is_guessing = True
        self._guesses.put_nowait(turn)

    async def _send_partials(self) -> None:
        while True:
            turn = await self._guesses.get()
            try:
                heard = await self._hear(bytes(turn.pcm), False)
            except JobFailed as error:
                self._log.warning("partial transcript lost", turn=turn.number, reason=str(error))
                heard = Transcript("", 0.0)
            self._is_guessing = False
            if turn is self._open and heard.text not in ("", turn.partial):
                turn.partial = heard.text
                await self._send(protocol.Partial(turn.number, heard.text))

    async def _transcribe_turns(self) -> None:
        while True:
            turn = await self._ended.get()
            if turn.is_dropped:
                continue
            heard = await self._transcribe(turn)
            if turn.is_dropped:
                continue
            await self._send(protocol.Final(turn.number, heard.text, heard.confidence))
            if turn.is_brief and not self._wants_answer(heard.text):
                self._pass_over(turn, heard.text)
            else:
                self._asks.put_nowait(_Ask(turn, text=heard.text))

    def _wants_answer(self, text: str) -> bool:
        """Whether the words of a brief turn ask for an answer."""
        language = self._agent.language
        if not text or asides.is_backchannel(text, language):
            return False
        return self._model.understands(self._agent, text, exactly=asides.is_halt(text, language))

    def _pass_over(self, turn: _Turn, text: str) -> None:
        """A brief turn stays without an answer; who calls for silence wants no earlier answer either."""
        self._turns.pop(turn.number, None)
        if asides.is_halt(text, self._agent.language):
            self.record.caller_said(text)
            self._unanswered = ""
            self._answering = (self._answering[0], "")
        else:
            self._answer_unanswered()

    async def _transcribe(self, turn: _Turn) -> Transcript:
        pcm = bytes(turn.pcm)
        turn.pcm.clear()
        try:
            return await self._decode(pcm, turn.is_brief)
        except JobFailed as error:
            await self._report(f"turn {turn.number} was lost: {error}")
            return Transcript("", 0.0)

    async def _decode(self, pcm: bytes, brief: bool) -> Transcript:
        """One more try is worth it: the worker may have died of something else than this turn."""
        try:
            return await self._hear(pcm, brief)
        except JobFailed as error:
            self._log.warning("turn is tried again", reason=str(error))
            return await self._hear(pcm, brief)

    async def _hear(self, pcm: bytes, brief: bool) -> Transcript:
        heard: Transcript = await self._pool.run("transcribe", self._agent, pcm, self._input_rate, brief)
        return heard

    async def _report(self, message: str) -> None:
        self._log.warning("work lost", reason=message)
        await self._send(protocol.Error("internal", message, fatal=False))

    # the agent's side

    def _ask(self, ask: _Ask) -> None:
        if self._asks.qsize() >= _MAX_WAITING:
            raise ProtocolError(f"more than {_MAX_WAITING} replies are waiting")
        self._asks.put_nowait(ask)

    def _answer_unanswered(self) -> None:
        """What came between a question and its answer was nothing: answer it now, unless a turn will."""
        if self._unanswered and not self._open and self._ended.empty() and self._asks.empty():
            self._asks.put_nowait(_Ask(text=self._unanswered))

    def _cancel(self, reply: int, heard_ms: float) -> None:
        # synthesis runs far ahead of the line, so mostly the reply is made already and only the record changes
        self.record.cut(reply, heard_ms)
        latest, question = self._answering
        if reply == latest and heard_ms == 0:
            self._unanswered = question
        if self._making and self._making.number == reply:
            self._making.task.cancel()

    async def _make_replies(self) -> None:
        while True:
            ask = await self._asks.get()
            if ask.turn:
                if ask.turn.is_dropped:
                    self._unanswered = ask.text or self._unanswered
                    continue
                del self._turns[ask.turn.number]
            number = next(self._numbers)
            task = asyncio.create_task(self._make(number, ask, self._take_question(number, ask)))
            self._making = _Making(number, task)
            try:
                await asyncio.wait({task})
            finally:
                task.cancel()
                self._making = None
            await self._end_reply(number, task)

    async def _end_reply(self, number: int, task: asyncio.Task[None]) -> None:
        is_cut_short = task.cancelled()
        if not is_cut_short:
            try:
                task.result()
            except (JobFailed, AgentError) as error:
                is_cut_short = True
                await self._report(f"reply {number} was lost: {error}")
        await self._send(protocol.ReplyEnd(number, is_cut_short))

    def _take_question(self, number: int, ask: _Ask) -> str:
        """What the caller waits for as reply ``number`` begins: the turn's text, or where it has none, an earlier's."""
        question = ask.text or self._unanswered
        self._unanswered = ""
        self._answering = (number, question)
        return question

    async def _make(self, number: int, ask: _Ask, question: str) -> None:
        await self._send(protocol.Reply(number, ask.turn.number if ask.turn else None))
        if ask.line is None and question and self.record.entries[-1:] != (("caller", question),):
            self.record.caller_said(question)
        heard_so_far = self.record.entries
        spoken = self.record.agent_begins(number)
        splitter = ClauseSplitter()
        tools: list[str] = []
        async with aclosing(self._pieces(ask.line, question, heard_so_far)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Act):
                    tools.append(piece.name)
                elif isinstance(piece, str):
                    await self._send(protocol.Token(number, piece))
                    for clause in splitter.feed(piece):
                        await self._speak(spoken, clause)
        for clause in splitter.flush():
            await self._speak(spoken, clause)
        for name in tools:
            await self._send(protocol.ToolAsked(number, f"tool-{next(self._tools)}", name, {}))

    async def _pieces(
        self, line: str | None, question: str, heard_so_far: tuple[tuple[str, str], ...]
    ) -> AsyncGenerator[Piece, None]:
        if line is not None:
            for token in tokens_of(line):
                yield token
            return
        is_understood = bool(question)
        said = ""
        if is_understood:
            try:
                async with aclosing(self._model.answer(self._agent, heard_so_far)) as pieces:
                    async for piece in pieces:
                        if piece is Verdict.NOT_UNDERSTOOD:
                            is_understood = False
                        else:
                            said += piece if isinstance(piece, str) else ""
                            yield piece
            except JobFailed as error:
                is_understood = False
                await self._report(f"an answer was lost: {error}")
                if said:
                    yield " " if said.rstrip().endswith((".", "?", "!")) else _BROKEN_OFF
        self._misunderstood = 0 if is_understood else self._misunderstood + 1
        if not is_understood:
            for token in tokens_of(self._agent.fallback):
                yield token
            if self._misunderstood >= self._agent.fallback_limit:
                self._misunderstood = 0
                yield Act("transfer")

    async def _speak(self, spoken: SpokenReply, clause: str) -> None:
        opens_reply = not spoken.clauses
        spoken.begin(clause)
        await self._send(protocol.Clause(spoken.reply, clause))
        async with aclosing(self._pool.stream("speak", self._agent, clause, opens_reply)) as chunks:
            async for pcm in chunks:
                spoken.sounded(len(pcm) / 2 * 1000 / self._output_rate)
                await self._send(protocol.pack_sound(spoken.reply, pcm))
