"""The engine as one object: builds the adapters, hands callers to sessions, drains and stops."""

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from ai_engine.app.calls import AgentMaker, CallFactory
from ai_engine.app.live_config import LiveConfig
from ai_engine.app.probes import Probes
from ai_engine.app.sound import Sound
from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.stasis import ApplicationTaken, AriApp
from ai_engine.config import EngineConfig
from ai_engine.config.adapters import ari_settings
from ai_engine.errors import ConfigError
from ai_engine.observe.call_log import CallLog
from ai_engine.observe.health import HealthServer, Heartbeat
from ai_engine.observe.log_ring import LogRing
from ai_engine.observe.media_directory import check_media_directory
from ai_engine.observe.office import Office
from ai_engine.observe.recorder import Recorder
from ai_engine.observe.tally import Tally
from ai_engine.providers.local import LocalSettings
from ai_engine.providers.local_health import probe_local_server
from ai_engine.session.ports import Observer
from ai_engine.session.registry import Registry
from ai_engine.switchboard.models import EngineInfo
from ai_engine.transports.media_stream_door import MediaStreamDoor
from ai_engine.transports.watchdog import Watchdog
from ai_engine.version import engine_version

if TYPE_CHECKING:
    from ai_engine.app.outbound import Outbound
    from ai_engine.app.studio_part import StudioPart

log = structlog.get_logger(__name__)

_DRAIN_SECONDS = 5.0
"""How long calls may go on after a request to stop; then their callers go to the human."""

_FIRST_CONNECTION_SECONDS = 1.0


