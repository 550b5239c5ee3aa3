"""The crew that serves new calls, and those that end with the calls they have: models are swapped while calls run."""

import asyncio
import time
from collections.abc import Awaitable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import structlog

from local_ai_server import backends, protocol
from local_ai_server.config import Settings, check_backends
from local_ai_server.crew import Crew
from local_ai_server.errors import AgentError, JobFailed, LocalAIError, SwapRefused
from local_ai_server.llm.base import LanguageModel
from local_ai_server.session import Session
from local_ai_server.workers import WorkerPool

_log = structlog.get_logger()


@dataclass(slots=True)
class Swap:
    """One change of models, as ``/health`` tells of it."""

    to: Mapping[str, str]
    """By kind, what is loaded anew."""
    state: str = "loading"
    """``loading``, then ``failed`` (nothing has changed) or ``done`` (new calls have the new models)."""
    seconds: float = 0.0
    """It took to load."""
    error: str | None = None
    moved: int = 0
    """Calls that were running, and have been told to change over between two turns."""
    staying: int = 0
    """Calls that keep the old models to their end, since the new ones cannot serve them as they are."""


async def load_pool(settings: Settings) -> WorkerPool:
    """Workers with the models of ``settings``. Raises JobFailed."""
    pool = WorkerPool(settings.workers, settings.stt, settings.tts, settings.models, settings.device)
    return await pool.__aenter__()


async def load_model(settings: Settings) -> tuple[LanguageModel, backends.Card]:
    """The dialog of ``settings``. Raises SettingsError, JobFailed."""
    known = backends.language_models(settings.endpoint)
    model, card = backends.load("llm", known, settings.llm, settings.models, settings.device)
    started = time.monotonic()
    try:
        await model.start()
    except (LocalAIError, asyncio.CancelledError):
        await model.close()
        raise
    seconds = round(card.load_seconds + time.monotonic() - started, 3)
    device = model.device if isinstance(model, backends.Describable) else card.device
    return model, replace(card, device=device, load_seconds=seconds)


class Crews:
    """Loads what is chosen beside what is there; the old is closed behind the last call that uses it."""

    def __init__(self, settings: Settings, first: Crew) -> None:
        self.current = first
        """Serves new calls."""
        self.retiring: list[Crew] = []
        self.swap: Swap | None = None
        """The latest."""
        self._settings = settings
        self._sessions: set[Session] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @classmethod
    async def load(cls, settings: Settings) -> "Crews":
        """The first crew. Raises SettingsError, JobFailed."""
        model, card = await load_model(settings)
        try:
            pool = await load_pool(settings)
        except (LocalAIError, asyncio.CancelledError):
            await model.close()
            raise
        return cls(settings, Crew(protocol.Backends(settings.stt, settings.llm, settings.tts), pool, model, card))

    async def close(self) -> None:
        """End everything; no session may be left."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        crews, self.retiring = [*self.retiring, self.current], []
        for crew in crews:
            await self._close_what_is_only_of(crew)

    # -- the calls -----------------------------------------------------------------------------------------

    def follow(self, session: Session) -> None:
        """A session has begun, with a crew that may have been retired meanwhile."""
        self._sessions.add(session)
        if session.crew is not self.current:
            self._spawn(self._move(session, self.current))

    def forget(self, session: Session) -> None:
        """A session has ended."""
        self._sessions.discard(session)
        session.leave()

    # -- the change ----------------------------------------------------------------------------------------

    def begin_swap(self, to: Mapping[str, str]) -> Swap:
        """Begin to load ``to``, backends by kind, which ``swap`` tells of.

        Raises SwapRefused while another one is loading, SettingsError where what is wanted is not there.
        """
        if self.swap and self.swap.state == "loading":
            raise SwapRefused("another swap is loading; one at a time")
        now = self._settings
        settings = replace(now, stt=to.get("stt", now.stt), llm=to.get("llm", now.llm), tts=to.get("tts", now.tts))
        check_backends(settings, tuple(to))
        self.swap = Swap(dict(to))
        self._spawn(self._swap(self.swap, settings))
        return self.swap

    async def _swap(self, swap: Swap, settings: Settings) -> None:
        _log.info("models are being loaded", **swap.to)
        started = time.monotonic()
        try:
            crew = await self._load(swap.to, settings)
        except Exception as error:  # noqa: BLE001 - whatever a model's library throws: the old models serve on
            swap.state, swap.error = "failed", str(error) or type(error).__name__
            _log.error("models could not be swapped; the old ones serve on", reason=swap.error)
            return
        finally:
            swap.seconds = round(time.monotonic() - started, 3)
        self._settings = settings
        old, self.current = self.current, crew
        self.retiring.append(old)
        swap.state = "done"
        _log.info("new calls have the new models", **crew.names, seconds=swap.seconds, calls=len(self._sessions))
        for session in tuple(self._sessions):
            self._spawn(self._move(session, crew))
        self._spawn(self._see_off(old))

    async def _load(self, to: Mapping[str, str], settings: Settings) -> Crew:
        model, card = self.current.model, self.current.card
        if "llm" in to:
            model, card = await load_model(settings)
        pool = self.current.pool
        if to.keys() & {"stt", "tts"}:
            try:
                pool = await load_pool(settings)
            except (LocalAIError, asyncio.CancelledError):
                if model is not self.current.model:
                    await model.close()
                raise
        return Crew(protocol.Backends(settings.stt, settings.llm, settings.tts), pool, model, card)

    async def _move(self, session: Session, crew: Crew) -> None:
        """Have a session change over between two turns, or keep what it has where its sound would be another."""
        swap = self.swap
        assert swap, "crews change by swaps"
        crew.enter()
        try:
            why_not = await _why_not(session, crew)
        except asyncio.CancelledError:
            crew.leave()
            raise
        if session not in self._sessions or crew is not self.current:
            crew.leave()
        elif why_not:
            crew.leave()
            swap.staying += 1
            _log.info("session keeps its models", call_id=session.start.call_id, reason=why_not)
        else:
            swap.moved += 1
            session.move_to(crew)

    async def _see_off(self, crew: Crew) -> None:
        await crew.unused()
        self.retiring.remove(crew)
        await self._close_what_is_only_of(crew)
        _log.info("old models ended", **crew.names)

    async def _close_what_is_only_of(self, crew: Crew) -> None:
        others = [other for other in (self.current, *self.retiring) if other is not crew]
        if all(other.pool is not crew.pool for other in others):
            await crew.pool.close()
        if all(other.model is not crew.model for other in others):
            await crew.model.close()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def health(self) -> dict[str, Any]:
        """What ``/health`` tells of changes."""
        old = [{"backends": crew.names, "sessions": crew.users, "workers": crew.pool.alive} for crew in self.retiring]
        return {"swap": asdict(self.swap) if self.swap else None, "retiring": old}


async def _why_not(session: Session, crew: Crew) -> str:
    """Why ``session`` cannot go on with ``crew``; empty where it can. Prepares its agent there."""
    try:
        hears, speaks = await crew.prepare(session.start)
    except (AgentError, JobFailed) as error:
        return str(error)
    if session.input_rate and hears % session.input_rate:
        return f"the new ears want {hears} Hz"
    if speaks != session.output_rate:
        return f"the new voice has {speaks} Hz"
    return ""
