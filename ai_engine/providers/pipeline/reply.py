"""The making of one reply: tokens become clauses, clauses become sound, while more tokens come."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

from ai_engine.call.events import (
    CallEvent,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyId,
    ReplyText,
    Stage,
    StageReached,
)
from ai_engine.providers.pipeline.ports import Clause, LanguageModel, Message, Piece, Speaker, ToolCall, Usage
from ai_engine.providers.pipeline.together import blaming, together
from ai_engine.session.ports import ToolSpec
from ai_engine.text.clauses import ClauseSplitter
from ai_engine.text.spoken import Spoken, say

_PAUSE_SECONDS = 0.2
"""A sentence is spoken when nothing has followed it for so long: the model may be writing a tool's arguments."""


@dataclass(frozen=True, slots=True)
class RoundOver:
    """A reply was made to its end."""

    calls: tuple[ToolCall, ...] = ()
    spoke: bool = True
    """There was something to be said."""


Outcome = CallEvent | RoundOver


class Reply:
    """One reply while it is made; what comes of it is kept back while it is held."""

    def __init__(
        self, id: ReplyId, take: Callable[["Reply", Outcome], None], *, answers: bool, guess: str | None = None
    ) -> None:
        """``answers``: the model makes it; ``guess``: to words of the caller that are not certain yet."""
        self.id = id
        self.answers = answers
        self.guess = guess
        self.began = False
        """The session knows of it."""
        self.sounds = False
        """The speaker has begun with it."""
        self.transfers = False
        """With it the caller is given up, and handed to a person."""
        self._take = take
        self._kept: deque[Outcome] = deque()
        self._held = False
        self._dropped = False

    def put(self, outcome: Outcome) -> None:
        """Give it to the session, or keep it until then."""
        if self._dropped:  # whatever makes it has not heard of that yet
            return
        self._kept.append(outcome)
        self._give()

    def hold(self) -> None:
        """The caller has the floor."""
        self._held = True

    def release(self) -> None:
        self._held = False
        self._give()

    def drop(self) -> None:
        """Nobody wants it any more."""
        self._dropped = True
        self._kept.clear()

    def _give(self) -> None:
        while self._kept and not self._held:
            self._take(self, self._kept.popleft())


class Script:
    """The words of one reply, as they are read and as they are spoken."""

    def __init__(self, language: str) -> None:
        self._language = language
        self._splitter = ClauseSplitter(language)
        self._markup = Spoken(language)
        self._waiting: deque[tuple[str, str]] = deque()
        self.spoke = False

    def feed(self, token: str) -> list[str]:
        """What is to be spoken as soon as ``token`` has come."""
        return self._spoken(self._splitter.feed(token))

    def pause(self) -> list[str]:
        """What is to be spoken when no token has come for a while."""
        return self._spoken(self._splitter.pause())

    def flush(self) -> list[str]:
        """What is to be spoken when no more comes."""
        return self._spoken(self._splitter.flush())

    def readable(self, spoken: str) -> str:
        """What the model wrote for ``spoken``; a speaker that divides its text otherwise is taken at its word."""
        if all(spoken != waiting for waiting, _ in self._waiting):
            return spoken
        while True:
            waiting, plain = self._waiting.popleft()
            if waiting == spoken:
                return plain

    def _spoken(self, clauses: list[str]) -> list[str]:
        out = []
        for clause in clauses:
            plain = self._markup.plain(clause)
            if spoken := say(plain, self._language):
                self._waiting.append((spoken, plain))
                self.spoke = True
                out.append(spoken)
        return out


class Maker:
    """Makes the replies of one call, one at a time."""

    def __init__(
        self, name: str, model: LanguageModel, speaker: Speaker, language: str, used: Callable[[Usage], None]
    ) -> None:
        """``name`` is the pipeline's, for complaints; ``used`` is told at once what the model has cost."""
        self._name = name
        self._model = model
        self._speaker = speaker
        self._language = language
        self._used = used

    async def answer(self, reply: Reply, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> None:
        """Let the model answer. Raises ProviderError."""
        await self._make(reply, self._model.answer(messages, tools), is_model=True)

    async def say(self, reply: Reply, line: str) -> None:
        """Say ``line`` as it is. Raises ProviderError."""

        async def pieces() -> AsyncGenerator[Piece, None]:
            yield line

        await self._make(reply, pieces(), is_model=False)

    async def _make(self, reply: Reply, pieces: AsyncGenerator[Piece, None], *, is_model: bool) -> None:
        script = Script(self._language)
        clauses: asyncio.Queue[str | None] = asyncio.Queue()
        calls: list[ToolCall] = []
        await together(
            self._think(reply, pieces, script, clauses, calls, is_model=is_model),
            self._speak(reply, script, clauses),
        )
        if not (is_model or reply.sounds):
            reply.put(ReplyBegan(reply.id))  # silence was asked for, and is given
        if reply.sounds or not is_model:
            reply.put(ReplyEnded(reply.id))
        reply.put(RoundOver(tuple(calls), script.spoke))

    async def _think(
        self,
        reply: Reply,
        pieces: AsyncGenerator[Piece, None],
        script: Script,
        clauses: asyncio.Queue[str | None],
        calls: list[ToolCall],
        *,
        is_model: bool,
    ) -> None:
        loop = asyncio.get_running_loop()
        pause: asyncio.TimerHandle | None = None
        is_first = is_model

        def hand_on(ready: list[str]) -> None:
            for clause in ready:
                clauses.put_nowait(clause)

        with blaming(f"pipeline {self._name}: llm {self._model.name}"):
            async with aclosing(pieces):
                async for piece in pieces:
                    if pause is not None:
                        pause.cancel()
                    match piece:
                        case ToolCall():
                            calls.append(piece)
                        case Usage():
                            self._used(piece)
                        case str():
                            if is_first:
                                reply.put(StageReached(Stage.FIRST_TOKEN))
                                is_first = False
                            hand_on(script.feed(piece))
                            pause = loop.call_later(_PAUSE_SECONDS, lambda: hand_on(script.pause()))
        if pause is not None:
            pause.cancel()
        hand_on(script.flush())
        clauses.put_nowait(None)

    async def _speak(self, reply: Reply, script: Script, clauses: asyncio.Queue[str | None]) -> None:
        first = await clauses.get()
        if first is None:
            return
        sounded = False
        with blaming(f"pipeline {self._name}: tts {self._speaker.name}"):
            async with aclosing(self._speaker.speak(_Clauses(first, clauses))) as spoken:
                async for made in spoken:
                    if not reply.sounds:
                        reply.sounds = True
                        reply.put(ReplyBegan(reply.id))
                    if isinstance(made, Clause):
                        reply.put(ReplyText(reply.id, script.readable(made.text)))
                        continue
                    if not sounded:
                        sounded = True
                        reply.put(StageReached(Stage.FIRST_AUDIO))
                    reply.put(ReplyAudio(reply.id, made))


class _Clauses:
    """What is to be spoken, in order; no generator, since a speaker may leave it wherever it is."""

    def __init__(self, first: str, rest: asyncio.Queue[str | None]) -> None:
        self._first: str | None = first
        self._rest = rest
        self._over = False

    def __aiter__(self) -> "_Clauses":
        return self

    async def __anext__(self) -> str:
        clause, self._first = self._first, None
        if clause is None and not self._over:
            clause = await self._rest.get()
        if clause is None:
            self._over = True
            raise StopAsyncIteration
        return clause
