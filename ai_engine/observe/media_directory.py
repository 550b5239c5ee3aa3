"""Whether the directory shared with Asterisk can be used."""

import os
from pathlib import Path
from typing import Any


def check_media_directory(path: Path) -> dict[str, Any]:
    """Plain data for ``/health``: ``exists``, ``writable``, ``tmpfs`` (None where that cannot be told). May block."""
    exists = path.is_dir()
    return {
        "path": str(path),
        "exists": exists,
        "writable": exists and os.access(path, os.W_OK | os.X_OK),
        "tmpfs": _filesystem(path) == "tmpfs" if exists else None,
    }


def _filesystem(path: Path) -> str | None:
    """The kind of file system ``path`` lies on, as /proc names it."""
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return None
    kinds = {_unescaped(fields[1]): fields[2] for fields in map(str.split, mounts)}
    resolved = path.resolve()
    return next((kinds[str(at)] for at in (resolved, *resolved.parents) if str(at) in kinds), None)


def _unescaped(mount_point: str) -> str:
    return mount_point.replace(r"\040", " ")
