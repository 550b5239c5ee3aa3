"""What one Asterisk can do for sound, told from its version and the modules it runs."""

import re
from collections.abc import Collection
from dataclasses import dataclass

_WIDEBAND_SINCE = {20: 17, 21: 12, 22: 7, 23: 1}
"""The minor version of each major one from which AudioSocket carries other rates than 8 kHz."""

_WEBSOCKET_SINCE = {20: 18, 22: 8, 23: 2}
"""The same for JSON control, MARK_MEDIA and ``transport_data`` of chan_websocket, all of which we need."""

_LAST_KNOWN_MAJOR = 23

_VERSION = re.compile(r"(?:certified[/-]|GIT-)?(\d+)(?:\.(\d+))?")
"""``22.10.1~dfsg``, ``certified/20.7-cert2``, ``18.9-cert1``; ``GIT-22-abc123`` may be any 22, so the oldest."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """The ways for sound that work on one Asterisk."""

    audiosocket: bool = False
    audiosocket_wideband: bool = False
    """AudioSocket at 16 kHz, too."""
    websocket: bool = False
    rtp: bool = False
    """RTP external media, whispered to the caller."""
    files: bool = False
    """Files played to a caller who is heard meanwhile."""
    lacks: tuple[str, ...] = ()
    """A sentence for each thing that is missing, with what to do about it."""

    def transports(self) -> tuple[str, ...]:
        """The transports that work, best first."""
        ranked = {"websocket": self.websocket, "audiosocket": self.audiosocket, "legacy": self.rtp}
        return tuple(name for name, works in ranked.items() if works)


def abilities(version: str, modules: Collection[str]) -> Abilities:
    """``modules`` are the names (``chan_rtp.so``) of those that run. A version we cannot read can do the least."""
    missing: list[str] = []

    def runs(purpose: str, *names: str) -> bool:
        absent = [name for name in names if name not in modules]
        if absent:
            missing.append(f"{purpose}: load {', '.join(absent)} (modules.conf, or `module load` for now)")
        return not absent

    def reaches(purpose: str, since: dict[int, int]) -> bool:
        able = _reaches(version, since)
        if not able:
            first = ", ".join(f"{major}.{minor}" for major, minor in since.items())
            missing.append(f"{purpose}: upgrade Asterisk {version or '(version unknown)'} to {first} or later")
        return able

    audiosocket = runs("no AudioSocket media", "chan_audiosocket.so")
    return Abilities(
        audiosocket=audiosocket,
        audiosocket_wideband=audiosocket and reaches("AudioSocket carries 8 kHz only", _WIDEBAND_SINCE),
        websocket=reaches("no WebSocket media", _WEBSOCKET_SINCE) and runs("no WebSocket media", "chan_websocket.so"),
        rtp=runs("no RTP media", "chan_rtp.so", "res_stasis_snoop.so"),
        # Without func_logic the dead-man switch could not be wound up while a file plays.
        files=runs(
            "no playing of files", "res_stasis_playback.so", "res_stasis_snoop.so", "format_sln.so", "func_logic.so"
        ),
        lacks=tuple(missing),
    )


def _reaches(version: str, since: dict[int, int]) -> bool:
    if (found := _VERSION.match(version)) is None:
        return False
    major, minor = int(found[1]), int(found[2] or 0)
    return major > _LAST_KNOWN_MAJOR or (major in since and minor >= since[major])
