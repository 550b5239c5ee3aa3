"""Where everything meets: builds the adapters, hands callers to sessions, drains and stops."""

import asyncio
import gc
import os
import signal
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import structlog

from ai_engine.ari.stasis import ApplicationTaken, AriApp
from ai_engine.audio.format import AudioFormat
from ai_engine.audio.speech import make_scorer
from ai_engine.audio.vad import VoiceActivity
from ai_engine.config import EngineConfig
from ai_engine.config.adapters import ari_settings, audiosocket_settings, local_settings, session_settings
from ai_engine.errors import AsteriskError, ConfigError
from ai_engine.observe.call_log import CallLog
from ai_engine.observe.health import HealthServer, Heartbeat
from ai_engine.observe.media_directory import check_media_directory
from ai_engine.observe.office import Office
from ai_engine.observe.recorder import Recorder
from ai_engine.providers.local import LocalAgent
from ai_engine.providers.local_health import probe_local_server
from ai_engine.session.call_session import CallSession
from ai_engine.session.ports import Agent, Briefing, CallControl, Observer
from ai_engine.session.prompts import load_prompts
from ai_engine.session.registry import Registry
from ai_engine.tools import BUILT_IN
from ai_engine.transports.audiosocket import AudioSocketListener
from ai_engine.transports.watchdog import Watchdog
from ai_engine.transports.wheel import TimerWheel

log = structlog.get_logger(__name__)

_DRAIN_SECONDS = 5.0
"""How long calls may go on after a request to stop; then their callers go to the human."""


class App:
    """The engine as one object; ``run`` returns after SIGTERM or SIGINT."""

    def __init__(self, config: EngineConfig, dropped_lines: Callable[[], int]) -> None:
        """Reads models and prompts, opens nothing; ``dropped_lines`` counts those of the log. Raises ConfigError."""
        self._config = config
        self._dropped_lines = dropped_lines
        self._format = AudioFormat(config.streaming.sample_rate_hz)
        self._session_settings = session_settings(config)
        self._prompts = load_prompts(self._format)
        self._try_ear()
        self._wheel = TimerWheel()
        self._listener = AudioSocketListener(audiosocket_settings(config), self._wheel)
        self._registry = Registry(self._new_session, self._session_settings)
        self._ari = AriApp(ari_settings(config), self._registry.admit)
        self._recorder = Recorder(config.recording.directory) if config.recording.enabled else None
        self._observers: list[Observer] = [CallLog(), *([self._recorder] if self._recorder else [])]
        self._heartbeat = Heartbeat()
        self._health = HealthServer(
            config.health.host,
            config.health.port,
            self.snapshot,
            self.readiness,
            self._heartbeat,
            version=engine_version(),
        )
        self._watchdog = Watchdog(self._wheel)

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
            await asyncio.to_thread(office.close)
            log.info("engine stopped")

    async def _open(self, office: Office) -> None:
        self._watchdog.start()
        try:
            await self._listener.start()
            await asyncio.wrap_future(office.submit(self._health.start()))
        except OSError as error:
            raise ConfigError(f"cannot listen: {error}. Is another engine running?") from error
        # What lives for the whole process is not looked at by the collector again: shorter pauses during calls.
        gc.collect()
        gc.freeze()

    async def _serve(self, stop: asyncio.Event) -> None:
        beat = asyncio.create_task(self._heartbeat.run())
        ari = asyncio.create_task(self._ari.run())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({ari, stopped}, return_when=asyncio.FIRST_COMPLETED)
        log.info("engine stopping", calls=len(self._registry.calls), drain_seconds=_DRAIN_SECONDS)
        await self._registry.drain(_DRAIN_SECONDS if not ari.done() else 0.0)
        await self._listener.close()
        await self._ari.close()
        beat.cancel()
        stopped.cancel()
        await ari

    # -- calls -----------------------------------------------------------------------------------------------

    def _new_session(self, control: CallControl) -> CallSession:
        name = control.variables.get("agent", self._config.default_agent)
        if name not in self._config.agents:
            raise AsteriskError(f"the dialplan asks for agent {name!r}, and there is no such agent")
        expected = self._listener.expect()
        return CallSession(
            control=control,
            expected=expected,
            agent=self._new_agent(name),
            briefing=Briefing(
                call_id=str(expected.uuid),
                agent=self._config.agent(name),
                greeting=self._config.greeting(name),
                prompt=self._config.prompt(name),
                caller_number=control.caller_number,
                dialled=control.variables.get("did") or control.dialled,
            ),
            tools=BUILT_IN,
            observers=self._observers,
            prompts=self._prompts,
            ear=self._new_ear(),
            settings=self._session_settings,
            clock=time.monotonic,
        )

    def _new_agent(self, name: str) -> Agent:
        makers: dict[str, Callable[[], Agent]] = {"local": lambda: LocalAgent(local_settings(self._config))}
        return makers[self._config.provider(name)]()

    def _new_ear(self) -> VoiceActivity:
        settings = self._session_settings.vad
        return VoiceActivity(self._format, settings, make_scorer(self._format, settings))

    def _try_ear(self) -> None:
        """A detector that cannot be loaded is found out before the first call. Raises ConfigError."""
        try:
            self._new_ear()
        except ValueError as error:
            raise ConfigError(f"vad: {error}") from error

    # -- health ----------------------------------------------------------------------------------------------

    def readiness(self) -> dict[str, Any]:
        """What no call can be taken without. Called from the office: reads values, never blocks."""
        return {"ari": {"up": self._ari.connected}, "audiosocket": {"up": self._listener.listening}}

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
            "audiosocket": {**ready["audiosocket"], **self._listener.counters},
            "providers": {"local": probe_local_server(self._config.providers.local.url)},
            "media_directory": check_media_directory(self._config.media.directory),
            "calls": {
                "now": [
                    {"call_id": call.call_id, "phase": call.phase, "floor": call.floor} for call in self._registry.calls
                ],
                **self._registry.totals,
            },
            "tasks": len(asyncio.all_tasks(self._loop)),
            "media_clock": {
                "realtime": os.sched_getscheduler(0) == os.SCHED_RR,
                "seats": self._wheel.seats,
                "max_lateness_ms": round(self._wheel.max_lateness_ms, 2),
                "lateness_counts": list(self._wheel.lateness_counts),
                "skipped_frames": self._wheel.skipped_frames,
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


def engine_version() -> str:
    """Of the installed package, or of the checkout."""
    try:
        return version("offhook")
    except PackageNotFoundError:
        return "0.1.0"


__all__ = ["App", "ApplicationTaken", "engine_version"]
