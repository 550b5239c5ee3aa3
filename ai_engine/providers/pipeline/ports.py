"""The three parts of a pipeline, as its agent sees them."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ai_engine.audio.format import AudioFormat
from ai_engine.session.ports import Briefing, ToolSpec


class Part(Protocol):
    """One part, for one call. A part that is lost raises ProviderError out of whatever is being asked of it."""

    name: str
    """As the pipeline's section names its type, for logs and errors: ``deepgram``, ``openai`` …"""

    async def start(self, briefing: Briefing) -> None:
        """Open what it needs. Raises ProviderError; cancelled when it takes too long."""
        ...

    async def close(self) -> None:
        """May be called more than once, and before ``start`` has returned."""
        ...


# -- speech to text ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Heard:
    """Base of what a transcriber says."""


@dataclass(frozen=True, slots=True)
class Partial(Heard):
    """What the turn sounds like so far; may change."""

    text: str


@dataclass(frozen=True, slots=True)
class Final(Heard):
    """The whole turn; empty when there was speech but no word. Exactly one for each ``turn_ended``.

    A transcriber with ``own_turns`` says it when it finds the turn over, without being told.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Began(Heard):
    """A transcriber with ``own_turns`` hears the caller speak."""


@dataclass(frozen=True, slots=True)
class Eager(Heard):
    """The turn may be over with this text: an answer may be prepared, but not given.

    ``Final`` or ``Resumed`` follows.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Resumed(Heard):
    """After ``Eager``: the caller goes on."""


class Transcriber(Part, Protocol):
    """Speech to text."""

    input_format: AudioFormat
    """Known once ``start`` has returned."""
    own_turns: bool
    """It decides when the caller's turn is over; what the engine's ear finds is then a hint."""
    patience_seconds: float
    """See ``Agent``."""

    def hear(self, pcm: bytes) -> None:
        """One 20 ms frame in ``input_format``; never blocks; called for every frame of the call."""
        ...

    def turn_began(self) -> None:
        """The engine's ear hears the caller; the turn began up to a pre-roll before the frames that follow."""
        ...

    def turn_ended(self) -> None:
        """The engine's ear finds the turn over."""
        ...

    def turn_dropped(self) -> None:
        """It was no speech: no ``Final`` is wanted."""
        ...

    def events(self) -> AsyncIterator[Heard]:
        """What is heard. Ends, or raises ProviderError, when the session is lost."""
        ...


# -- the language model -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool the model asks for."""

    id: str
    name: str
    arguments: str
    """JSON, as the model wrote it: perhaps not quite."""


@dataclass(frozen=True, slots=True)
class Message:
    """One entry of the conversation as the model is given it."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    calls: tuple[ToolCall, ...] = ()
    """Of the assistant."""
    call_id: str = ""
    """Of a tool's result: the call it answers."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Units the vendor counts, by name."""

    units: Mapping[str, float] = field(default_factory=dict)


Piece = str | ToolCall | Usage
"""A token of the answer, a tool to run once the answer is complete, or what it cost."""


class LanguageModel(Part, Protocol):
    """Answers in words."""

    reads_prompt: bool
    """Whether instructions mean anything to it; known once ``start`` has returned."""

    def answer(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> AsyncGenerator[Piece, None]:
        """The answer piece by piece. Closing the generator ends the request. Raises ProviderError."""
        ...


# -- text to speech ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Clause:
    """The sound that follows says these words, until the next ``Clause``."""

    text: str


class Speaker(Part, Protocol):
    """Text to speech."""

    output_format: AudioFormat
    """Known once ``start`` has returned."""

    def speak(self, clauses: AsyncIterator[str]) -> AsyncGenerator[Clause | bytes, None]:
        """Say ``clauses`` as they come: ``Clause``, PCM of any length in ``output_format``, ``Clause`` …

        Sound of the first clause is made before the second one comes. Closing the generator ends the speech at once;
        one at a time is asked for. Raises ProviderError.
        """
        ...
