"""What an engine has for those who look after its numbers, agents and calls: made, opened and closed together."""

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog
from pydantic import SecretStr

from ai_engine.app.call_loop import CallLoop
from ai_engine.app.calls import CallFactory
from ai_engine.app.capabilities import Standing, capabilities
from ai_engine.app.job_news import JobNews
from ai_engine.app.jobs_under_way import JobsUnderWay
from ai_engine.app.listening import Listening
from ai_engine.app.live_config import LiveConfig
from ai_engine.app.numbers import Numbers
from ai_engine.app.places import Places
from ai_engine.app.rooms import Pages, Rooms
from ai_engine.app.switchboard import EngineSwitchboard, Parts
from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.stasis import AriApp
from ai_engine.config import EngineConfig
from ai_engine.host.registry import Entry, started_of
from ai_engine.host.registry import Registry as Engines
from ai_engine.jobs.ports import CallDesk
from ai_engine.observe.live import LiveCalls
from ai_engine.observe.log_ring import LogRing
from ai_engine.session.registry import Registry
from ai_engine.switchboard.models import AgentInfo, Applied, EngineInfo, Room
from ai_engine.switchboard.settings import StudioSettings
from ai_engine.trunks.reconcile import TrunkKeeper
from ai_engine.trunks.store import NumberStore
from ai_engine.web.studio_api import Studio

log = structlog.get_logger(__name__)

_TOKEN_BYTES = 32


@dataclass(frozen=True, slots=True)
class _Engine:
    ari: AriApp
    registry: Registry
    calls: CallFactory
    info: Callable[[], EngineInfo]
    human_context: str


