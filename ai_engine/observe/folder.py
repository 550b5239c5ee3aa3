"""The files of one recorded call."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ai_engine.audio.format import AudioFormat
from ai_engine.call.events import CallEvent, DigitReceived, UsageReported
from ai_engine.observe.latency import Waterfall
from ai_engine.observe.stereo_wav import StereoFrame, StereoWav

_UNENCODABLE = "backslashreplace"
"""Half of a surrogate pair, which no UTF-8 has, becomes the escape that JSON has for it."""


class CallFolder:
    """Writes at once and to disk; every method may block and may raise OSError or, for what is no JSON, ValueError."""

    def __init__(self, directory: Path, call_id: str, now: float, wall: datetime) -> None:
        """``now`` (loop seconds) and ``wall`` are the same moment: the start of the call."""
        safe_id = re.sub(r"[^\w.-]", "_", call_id)
        self.path = directory / f"{wall:%Y%m%dT%H%M%SZ}-{safe_id}"
        self._wall_minus_loop = wall.timestamp() - now
        self._waterfall = Waterfall()
        self._usage: dict[str, Counter[str]] = defaultdict(Counter)
        """Units by provider."""
        self._wav: StereoWav | None = None
        self.path.mkdir(parents=True, exist_ok=True)
        self._events = (self.path / "events.jsonl").open("ab", buffering=0)

    def note(self, name: str, fields: Mapping[str, Any], now: float) -> None:
        """A line of ``events.jsonl``."""
        line = {"loop": round(now, 4), "wall": self._wall(now), "event": name, **fields}
        text = json.dumps(line, ensure_ascii=False, default=str) + "\n"
        self._events.write(text.encode(errors=_UNENCODABLE))

    def happened(self, event: CallEvent, now: float) -> None:
        self._waterfall.happened(event, now)
        if isinstance(event, UsageReported):
            self._usage[event.provider].update(event.units)
        self.note(type(event).__name__, _fields(event), now)

    def sound(self, lost: int, frames: Sequence[StereoFrame], rate: int) -> None:
        """``frames`` of 20 ms, after ``lost`` ones of which only the place is left."""
        if self._wav is None:
            self._wav = StereoWav(self.path / "call.wav", AudioFormat(rate))
        self._wav.skip(lost)
        self._wav.write(frames)

    def transcript(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """``lines`` with ``at`` in loop seconds; each gets its wall time as well."""
        dated = [{**line, "wall": self._wall(line["at"])} if "at" in line else dict(line) for line in lines]
        self._write_json("transcript.json", dated)

    def close(self) -> None:
        """End every file, even where one of them fails."""
        try:
            if self._wav is not None:
                self._wav.close()
        finally:
            self._events.close()
            if self._usage:
                self._write_json("usage.json", self._usage)
            self._write_json("turns.json", [turn.plain() for turn in self._waterfall.turns])

    def _write_json(self, name: str, data: object) -> None:
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
        (self.path / name).write_text(text, encoding="utf-8", errors=_UNENCODABLE)

    def _wall(self, now: float) -> str:
        moment = datetime.fromtimestamp(now + self._wall_minus_loop, UTC)
        return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(event: CallEvent) -> dict[str, Any]:
    if isinstance(event, DigitReceived):
        return {"digit": "*hidden*"}  # it may be one of a PIN
    return asdict(event)
