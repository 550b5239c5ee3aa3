"""Which reply is made now, which one waits, and which one the caller is still owed."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any

from ai_engine.audio.format import AudioFormat
from ai_engine.call.events import CallerInterrupted, ReplyBegan, ReplyEnded, ReplyId, Stage
from ai_engine.providers.pipeline.bench import Bench
from ai_engine.providers.pipeline.outbox import Outbox
from ai_engine.providers.pipeline.ports import Message
from ai_engine.providers.pipeline.record import Record
from ai_engine.providers.pipeline.reply import Maker, Outcome, Reply, RoundOver
from ai_engine.providers.pipeline.telling import Telling
from ai_engine.providers.pipeline.tool_rounds import ToolRounds
from ai_engine.session.ports import Briefing

_TOOL_SECONDS = 2.0
"""The caller spoke while tools were used: so long an answer waits to tell what came of them."""

_Ask = Callable[[], None]


class Replies:
    """One reply is made at a time, and none begins while the caller has the floor."""

    def __init__(self, briefing: Briefing, maker: Maker, record: Record, outbox: Outbox, format: AudioFormat) -> None:
        """``format`` is the speaker's."""
        self._specs = briefing.tools
        self._fallback = str(briefing.agent.get("fallback", ""))
        self._fallback_limit = int(briefing.agent.get("fallback_limit", 3))
        self._maker = maker
        self._record = record
        self._outbox = outbox
        self._telling = Telling(record, outbox, format)
        self._tools = ToolRounds(record, outbox)
        self._numbers = count(1)
        self._held = False
        self._bench = Bench(outbox)
        self._waiting: deque[_Ask] = deque()
        self._answering: ReplyId | None = None
        """The latest answer of the model."""
        self._owed = False
        """The caller has asked something and heard nothing in answer to it."""
        self._postponed: asyncio.TimerHandle | None = None
        """An answer that waits for tools."""
        self._misunderstood = 0

    # -- asked for -------------------------------------------------------------------------------------------

    def answer(self) -> None:
        """The caller said something, which is in the record: nothing else needs to be said any more."""
        self._drop()
        self._waiting.clear()
        self._expect_answer()
        if self._tools.waiting:
            self._postpone()
        else:
            self._begin_answer()

    def answer_in_turn(self) -> None:
        """The same, but what is being said is said first."""
        if self._bench.began:
            self._waiting.append(self.answer)
        else:
            self.answer()

    def say(self, line: str, *, transfers: bool = False) -> None:
        """Say ``line`` as it is; with ``transfers`` the caller is handed to a person after it."""
        if self._bench.reply is not None:
            self._waiting.append(lambda: self.say(line, transfers=transfers))
            return
        self._telling.expect(Stage.FIRST_AUDIO)
        reply = self._new(answers=False)
        reply.transfers = transfers
        self._launch(reply, lambda: self._maker.say(reply, line))

    def not_understood(self) -> None:
        """Ask the caller to say it again, and after the agent's limit connect them to a person."""
        self._misunderstood += 1
        transfers = self._misunderstood >= self._fallback_limit
        if transfers:
            self._misunderstood = 0
        self.say(self._fallback, transfers=transfers)

    def answer_tool(self, id: str, result: Mapping[str, Any], *, last: bool) -> None:
        if not self._tools.answer(id, result) or last:
            return
        if self._tools.goes_on or self._postponed is not None:
            self._go_on()

    # -- the caller's floor ----------------------------------------------------------------------------------

    def hold(self) -> None:
        """The caller has the floor: no reply begins."""
        self._held = True
        if self._bench.reply is not None and not self._bench.began:
            self._bench.reply.hold()

    def release(self) -> None:
        """Replies may begin."""
        self._held = False
        if self._bench.reply is not None and not self._bench.guesses:
            self._bench.reply.release()

    @property
    def owes(self) -> bool:
        """What the caller said before is still to be answered."""
        return self._owed or self._tools.waiting or (self._bench.reply is not None and not self._bench.began)

    def resume(self) -> None:
        """What the caller said was nothing: give or make the answer to what they asked before, if there is one."""
        self.release()
        if self._owed and self._bench.reply is None and not self._tools.waiting:
            self._expect_answer()
            self._begin_answer()

    def cut(self, reply: ReplyId, heard_ms: float) -> None:
        """The session stopped ``reply`` after ``heard_ms``."""
        self._telling.cut(reply, heard_ms)
        if self._bench.reply is not None and self._bench.began and self._bench.reply.id == reply:
            self._drop()
        if heard_ms == 0 and reply == self._answering and not self._tools.waiting:
            self._owed = True
        self._next()

    def caller_began(self, *, contested: bool) -> None:
        """The transcriber's own ears hear the caller: nothing more is said.

        ``contested``: the engine's ear hears them too, and its session decides what becomes of a reply that has begun.
        """
        if self._bench.began or self._telling.sounding:
            self._outbox.put(CallerInterrupted())
        if self._bench.began and not contested:
            self._drop()
        self.hold()

    # -- answers made in advance -----------------------------------------------------------------------------

    def prepare(self, text: str) -> None:
        """Make an answer to ``text``, which the caller may have said, and give nothing of it yet."""
        if self._tools.waiting or self._bench.began:
            return
        if (dropped := self._bench.drop()) and dropped.answers and dropped.guess is None:
            self._owed = True
        reply = self._new(answers=True, guess=text)
        self._launch(reply, lambda: self._answer(reply))

    def discard(self) -> None:
        """It was not what the caller said, or they go on."""
        if self._bench.guesses:
            self._drop()

    def adopt(self, text: str) -> bool:
        """Whether the answer to ``text``, which is in the record now, was made in advance: ``release`` gives it."""
        reply = self._bench.reply
        if reply is None or reply.guess != text:
            self.discard()
            return False
        reply.guess = None
        self._answering = reply.id
        self._expect_answer()
        self._owed = False
        return True

    # -- made ------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Nothing is said any more, and every request has ended."""
        self._waiting.clear()
        self._unpostpone()
        await self._bench.close()

    def _expect_answer(self) -> None:
        self._tools.begin()
        self._telling.expect(Stage.FIRST_TOKEN, Stage.FIRST_AUDIO)

    def _new(self, *, answers: bool, guess: str | None = None) -> Reply:
        return Reply(ReplyId(next(self._numbers)), self._take, answers=answers, guess=guess)

    def _begin_answer(self) -> None:
        self._owed = False
        reply = self._new(answers=True)
        self._answering = reply.id
        self._launch(reply, lambda: self._answer(reply))

    async def _answer(self, reply: Reply) -> None:
        await self._outbox.taken()  # how much was heard of what came before
        messages = self._record.messages()
        if reply.guess is not None:
            messages.append(Message("user", reply.guess))
        await self._maker.answer(reply, messages, self._specs)

    def _launch(self, reply: Reply, make: Callable[[], Awaitable[None]]) -> None:
        if self._held or reply.guess is not None:
            reply.hold()
        self._bench.make(reply, make)

    def _drop(self) -> None:
        if (reply := self._bench.drop()) and reply.began:
            self._outbox.put(ReplyEnded(reply.id))

    def _take(self, reply: Reply, outcome: Outcome) -> None:
        if isinstance(outcome, RoundOver):
            self._bench.done()
            self._end(reply, outcome)
            self._next()
            return
        if isinstance(outcome, ReplyBegan):
            reply.began = True
        self._telling.tell(outcome)

    def _end(self, reply: Reply, over: RoundOver) -> None:
        if reply.transfers:
            self._tools.transfer()
        elif over.calls:
            if not self._tools.ask(reply.id, over.calls):
                self._go_on()
        elif reply.answers and over.spoke:
            self._misunderstood = 0
        elif reply.answers:
            self.not_understood()

    def _next(self) -> None:
        if self._bench.reply is None and self._waiting:
            self._waiting.popleft()()

    def _go_on(self) -> None:
        """Let the model say what came of its tools."""
        if self._tools.exhausted:
            self._unpostpone()
            self.not_understood()
        else:
            self._answer_soon()

    def _answer_soon(self) -> None:
        self._unpostpone()
        if self._bench.began or self._bench.guesses:
            self._waiting.append(self._begin_answer)
        else:
            self._drop()
            self._begin_answer()

    def _postpone(self) -> None:
        self._unpostpone()
        self._postponed = asyncio.get_running_loop().call_later(_TOOL_SECONDS, self._answer_soon)

    def _unpostpone(self) -> None:
        if self._postponed is not None:
            self._postponed.cancel()
            self._postponed = None