class StudioPart:
    """Everything is for the call loop, unless it says otherwise."""

    def __init__(
        self,
        config: EngineConfig,
        settings: StudioSettings,
        live_config: LiveConfig,
        environ: Mapping[str, str],
        log_ring: LogRing,
    ) -> None:
        """``environ`` may name the key of the store of numbers. Opens nothing."""
        # Two containers may share a host's name, and each have its first process.
        self.id = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self.live = LiveCalls(self._standing, self._room_of)
        """An ``Observer``."""
        self._config = config
        self._settings = settings
        self._live_config = live_config
        self._log_ring = log_ring
        self._store = NumberStore(settings.directory, environ)
        self.numbers = Numbers(self._store)
        self._engines = Engines(settings.directory)
        self._token = SecretStr(secrets.token_hex(_TOKEN_BYTES))
        self._engine: _Engine | None = None
        self._keeper: TrunkKeeper | None = None
        self._listening: Listening | None = None
        self._rooms: Rooms | None = None
        self._places: Places | None = None
        self._switchboard: EngineSwitchboard | None = None
        self._telling: asyncio.Task[None] | None = None
        self._entering: asyncio.Task[None] | None = None
        self._has_left = False

    def join(
        self,
        ari: AriApp,
        registry: Registry,
        calls: CallFactory,
        info: Callable[[], EngineInfo],
        human_context: str,
    ) -> None:
        """The rest of the engine is made, and not yet opened. ``info`` may block, and is called from other threads; an
        extension without a context is one of ``human_context``."""
        self._engine = _Engine(ari, registry, calls, info, human_context)
        self._keeper = TrunkKeeper(self._settings, self._store, ari.pbx)
        self._listening = Listening(ari)
        self._places = Places(ari)
        self._rooms = Rooms(ari, lambda: self._live_config.now.agents, self._room_changed)

    def serve_rooms(self, pages: Pages) -> None:
        """A browser can join rooms from now on."""
        if self._rooms is not None:
            self._rooms.pages = pages

    async def connected(self) -> None:
        """Asterisk is there, or there again."""
        if self._keeper is not None:
            await self._keeper.connected(self._trunks_applied)

    def _trunks_applied(self, applied: Applied) -> None:
        for trunk in applied.trunks:
            self.live.publish("trunk_changed", data=trunk.as_json())

    def takes(self, call: AriCallControl) -> bool:
        """Whether a channel that arrived is that of somebody who joins a room; it is seen to then."""
        return self._rooms is not None and self._rooms.takes(call)

    async def enter(self, url: str) -> None:
        """Whoever looks for engines on this machine finds this one, at ``url``; not after ``leave``."""
        if self._has_left:
            return
        # Done to its end, though we may be told to stop meanwhile: else it is there after we have left.
        self._entering = asyncio.create_task(asyncio.to_thread(self._enter, url))
        await asyncio.shield(self._entering)

    async def leave(self) -> None:
        """May be called without ``enter``."""
        self._has_left = True
        if self._entering is not None:
            await self._entering
        try:
            await asyncio.to_thread(self._engines.leave, self.id)
        except OSError as error:
            log.warning("this engine stays in the list of those that run", reason=str(error))

    def _enter(self, url: str) -> None:
        pid, token = os.getpid(), self._token.get_secret_value()
        entry = Entry(self.id, pid, started_of(pid), url, token, str(self._config.source.resolve()))
        try:
            self._engines.enter(entry)
        except OSError as error:
            log.error("studio will not find this engine by itself", reason=str(error))

    async def close(self) -> None:
        """Let nobody listen in any longer, and stop all rooms; while Asterisk can still be asked."""
        if self._listening is not None:
            await self._listening.close()
        if self._rooms is not None:
            await self._rooms.close()

    # -- at the call desk, on its loop -----------------------------------------------------------------------

    def open_door(
        self,
        desk: CallDesk,
        unsettled: Callable[[], Sequence[str]],
        is_ours: Callable[[str], bool],
        renew_numbers: Callable[[], Awaitable[None]],
        call_loop: asyncio.AbstractEventLoop,
    ) -> Studio:
        """What is served over HTTP. ``unsettled`` are the ids of calls that are not over, which may block; ``is_ours``
        tells of one whether this engine dials it."""
        engine = self._engine
        assert engine is not None
        calls = CallLoop(call_loop)

        async def renew() -> None:
            await renew_numbers()
            await calls.do(engine.calls.refresh())

        async def agents() -> Sequence[AgentInfo]:
            await renew()
            return self._agents(engine)

        under_way = JobsUnderWay(desk, unsettled, self._config.default_agent, is_ours)
        news = JobNews(under_way, lambda: calls.ask(self.live.now), self.live, desk)
        self._telling = asyncio.create_task(news.run())
        self._switchboard = EngineSwitchboard(
            Parts(
                call_loop=call_loop,
                info=engine.info,
                sessions=lambda: engine.registry.calls,
                live=self.live,
                log=self._log_ring,
                desk=desk,
                under_way=under_way,
                agents=agents,
                numbers=lambda: [number.number for number in self.numbers.all],
                renew=renew,
                trunks=self._keeper,
                lobby=self._rooms,
                ears=self._listening,
                places=self._places,
                context=engine.human_context,
            )
        )
        return Studio(self._switchboard, self._token)

    async def close_door(self) -> None:
        """Let go whoever looks on."""
        if self._telling is not None:
            self._telling.cancel()
            await asyncio.gather(self._telling, return_exceptions=True)
        if self._switchboard is not None:
            self._switchboard.close()

    # --------------------------------------------------------------------------------------------------------

    def _standing(self, call_id: str) -> tuple[str, str] | None:
        calls = self._engine.registry.calls if self._engine is not None else ()
        return next(((call.phase, call.floor) for call in calls if call.call_id == call_id), None)

    def _room_of(self, channel_id: str) -> str:
        return "" if self._rooms is None else self._rooms.room_of(channel_id)

    def _room_changed(self, room: Room) -> None:
        self.live.publish("room_changed", data=room.as_json())

    def _agents(self, engine: _Engine) -> Sequence[AgentInfo]:
        return [self._complete(info, engine) for info in self._live_config.infos()]

    def _complete(self, info: AgentInfo, engine: _Engine) -> AgentInfo:
        config, numbers = self._live_config.now, self.numbers.all
        routed = tuple(one.number for one in numbers if one.inbound_agent == info.name)
        if info.name not in config.agents:  # its file is of no use, and never was
            return info.model_copy(update={"numbers": routed})
        standing = Standing(engine.ari.connected, tuple(one.number for one in numbers), routed)
        found = capabilities(config, info.name, standing)
        return info.model_copy(update={"numbers": routed, "capabilities": found})
