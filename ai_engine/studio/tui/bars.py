"""Numbers as pictures of text."""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

_EIGHTHS = "▁▂▃▄▅▆▇█"
_QUIETEST_DBFS = -60.0
_SLOW_MS = 1500.0
"""The top of a sparkline reaches at least this far, so that one call can be compared with another."""


def sparkline(values_ms: Sequence[float], width: int) -> str:
    """The last ``width`` of the values, a column each."""
    last = values_ms[-width:] if width > 0 else ()
    top = max([_SLOW_MS, *last])
    return "".join(_EIGHTHS[min(7, int(value / top * 8))] if value >= 0 else " " for value in last)


def meter(dbfs: float, width: int) -> str:
    """A level as a bar of ``width`` columns; -60 dBFS and less is empty."""
    full = round((1 - min(0.0, max(_QUIETEST_DBFS, dbfs)) / _QUIETEST_DBFS) * width)
    return "█" * full + "·" * (width - full)


def waterfall(marks_ms: Mapping[str, float], width: int) -> list[str]:
    """A line per stage: name, the time it began and ended after the caller's last voice, and how long it took."""
    marks = sorted(((mark, name) for name, mark in marks_ms.items()), key=lambda pair: pair[0])
    if not marks:
        return []
    names = max(len(_stage(name)) for _, name in marks)
    columns = max(8, width - names - 8)
    scale = columns / max(1.0, marks[-1][0])
    lines = []
    for (begin, _), (end, name) in pairwise([(0.0, ""), *marks]):
        left, right = round(begin * scale), round(end * scale)
        bar = " " * min(left, columns - 1) + "█" * max(1, right - left)
        lines.append(f"{_stage(name):<{names}} {bar:<{columns}} {took(end - begin):>6}")
    return lines


def took(ms: float | None) -> str:
    """Milliseconds in five columns or fewer; nothing for None."""
    if ms is None:
        return ""
    return f"{ms:.0f}ms" if ms < 999.5 else f"{ms / 1000:.1f}s"


def lasted(seconds: float) -> str:
    """``0:42``, ``59:59``, ``1:00:00``."""
    whole = max(0, int(seconds))
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def cut(text: str, width: int) -> str:
    """One line of at most ``width`` columns, with a sign that something is missing."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"


def percentile(values: Sequence[float], share: float) -> float | None:
    """The value that ``share`` of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _stage(name: str) -> str:
    return re.sub(r"_ms$", "", name).replace("_", " ")
