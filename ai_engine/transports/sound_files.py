"""Sound files in a directory that Asterisk sees as well."""

import asyncio
import fcntl
import os
import re
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from ai_engine.audio.format import AudioFormat
from ai_engine.errors import MediaError

log = structlog.get_logger(__name__)

_EXTENSIONS = {8000: "sln", 12000: "sln12", 16000: "sln16", 24000: "sln24", 32000: "sln32", 48000: "sln48"}
"""By which Asterisk knows raw sound of so many samples per second."""

_DISK_SECONDS = 2.0
"""A sentence waits no longer for a disk; on a tmpfs it takes 0.1 ms."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,149}")
_OURS = re.compile(r"offhook-([0-9a-f]{12})(\.lock|-.*\.(sln\d*|part))")


@dataclass(frozen=True, slots=True)
class SoundFilesSettings:
    """Where the files lie, best a tmpfs."""

    directory: Path
    as_seen_by_asterisk: Path | None = None
    """The same directory, when it has another path there (a container, a chroot)."""
    most_bytes: int = 64 * 1024 * 1024
    """All files of this engine together; a sentence of 6 s has 96 kB at 8 kHz."""


class SoundFiles:
    """Implements ``SoundStore``. Files are written and removed in a thread of its own; all methods are for the loop.

    Several engines may share the directory: the names of each carry its own number, on whose lock file it holds a lock
    that ends with the process. Files whose engine holds none are leftovers.
    """

    def __init__(self, settings: SoundFilesSettings) -> None:
        self.trouble = "not open"
        """Why files cannot be written; empty as long as they can."""
        self.counters = {"written": 0, "removed": 0, "failed": 0, "swept": 0}
        self._settings = settings
        self._directory = settings.directory.absolute()
        self._as_seen = settings.as_seen_by_asterisk or self._directory
        self._prefix = f"offhook-{secrets.token_hex(6)}"
        self._lock: int | None = None
        """File descriptor. Used by the thread only, as everything that touches the disk."""
        self._files: dict[str, tuple[Path, int]] = {}
        """By URI: where it is, and its bytes."""
        self._bytes = 0
        self._thread = ThreadPoolExecutor(1, "sound-files")
        self._closed = False

    @property
    def usable(self) -> bool:
        """Whether the last attempt to write went well."""
        return not self.trouble

    async def open(self) -> None:
        """Make the directory if need be and clear leftovers away. Never raises: see ``usable``, ``put`` tries again."""
        try:
            await self._in_thread(self._claim)
        except OSError as error:
            self.trouble = _reason(self._directory, error)
            log.warning("sound files cannot be written", reason=self.trouble)
        else:
            self.trouble = ""

    async def close(self) -> None:
        """Remove whatever is left of ours; may be called more than once."""
        if not self._closed:
            self._closed = True
            self.trouble = "closed"
            await asyncio.get_running_loop().run_in_executor(self._thread, self._clear)
            self._thread.shutdown(wait=False)

    async def put(self, name: str, pcm: bytes, format: AudioFormat) -> str:
        extension = _EXTENSIONS.get(format.rate)
        uri = f"sound:{self._as_seen}/{self._prefix}-{name}"
        if extension is None or not _NAME.fullmatch(name) or uri in self._files or self._closed:
            raise self._failure(f"{self._directory}: no sound file can be called {name!r}, of {format.rate} Hz")
        if self._bytes + len(pcm) > self._settings.most_bytes:
            raise self._failure(f"{self._directory}: {len(self._files)} sound files already have {self._bytes} bytes")
        path = self._directory / f"{self._prefix}-{name}.{extension}"
        self._files[uri] = (path, len(pcm))
        self._bytes += len(pcm)
        await self._write(uri, path, pcm)
        self.counters["written"] += 1
        self.trouble = ""
        return uri

    def remove(self, uri: str) -> None:
        path, size = self._files.pop(uri, (None, 0))
        self._bytes -= size
        if path is not None and not self._closed:
            self._thread.submit(self._unlink, path)

    def health(self) -> dict[str, object]:
        """Plain data for ``/health``."""
        now = {"files": len(self._files), "bytes": self._bytes}
        return {"usable": self.usable, "trouble": self.trouble, **now, **self.counters}

    async def _write(self, uri: str, path: Path, pcm: bytes) -> None:
        try:
            await self._in_thread(self._write_whole, path, pcm)
        except OSError as error:
            self.remove(uri)
            self.trouble = _reason(path, error)
            raise self._failure(self.trouble) from error
        except asyncio.CancelledError:
            self.remove(uri)  # after the thread is done with it
            raise

    async def _in_thread(self, work: Callable[..., None], *arguments: object) -> None:
        """Raises OSError, also when the disk does not answer."""
        async with asyncio.timeout(_DISK_SECONDS):
            await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def _failure(self, reason: str) -> MediaError:
        self.counters["failed"] += 1
        return MediaError(reason)

    # -- in the thread -------------------------------------------------------------------------------------

    def _claim(self) -> None:
        if self._lock is not None:
            return
        self._make_directory()
        # Under its final name only once it is locked: nobody may take it for a leftover.
        new = self._directory / f".{self._prefix}.lock"
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            new.rename(self._directory / f"{self._prefix}.lock")
        except OSError:
            os.close(descriptor)
            new.unlink(missing_ok=True)
            raise
        self._lock = descriptor
        self._sweep()

    def _make_directory(self) -> None:
        if not self._directory.is_dir():
            self._directory.mkdir(parents=True, exist_ok=True)
            self._directory.chmod(0o755)  # whatever our umask: Asterisk is another user

    def _sweep(self) -> None:
        owners: dict[str, list[Path]] = {}
        for path in self._directory.iterdir():
            if found := _OURS.fullmatch(path.name):
                owners.setdefault(found[1], []).append(path)
        for owner, paths in owners.items():
            lock = self._directory / f"offhook-{owner}.lock"
            if not _is_held(lock):
                for path in sorted(paths, key=lambda path: path == lock):  # the lock last: others may sweep as well
                    with suppress(OSError):
                        path.unlink()
                        self.counters["swept"] += path != lock

    def _write_whole(self, path: Path, pcm: bytes) -> None:
        self._claim()
        part = path.with_suffix(".part")
        try:
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            with open(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o644)  # whatever our umask
                file.write(pcm)
            part.replace(path)
        except OSError as error:
            if isinstance(error, FileNotFoundError):
                self._give_up_lock()  # the directory went away, and its lock file with it
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise

    def _unlink(self, path: Path) -> None:
        try:
            path.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("sound file stays", reason=_reason(path, error))
        else:
            self.counters["removed"] += 1

    def _clear(self) -> None:
        with suppress(OSError):
            for path in self._directory.glob(f"{self._prefix}-*"):
                self._unlink(path)
            (self._directory / f"{self._prefix}.lock").unlink(missing_ok=True)
        self._give_up_lock()

    def _give_up_lock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _is_held(lock: Path) -> bool:
    """Whether the engine that made this lock file runs."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError:
        return True  # it is for its own user to judge
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _reason(path: Path, error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return f"{path}: the disk did not answer within {_DISK_SECONDS:g} s"
    return f"{path}: {error.strerror or error}"
