"""Every way sound can travel here: the transports, the store of files, and which of them this Asterisk can do."""

from collections.abc import Callable
from typing import Any

import structlog

from ai_engine.config import EngineConfig
from ai_engine.config.adapters import (
    audiosocket_settings,
    rtp_settings,
    sound_files_settings,
    websocket_settings,
)
from ai_engine.protocol.abilities import Abilities
from ai_engine.session.media_path import Downstream, Way, ways
from ai_engine.session.ports import SoundStore, Transport
from ai_engine.transports.audiosocket import AudioSocketListener
from ai_engine.transports.audiosocket_connection import AudioSocketConnection
from ai_engine.transports.chan_websocket import ChanWebSocketTransport
from ai_engine.transports.dialplan import DialplanCall
from ai_engine.transports.rtp import RtpTransport
from ai_engine.transports.sound_files import SoundFiles
from ai_engine.transports.wheel import TimerWheel

log = structlog.get_logger(__name__)


class Sound:
    """Opened and closed once."""

    def __init__(
        self, config: EngineConfig, abilities: Callable[[], Abilities], on_call: Callable[[DialplanCall], None]
    ) -> None:
        """``abilities`` of the Asterisk we are connected to are asked for each call; ``on_call`` is offered the calls
        that the dialplan connects by itself, and must return at once."""
        self._config = config
        self._abilities = abilities
        self._on_call = on_call
        self.wheel = TimerWheel()
        self.audiosocket = AudioSocketListener(audiosocket_settings(config), self.wheel, self._take)
        self.websocket = ChanWebSocketTransport(websocket_settings(config), self.wheel)
        self.rtp = RtpTransport(rtp_settings(config), self.wheel)
        self._files = SoundFiles(sound_files_settings(config))
        self._transports: dict[str, Transport] = {
            transport.name: transport for transport in (self.audiosocket, self.websocket, self.rtp)
        }

    async def open(self) -> None:
        """Listen, and sweep what an engine that crashed left. Raises OSError when the port is taken."""
        await self.audiosocket.start()
        await self._files.open()
        if not self._files.usable:
            log.warning("no files can be played", reason=self._files.trouble)

    async def close(self) -> None:
        await self.audiosocket.close()
        await self.websocket.close()
        await self.rtp.close()
        await self._files.close()

    def ways(self) -> list[Way]:
        """For a call that comes now, best first: the configured transport, then what else this Asterisk can do."""
        able = self._abilities()
        names = able.transports()
        wanted = self._config.audio_transport
        if wanted != "auto" and wanted not in names:
            log.warning("Asterisk cannot do the configured transport", audio_transport=wanted, able=names)
        order = sorted(names, key=lambda name: name != wanted)
        files = self._files.usable and able.files
        preferred = Downstream(self._config.downstream_mode)
        if preferred is Downstream.FILE and not files:
            log.warning("files cannot be played, the call is streamed", reason=self._files.trouble, able=able.files)
        return ways([self._transports[name] for name in order], preferred, files=files)

    @property
    def store(self) -> SoundStore:
        return self._files

    def wideband(self, way: Way) -> bool:
        """Whether ``way`` carries 16 kHz on this Asterisk."""
        if way.transport is self.audiosocket:
            return self._abilities().audiosocket_wideband
        return way.transport is self.websocket

    def snapshot(self) -> dict[str, Any]:
        """Counters as plain data; reads values, changes nothing."""
        return {
            "audiosocket": {"up": self.audiosocket.listening, **self.audiosocket.counters},
            "websocket": dict(self.websocket.counters),
            "legacy": dict(self.rtp.counters),
            "files": self._files.health(),
        }

    def _take(self, connection: AudioSocketConnection) -> bool:
        self._on_call(DialplanCall(connection))
        return True