class App:
    """The engine as one object; ``run`` returns after SIGTERM or SIGINT."""

    def __init__(
        self,
        config: EngineConfig,
        dropped_lines: Callable[[], int],
        agents: Mapping[str, AgentMaker] | None = None,
        environ: Mapping[str, str] | None = None,
        log_ring: LogRing | None = None,
    ) -> None:
        """Reads models and prompts, opens nothing; ``dropped_lines`` counts those of the log. Raises ConfigError.

        ``agents`` by the name of their provider, in place of our own; ``environ`` may name the key of the store of
        numbers; ``log_ring`` has the latest lines of the log.
        """
        self._config = config
        self._dropped_lines = dropped_lines
        self._recorder = Recorder(config.recording.directory) if config.recording.enabled else None
        self._tally = Tally()
        observers: list[Observer] = [CallLog(), self._tally, *([self._recorder] if self._recorder else [])]
        self._live = LiveConfig(config)
        self._studio = _studio(config, self._live, environ or {}, LogRing() if log_ring is None else log_ring)
        if self._studio is not None:
            observers.append(self._studio.live)
        self._outbound = _outbound(config, self._live, self._studio)
        if self._outbound is not None:
            observers.append(self._outbound.transcript)
        self._sound = Sound(config, lambda: self._ari.abilities, lambda call: self._registry.admit(call))
        self._calls = CallFactory(self._live, self._sound, observers, agents, self._outbound)
        self._probes = Probes(
            self._calls.probed() if config.health.probe_seconds else (),
            self._calls.probe_briefing,
            self._calls.printable,
            config.health.probe_seconds,
            self._calls.settings.provider_start_seconds,
        )
        if config.health.probe_seconds:
            self._calls.changed = lambda: self._probes.watch(self._calls.probed())
        self._registry = Registry(self._calls.make, self._calls.settings)
        self._ari = AriApp(
            ari_settings(config), self._take_in, None if self._studio is None else self._studio.connected
        )
        self._heartbeat = Heartbeat()
        self._health = HealthServer(
            config.health.host,
            config.health.port,
            self.snapshot,
            self.readiness,
            self._heartbeat,
            version=engine_version(),
        )
        self._watchdog = Watchdog(self._sound.wheel)
        self._started_at = datetime.now(UTC)
        if self._studio is not None:
            self._studio.join(self._ari, self._registry, self._calls, self._info, self._calls.settings.human_context)

    async def run(self) -> None:
        """Serve calls until told to stop. Raises ConfigError when a port is taken, ApplicationTaken."""
        self._loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for name in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(name, stop.set)
        office = Office()
        try:
            await self._open(office)
            await self._serve(stop)
        finally:
            await asyncio.wrap_future(office.submit(self._health.stop()))
            self._watchdog.stop()
            if self._recorder is not None:
                await asyncio.to_thread(self._recorder.close)
            await asyncio.to_thread(self._calls.close)
            await asyncio.to_thread(office.close)
            log.info("engine stopped")

    async def _open(self, office: Office) -> None:
        self._watchdog.start()
        try:
            await self._sound.open()
            await asyncio.wrap_future(office.submit(self._health.start()))
        except OSError as error:
            raise ConfigError(f"cannot listen: {error}. Is another engine running?") from error
        # What lives for the whole process is not looked at by the collector again: shorter pauses during calls.
        gc.collect()
        gc.freeze()

    async def _serve(self, stop: asyncio.Event) -> None:
        self._calls.tools.open()
        beat = asyncio.create_task(self._heartbeat.run())
        probing = asyncio.create_task(self._probes.run())
        following = asyncio.create_task(self._calls.follow())
        ari = asyncio.create_task(self._ari.run())
        outbound = asyncio.create_task(self._open_outbound())
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait({ari, stopped, outbound}, return_when=asyncio.FIRST_COMPLETED)
        if done == {outbound} and outbound.exception() is None:
            await asyncio.wait({ari, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if self._studio is not None:
            await self._studio.leave()
        outbound.cancel()
        probing.cancel()
        following.cancel()
        log.info("engine stopping", calls=len(self._registry.calls), drain_seconds=_DRAIN_SECONDS)
        if self._studio is not None:
            await self._studio.close()
        await self._registry.drain(_DRAIN_SECONDS if not ari.done() else 0.0)
        await asyncio.wait({outbound})
        if self._outbound is not None:
            await self._outbound.close()
        await self._sound.close()
        await self._ari.close()
        await self._calls.tools.close()
        beat.cancel()
        stopped.cancel()
        await asyncio.wait({probing, following})
        if not outbound.cancelled():
            outbound.result()
        await ari

    def _take_in(self, call: AriCallControl) -> None:
        """A channel that arrived: somebody to talk with, or to join those who do."""
        if self._studio is None or not self._studio.takes(call):
            self._registry.admit(call)

    async def _open_outbound(self) -> None:
        """Raises ConfigError when it cannot be opened: an engine that was told to place calls, and cannot, must not
        look well."""
        if self._outbound is None:
            return
        door = MediaStreamDoor(self._sound.wheel, self._registry.admit)
        await self._outbound.open(self._ari.dialer, door, lambda: self._registry.calls)
        if self._studio is not None:
            # Whoever finds us may want to call at once.
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ari.ready.wait(), _FIRST_CONNECTION_SECONDS)
            await self._studio.enter(self._outbound.url)

    def _info(self) -> EngineInfo:
        """As ``Switchboard.engine`` has it. From another thread; may block."""
        assert self._studio is not None
        assert self._outbound is not None
        wheel = self._sound.wheel
        return EngineInfo(
            id=self._studio.id,
            host=socket.gethostname(),
            pid=os.getpid(),
            version=engine_version(),
            started_at=self._started_at,
            url=self._outbound.url,
            asterisk_up=self._ari.connected,
            asterisk_version=self._ari.version,
            app=self._config.asterisk.app_name,
            ready=all(part["up"] for part in self.readiness().values()),
            calls=len(self._registry.calls),
            provider=self._outbound.provider,
            health={
                "max_lateness_ms": round(wheel.max_lateness_ms, 2),
                "skipped_frames": wheel.skipped_frames,
                "log_lines_dropped": self._dropped_lines(),
                **{f"failures_{name}": breaker.failures for name, breaker in self._calls.now.breakers.items()},
                **{f"calls_{name}": count for name, count in self._registry.totals.items()},
            },
        )

    # -- health ----------------------------------------------------------------------------------------------

    def readiness(self) -> dict[str, Any]:
        """What no call can be taken without. Called from the office: reads values, never blocks."""
        return {"ari": {"up": self._ari.connected}, "audiosocket": {"up": self._sound.audiosocket.listening}}

    def snapshot(self) -> dict[str, Any]:
        """The state of everything as plain data. Called from the office: reads values, changes nothing, may block."""
        ready = self.readiness()
        return {
            "ari": {
                **ready["ari"],
                "url": ari_settings(self._config).url,
                "app": self._config.asterisk.app_name,
                "asterisk": self._ari.version,
                "reconnects": self._ari.reconnects,
                "bad_frames": self._ari.bad_frames,
                "orphans": self._ari.orphans,
            },
            **self._sound.snapshot(),
            "providers": self._providers(),
            "tools": self._calls.tools.snapshot(),
            "call_agent": None if self._outbound is None else self._outbound.snapshot(),
            "media_directory": check_media_directory(self._config.media.directory),
            "calls": {
                "now": [
                    {"call_id": call.call_id, "phase": call.phase, "floor": call.floor} for call in self._registry.calls
                ],
                **self._registry.totals,
                **self._tally.snapshot(),
            },
            "tasks": len(asyncio.all_tasks(self._loop)),
            "media_clock": {
                "realtime": os.sched_getscheduler(0) == os.SCHED_RR,
                "seats": self._sound.wheel.seats,
                "max_lateness_ms": round(self._sound.wheel.max_lateness_ms, 2),
                "lateness_counts": list(self._sound.wheel.lateness_counts),
                "skipped_frames": self._sound.wheel.skipped_frames,
            },
            "recorder": None
            if self._recorder is None
            else {
                "dropped_calls": self._recorder.dropped_calls,
                "dropped_frames": self._recorder.dropped_frames,
                "dropped_events": self._recorder.dropped_events,
            },
            "log": {"dropped": self._dropped_lines()},
        }

    def _providers(self) -> dict[str, Any]:
        now, calls = time.monotonic(), self._calls.now
        found: dict[str, Any] = {}
        for name, breaker in calls.breakers.items():
            settings = calls.config.provider_settings(name)
            found[name] = {
                **(probe_local_server(settings.url) if isinstance(settings, LocalSettings) else {}),
                "left_alone": breaker.is_open(now),
                "failures": breaker.failures,
                "trips": breaker.trips,
                "reason": breaker.reason,
                "last_probe": self._probes.latest(name),
            }
        return found


def _outbound(config: EngineConfig, live: LiveConfig, studio: "StudioPart | None") -> "Outbound | None":
    if config.call_agent is None or not config.call_agent.enabled:
        return None
    # More than a second, and 60 MB, that nobody should pay for who does not ask for calls.
    from ai_engine.app.outbound import Outbound  # noqa: PLC0415

    numbers = None if studio is None else studio.numbers
    return Outbound(config, config.call_agent, engine_version(), numbers, lambda: tuple(live.now.agents), studio)


def _studio(
    config: EngineConfig, live: LiveConfig, environ: Mapping[str, str], log_ring: LogRing
) -> "StudioPart | None":
    if config.studio is None:
        return None
    # As above.
    from ai_engine.app.studio_part import StudioPart  # noqa: PLC0415

    return StudioPart(config, config.studio, live, environ, log_ring)


__all__ = ["App", "ApplicationTaken"]
