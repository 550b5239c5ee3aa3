"""The agent made of a transcriber, a language model and a speaker."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from ai_engine.audio.format import SLIN16, AudioFormat
from ai_engine.call.backchannel import asks_for_nothing
from ai_engine.call.events import CallerSaid, CallEvent, ReplyId, Stage, StageReached, UsageReported
from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.keypad import Keypad
from ai_engine.providers.pipeline.outbox import Outbox
from ai_engine.providers.pipeline.ports import (
    Began,
    Eager,
    Final,
    Heard,
    LanguageModel,
    Part,
    Partial,
    Resumed,
    Speaker,
    Transcriber,
    Usage,
)
from ai_engine.providers.pipeline.record import Record
from ai_engine.providers.pipeline.replies import Replies
from ai_engine.providers.pipeline.reply import Maker
from ai_engine.providers.pipeline.together import blaming, together
from ai_engine.session.ports import Briefing
from ai_engine.text.keys import pressed

_ON_THE_PHONE = (
    "This is a telephone call: what you write is read out to the caller. Answer in one to three short sentences of "
    "plain spoken text, without lists, headings, links or emoji, and ask only one thing at a time. "
    f"A message like {pressed('5')} tells of keys."
)


@dataclass(frozen=True, slots=True)
class _Turn:
    """One turn of the caller whose words are awaited."""

    number: int
    brief: bool = False


class PipelineAgent:
    """Implements ``Agent``."""

    def __init__(
        self, name: str, transcriber: Transcriber, model: LanguageModel, speaker: Speaker, *, most_history: int = 40
    ) -> None:
        """``most_history`` is in turns of the caller."""
        self.provider = name
        self.input_format: AudioFormat = SLIN16
        self.output_format: AudioFormat = SLIN16
        self.patience_seconds = transcriber.patience_seconds
        self._ear = transcriber
        self._model = model
        self._speaker = speaker
        self._most_history = most_history
        self._outbox = Outbox()
        self._briefing: Briefing | None = None
        self._record: Record
        self._replies: Replies
        self._listener: asyncio.Task[None] | None = None
        self._number = 0
        """Of the caller's latest turn."""
        self._listening = False
        """The engine's ear hears the caller."""
        self._hearing = False
        """The transcriber's own one does."""
        self._ended: deque[_Turn] = deque()
        self._hint = _Turn(0)
        """What the engine takes the turn for of which the transcriber finds the end itself."""
        self._doubt: asyncio.TimerHandle | None = None
        """The engine finds the turn over; should the transcriber have heard none, it was nothing."""
        self._keypad = Keypad(self._take_keys)

    async def start(self, briefing: Briefing) -> None:
        parts: tuple[tuple[str, Part], ...] = (("stt", self._ear), ("llm", self._model), ("tts", self._speaker))
        try:
            await together(*(self._start(kind, part, briefing) for kind, part in parts))
        except ProviderError:
            await self.close()
            raise
        self.input_format = self._ear.input_format
        self.output_format = self._speaker.output_format
        self._briefing = briefing
        self._record = Record(f"{briefing.prompt}\n\n{_ON_THE_PHONE}".strip(), briefing.history, self._most_history)
        maker = Maker(self.provider, self._model, self._speaker, briefing.language, self._used)
        self._replies = Replies(briefing, maker, self._record, self._outbox, self.output_format)
        self._listener = asyncio.create_task(self._listen())
        self._listener.add_done_callback(self._outbox.watch)

    # -- what the session tells us ---------------------------------------------------------------------------

    def greet(self) -> None:
        self._replies.say(self._told.greeting)

    def respond(self, text: str) -> None:
        self._record.caller_said(text)
        self._replies.answer()

    def hear(self, pcm: bytes) -> None:
        self._ear.hear(pcm)

    def caller_spoke(self) -> None:
        self._number += 1
        self._hint = _Turn(self._number)
        self._listening = True
        self._ear.turn_began()
        self._hold()

    def caller_paused(self, *, brief: bool = False) -> None:
        if not self._listening:
            return
        self._listening = False
        turn = _Turn(self._number, brief)
        if self._ear.own_turns:
            self._hint = turn
            self._be_sure()
            self._doubt = asyncio.get_running_loop().call_later(self.patience_seconds, self._go_on)
        else:
            self._ended.append(turn)
        self._ear.turn_ended()

    def caller_dismissed(self) -> None:
        if not self._listening:
            return
        self._listening = False
        self._ear.turn_dropped()
        self._go_on()

    def digit(self, digit: str) -> None:
        self._keypad.press(digit)

    def nudge(self, *, last: bool = False) -> None:
        self._replies.say(str(self._told.agent.get("goodbye" if last else "nudge", "")))

    def interrupt(self, reply: ReplyId, heard_ms: float) -> None:
        self._replies.cut(reply, heard_ms)

    def answer_tool(self, id: str, result: Mapping[str, Any], *, last: bool = False) -> None:
        self._replies.answer_tool(id, result, last=last)

    def advise(self, text: str) -> str:
        if not self._model.reads_prompt:
            return f"the language model {self._model.name} cannot be told anything: it reads no prompt"
        self._record.advise(text)
        return ""

    def events(self) -> AsyncIterator[CallEvent]:
        return self._outbox.events()

    async def close(self) -> None:
        self._be_sure()
        self._keypad.close()
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.wait({self._listener})
        if self._briefing is not None:
            await self._replies.close()
        await asyncio.gather(self._ear.close(), self._model.close(), self._speaker.close())

    # -- what the transcriber hears --------------------------------------------------------------------------

    async def _start(self, kind: str, part: Part, briefing: Briefing) -> None:
        with blaming(f"pipeline {self.provider}: {kind} {part.name}"):
            await part.start(briefing)

    async def _listen(self) -> None:
        with blaming(f"pipeline {self.provider}: stt {self._ear.name}"):
            async for heard in self._ear.events():
                self._hear_words(heard)
            raise ProviderError("the session ended")

    def _hear_words(self, heard: Heard) -> None:
        match heard:
            case Partial(text):
                self._outbox.put(CallerSaid(text, final=False))
            case Final(text):
                self._take_turn(text.strip())
            case Began():
                self._hearing = True
                self._be_sure()
                self._replies.caller_began(contested=self._listening)
            case Eager(text) if text.strip():
                self._replies.prepare(text.strip())
            case Resumed():
                self._replies.discard()

    def _take_turn(self, text: str) -> None:
        """The caller's turn is over, and ``text`` what was said."""
        self._be_sure()
        if self._ear.own_turns:
            turn, self._hint, self._hearing = self._hint, _Turn(self._number), False
        else:
            turn = self._ended.popleft() if self._ended else _Turn(self._number)
        if turn.brief and asks_for_nothing(text):
            if turn.number == self._number:  # else it would be taken for the verdict on what the caller says since
                self._tell_words(text)
            self._replies.discard()
            self._go_on()
            return
        self._tell_words(text)
        if text:
            self._record.caller_said(text)
        if asks_for_nothing(text):
            self._take_nothing(text)
        elif not self._replies.adopt(text):
            self._replies.answer()
        self._let_speak()

    def _take_nothing(self, text: str) -> None:
        """A hum, or sound without a word, that need not be an answer to something."""
        if self._replies.adopt(text):
            return
        if self._replies.owes:
            self._go_on()
        elif text:
            self._replies.answer()
        else:
            self._replies.not_understood()

    def _tell_words(self, text: str) -> None:
        self._outbox.put(StageReached(Stage.TRANSCRIPT))
        self._outbox.put(CallerSaid(text))

    # -- the floor -------------------------------------------------------------------------------------------

    @property
    def _floor_taken(self) -> bool:
        return self._hearing if self._ear.own_turns else self._listening or bool(self._ended)

    def _hold(self) -> None:
        if self._floor_taken:
            self._replies.hold()

    def _let_speak(self) -> None:
        if not self._floor_taken:
            self._replies.release()

    def _go_on(self) -> None:
        """The caller said nothing after all."""
        if not self._floor_taken:
            self._replies.resume()

    # --------------------------------------------------------------------------------------------------------

    @property
    def _told(self) -> Briefing:
        assert self._briefing is not None, "start() comes first"
        return self._briefing

    def _take_keys(self, keys: str) -> None:
        self._record.caller_said(pressed(keys))
        self._replies.answer_in_turn()

    def _used(self, usage: Usage) -> None:
        self._outbox.put(UsageReported(self.provider, usage.units))

    def _be_sure(self) -> None:
        if self._doubt is not None:
            self._doubt.cancel()
