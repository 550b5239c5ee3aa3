"""One caller's conversation: turns become transcripts, transcripts become replies, replies become sound."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import structlog

from local_ai_server import asides, protocol
from local_ai_server.agent import Agent
from local_ai_server.crew import Crew
from local_ai_server.errors import AgentError, JobFailed, ProtocolError
from local_ai_server.record import Record
from local_ai_server.reply import Order, Question, ReplyMaker, Send
from local_ai_server.stt.base import Transcript

_log = structlog.get_logger()

_PARTIAL_MS = 400
"""A partial transcript is tried after this much more sound, and after a quarter more of a long turn."""
_MAX_WAITING = 16
"""Turns and replies a client may have waiting."""
_NOTHING = Question()


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
    """A reply that is wanted: to a turn's or an earlier question, or to say ``line`` as it is."""

    turn: _Turn | None = None
    question: Question = _NOTHING
    line: str | None = None
    continues: bool = False
    context: protocol.Context | None = None


@dataclass(eq=False, slots=True)
class _Making:
    """The reply that is being made."""

    number: int
    task: asyncio.Task[bool]


class Session:
    """Feed it with ``receive`` and ``hear``, which never wait, while ``run`` answers through ``send``."""

    def __init__(self, start: protocol.Start, rates: tuple[int, int], crew: Crew, send: Send) -> None:
        """Whoever makes it has entered it in ``crew``; ``leave`` takes it out of the one it is with then."""
        self.start = start
        self.input_rate, self.output_rate = rates
        self._agent: Agent = start.agent
        self._crew = crew
        self._successor: Crew | None = None
        self._send = send
        self._log = _log.bind(call_id=start.call_id)
        self.record = Record(start.history)
        self._replies = ReplyMaker(start, self.output_rate, self.record, send, self._report, self)
        self.sound_dropped = 0
        """Binary frames that came outside a turn."""
        self._last_turn = -1
        self._open: _Turn | None = None
        self._turns: dict[int, _Turn] = {}
        self._ended: asyncio.Queue[_Turn] = asyncio.Queue()
        self._asks: asyncio.Queue[_Ask] = asyncio.Queue()
        self._numbers = count(1)
        self._making: _Making | None = None
        self._unanswered = _NOTHING
        """What the caller asked and has heard no sound in answer to; the next turn may be no more than a cough."""
        self._answering = (0, _NOTHING)
        """The latest reply, and the question that is unanswered again should none of it be heard."""
        self._guesses: asyncio.Queue[_Turn] = asyncio.Queue()
        self._is_guessing = False
        self._is_transcribing = False

    # the models it is with

    @property
    def crew(self) -> Crew:
        return self._crew

    def move_to(self, crew: Crew) -> None:
        """Change over, once no turn and no reply is under way; the session has been entered there and prepared."""
        if self._successor:
            self._successor.leave()
        self._successor = crew
        self._settle()

    def leave(self) -> None:
        """The session is over."""
        for crew in (self._crew, self._successor):
            if crew:
                crew.leave()

    def _settle(self) -> None:
        """Change over if now is the time."""
        is_working = self._making or self._is_guessing or self._is_transcribing
        if self._successor and not is_working and not self._turns and self._asks.empty():
            self._crew.leave()
            self._crew, self._successor = self._successor, None
            self._log.info("session changed over", **self._crew.names)

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
                self._need("stt", "turn_begin")
                self._begin(turn)
            case protocol.TurnEnd(turn, brief):
                if self._open and self._open.number == turn:
                    self._open.is_brief = brief
                    self._end()
            case protocol.TurnDrop(turn):
                self._forget(turn)
                self._answer_unanswered()
                self._settle()
            case protocol.Text(turn, text, context):
                self._need("llm", "text")
                self._ask(_Ask(self._new_turn(turn), _question(text, context), context=context))
            case protocol.Greet():
                self._say("greet", self._agent.greeting)
            case protocol.Say(text, continues):
                self._say("say", text, continues=continues)
            case protocol.Nudge(last):
                self._say("nudge", self._agent.goodbye if last else self._agent.nudge)
            case protocol.Digit(digit):
                self.record.caller_said(f"[key {digit}]")
            case protocol.Cancel(reply, heard_ms):
                self._cancel(reply, heard_ms)
            case protocol.ToolResult(id, result):
                self._take_result(id, result)
            case protocol.Note(text):
                self._need("llm", "note")
                self._replies.take_note(text)
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

    def _need(self, part: str, message: str) -> None:
        if part not in self.start.parts:
            raise ProtocolError(f"`{message}` needs the part {part}, which `start` did not ask for")

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
        return self.input_rate * ms // 1000 * 2

    def _try_partial(self, turn: _Turn) -> None:
        # one worker always stays free, so that no final and no first sound waits for a partial
        if self._crew.pool.idle < 2 or self._is_guessing:
            return
        turn.next_partial = len(turn.pcm) + max(self._bytes(_PARTIAL_MS), len(turn.pcm) // 4)
        self._is_guessing = True
        self._guesses.put_nowait(turn)

    async def _send_partials(self) -> None:
        while True:
            turn = await self._guesses.get()
            try:
                heard = await self._hear(bytes(turn.pcm), False, urgent=False)
            except JobFailed as error:
                self._log.warning("partial transcript lost", turn=turn.number, reason=str(error))
                heard = Transcript("", 0.0)
            self._is_guessing = False
            if turn is self._open and heard.text not in ("", turn.partial):
                turn.partial = heard.text
                await self._send(protocol.Partial(turn.number, heard.text))
            self._settle()

    async def _transcribe_turns(self) -> None:
        while True:
            turn = await self._ended.get()
            if not turn.is_dropped:
                self._is_transcribing = True
                await self._finish_turn(turn)
                self._is_transcribing = False
            self._settle()

    async def _finish_turn(self, turn: _Turn) -> None:
        """Say what was heard in it, and have it answered where that is wanted."""
        heard = await self._transcribe(turn)
        if turn.is_dropped:
            return
        await self._send(protocol.Final(turn.number, heard.text, heard.confidence))
        if "llm" not in self.start.parts:
            self._turns.pop(turn.number, None)
        elif turn.is_brief and not self._wants_answer(heard.text):
            self._pass_over(turn, heard.text)
        else:
            self._asks.put_nowait(_Ask(turn, Question(heard.text)))

    def _wants_answer(self, text: str) -> bool:
        """Whether the words of a brief turn ask for an answer."""
        language = self._agent.language
        if not text or asides.is_backchannel(text, language):
            return False
        exactly = asides.is_halt(text, language)
        return self._crew.model.understands(self._agent, text, self.record.entries, exactly=exactly)

    def _pass_over(self, turn: _Turn, text: str) -> None:
        """A brief turn stays without an answer; who calls for silence wants no earlier answer either."""
        self._turns.pop(turn.number, None)
        if asides.is_halt(text, self._agent.language):
            self.record.caller_said(text)
            self._unanswered = _NOTHING
            self._answering = (self._answering[0], _NOTHING)
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

    async def _hear(self, pcm: bytes, brief: bool, *, urgent: bool = True) -> Transcript:
        work = ("transcribe", self._agent, pcm, self.input_rate, brief)
        heard: Transcript = await self._crew.pool.run(*work, owner=self, urgent=urgent)
        return heard

    async def _report(self, message: str) -> None:
        self._log.warning("work lost", reason=message)
        await self._send(protocol.Error("internal", message, fatal=False))

    # the agent's side

    def _ask(self, ask: _Ask) -> None:
        if self._asks.qsize() >= _MAX_WAITING:
            raise ProtocolError(f"more than {_MAX_WAITING} replies are waiting")
        self._asks.put_nowait(ask)

    def _say(self, message: str, line: str, *, continues: bool = False) -> None:
        self._need("tts", message)
        self._ask(_Ask(line=line, continues=continues))

    def _answer_unanswered(self) -> None:
        """What came between a question and its answer was nothing: answer it now, unless a turn will."""
        if self._unanswered and not self._open and self._ended.empty() and self._asks.empty():
            self._asks.put_nowait(_Ask(question=self._unanswered))

    def _take_result(self, id: str, result: Mapping[str, Any]) -> None:
        """What came of a tool: the agent goes on now, or in the reply to the turn that is under way."""
        self._log.info("tool answered", tool_id=id, result=dict(result))
        if not self._replies.take_result(id, result):
            return
        if self._turns:
            self._unanswered = replace(self._unanswered, has_results=True)
        else:
            self._asks.put_nowait(_Ask(question=Question(has_results=True)))

    def _cancel(self, reply: int, heard_ms: float) -> None:
        # synthesis runs far ahead of the line, so mostly the reply is made already and only the record changes
        self.record.cut(reply, heard_ms)
        latest, question = self._answering
        if reply == latest and heard_ms == 0 and question:
            self._unanswered = replace(question, has_results=question.has_results or self._unanswered.has_results)
        if self._making and self._making.number == reply:
            self._making.task.cancel()

    async def _make_replies(self) -> None:
        while True:
            ask = await self._asks.get()
            if ask.turn and ask.turn.is_dropped:
                self._unanswered = (ask.question if not ask.context else _NOTHING) or self._unanswered
            else:
                await self._make_reply(ask)
            self._settle()

    async def _make_reply(self, ask: _Ask) -> None:
        if ask.turn:
            del self._turns[ask.turn.number]
        if ask.context:
            self._replies.take_context(ask.context)
        number = next(self._numbers)
        turn = ask.turn.number if ask.turn else None
        question = self._take_question(number, ask)
        order = Order(number, turn, question, ask.line, ask.continues, falls_back=not ask.context)
        task = asyncio.create_task(self._replies.make(order, self._crew))
        self._making = _Making(number, task)
        try:
            await asyncio.wait({task})
        finally:
            task.cancel()
            self._making = None
        await self._end_reply(number, task)

    async def _end_reply(self, number: int, task: asyncio.Task[bool]) -> None:
        is_cut_short = task.cancelled()
        if not is_cut_short:
            try:
                if task.result():  # what comes of the tool will be answered, whether this was heard or not
                    self._answering = (number, _NOTHING)
            except (JobFailed, AgentError) as error:
                is_cut_short = True
                await self._report(f"reply {number} was lost: {error}")
        await self._send(protocol.ReplyEnd(number, is_cut_short))

    def _take_question(self, number: int, ask: _Ask) -> Question:
        """What the caller waits for as reply ``number`` begins: the turn's text, or where it has none, an earlier's."""
        question = ask.question or self._unanswered
        self._unanswered = _NOTHING
        self._answering = (number, _NOTHING if ask.context else question)
        return question


def _question(text: str, context: protocol.Context | None) -> Question:
    """A client that keeps the conversation lets an answer go on from a tool's result by saying nothing."""
    history = context.history if context else None
    return Question(text, has_results=bool(not text and history and history[-1][0] == "tool"))
