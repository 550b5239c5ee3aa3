"""The three parts of a pipeline by script, and a session that listens to the agent made of them."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ai_engine.audio.format import SLIN8, SLIN16
from ai_engine.call.events import (
    CallerInterrupted,
    CallerSaid,
    CallEvent,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyId,
    ReplyText,
    StageReached,
    ToolAsked,
    UsageReported,
)
from ai_engine.errors import ProviderError
from ai_engine.providers.pipeline.agent import PipelineAgent
from ai_engine.providers.pipeline.ports import Clause, Final, Heard, Message, Piece
from ai_engine.session.ports import Briefing, Said, ToolSpec

WORD_MS = 200
"""Sound of one word."""
WORD_SECONDS = 0.02
"""What it takes to make it."""
TOKEN_SECONDS = 0.01


class Part:
    name = "scripted"

    def __init__(self) -> None:
        self.start_seconds = 0.0
        self.refusal: ProviderError | None = None
        self.started = self.closed = 0
        self.cancelled = False

    async def start(self, briefing: Briefing) -> None:
        self.started += 1
        try:
            await asyncio.sleep(self.start_seconds)
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        if self.refusal is not None:
            raise self.refusal

    async def close(self) -> None:
        self.closed += 1


class ScriptedEar(Part):
    name = "ear"
    input_format = SLIN8
    patience_seconds = 0.5

    def __init__(self, *, own_turns: bool = False) -> None:
        super().__init__()
        self.own_turns = own_turns
        self.told: list[str] = []
        self.frames: list[bytes] = []
        self._heard: asyncio.Queue[Heard | ProviderError] = asyncio.Queue()

    def hear(self, pcm: bytes) -> None:
        self.frames.append(pcm)

    def turn_began(self) -> None:
        self.told.append("began")

    def turn_ended(self) -> None:
        self.told.append("ended")

    def turn_dropped(self) -> None:
        self.told.append("dropped")

    def says(self, *heard: Heard | ProviderError) -> None:
        for one in heard:
            self._heard.put_nowait(one)

    async def events(self) -> AsyncIterator[Heard]:
        while True:
            heard = await self._heard.get()
            if isinstance(heard, ProviderError):
                raise heard
            yield heard


Scripted = Piece | float | ProviderError
"""A piece, seconds to wait, or how it fails."""


class ScriptedModel(Part):
    """Answers one script after the other, and then without a word."""

    name = "model"
    reads_prompt = True

    def __init__(self, *scripts: Sequence[Scripted] | str) -> None:
        super().__init__()
        self.scripts = list(scripts)
        self.asked: list[list[Message]] = []
        self.tools: list[list[str]] = []
        self.open = self.ended = self.most_open = 0
        self.hangup_seconds = 0.0
        """What it takes to end a request."""

    async def answer(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> AsyncGenerator[Piece, None]:
        self.asked.append(list(messages))
        self.tools.append([tool.name for tool in tools])
        script: Sequence[Scripted] | str = self.scripts.pop(0) if self.scripts else ()
        if isinstance(script, str):
            script = [f"{word} " for word in script.split()]
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            for piece in script:
                if isinstance(piece, ProviderError):
                    raise piece
                await asyncio.sleep(piece if isinstance(piece, float) else TOKEN_SECONDS)
                if not isinstance(piece, float):
                    yield piece
        finally:
            if self.hangup_seconds:
                await asyncio.sleep(self.hangup_seconds)
            self.open -= 1
            self.ended += 1


class ScriptedSpeaker(Part):
    name = "voice"
    output_format = SLIN16

    def __init__(self) -> None:
        super().__init__()
        self.clauses: list[str] = []
        self.failure: ProviderError | None = None
        self.open = 0
        self.most_open = 0

    async def speak(self, clauses: AsyncIterator[str]) -> AsyncGenerator[Clause | bytes, None]:
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            async for clause in clauses:
                self.clauses.append(clause)
                if self.failure is not None:
                    raise self.failure
                yield Clause(clause)
                for _ in clause.split():
                    await asyncio.sleep(WORD_SECONDS)
                    yield bytes(SLIN16.byte_count(WORD_MS))
        finally:
            self.open -= 1


@dataclass
class ScriptedTool:
    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object"})


class PipelineCall:
    """A session's side of one agent; ``async with`` starts and closes it."""

    def __init__(
        self, model: ScriptedModel, *, ear: ScriptedEar | None = None, most_history: int = 40, **agent: Any
    ) -> None:
        self.ear = ear or ScriptedEar()
        self.model = model
        self.speaker = ScriptedSpeaker()
        self.agent = PipelineAgent("nova", self.ear, self.model, self.speaker, most_history=most_history)
        self.section: dict[str, Any] = {
            "name": "desk", "language": "en-US", "fallback": "Say that again please.", "fallback_limit": 2,
            "nudge": "Still there?", "goodbye": "Goodbye then.", **agent,
        }  # fmt: skip
        self.history: tuple[Said, ...] = ()
        self.events: list[tuple[float, CallEvent]] = []
        self.failure: ProviderError | None = None
        self.busy_seconds = 0.0
        """What the session does before it takes each event."""
        self.reacts: Callable[[CallEvent], None] = lambda event: None

    @property
    def briefing(self) -> Briefing:
        tools = (ScriptedTool("weather"), ScriptedTool("hangup"))
        return Briefing("c1", self.section, "Hello, this is Nova.", "Be kind.", history=self.history, tools=tools)

    async def __aenter__(self) -> "PipelineCall":
        await self.agent.start(self.briefing)
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.agent.close()
        self._reader.cancel()
        await asyncio.wait({self._reader})
        if not self._reader.cancelled():
            self._reader.result()
        assert (self.model.open, self.speaker.open) == (0, 0), "a request was left open"

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            async for event in self.agent.events():
                if self.busy_seconds:
                    await asyncio.sleep(self.busy_seconds)
                self.events.append((loop.time(), event))
                self.reacts(event)
        except ProviderError as error:
            self.failure = error

    def on(self, kind: type[CallEvent], do: Callable[[Any], None]) -> None:
        """React once to the next event of ``kind``, at once as the session does."""

        def react(event: CallEvent) -> None:
            if isinstance(event, kind):
                self.reacts = lambda event: None
                do(event)

        self.reacts = react

    async def turn(self, text: str, *, brief: bool = False, seconds: float = 2.0) -> None:
        """The caller says ``text``; then ``seconds`` go by."""
        self.agent.caller_spoke()
        await asyncio.sleep(0.3)
        self.agent.caller_paused(brief=brief)
        await asyncio.sleep(0.05)
        self.ear.says(Final(text))
        await asyncio.sleep(seconds)

    def when(self, kind: type[CallEvent]) -> float:
        """Loop seconds of the first event of ``kind``."""
        return next(at for at, event in self.events if isinstance(event, kind))

    def stages(self) -> list[str]:
        return [event.stage.value for _, event in self.events if isinstance(event, StageReached)]

    def sound_ms(self, reply: int) -> float:
        sound = [e.pcm for _, e in self.events if isinstance(e, ReplyAudio) and e.reply == ReplyId(reply)]
        return SLIN16.ms(sum(map(len, sound)))

    def story(self) -> list[str]:
        """What the agent said and asked, in short, without sound, stages and costs."""
        return [line for _, event in self.events if (line := _in_short(event))]


def _in_short(event: CallEvent) -> str:
    match event:
        case CallerSaid(text, final):
            return f"caller: {text}" if final else f"caller perhaps: {text}"
        case ReplyBegan(reply):
            return f"<{reply}"
        case ReplyText(reply, text):
            return f"{reply}: {text}"
        case ReplyEnded(reply):
            return f"{reply}>"
        case ToolAsked(id, name, arguments, goes_on):
            return f"tool {id} {name} {arguments}{'' if goes_on else ' at last'}"
        case CallerInterrupted():
            return "interrupted"
        case ReplyAudio() | StageReached() | UsageReported():
            return ""
    return repr(event)
