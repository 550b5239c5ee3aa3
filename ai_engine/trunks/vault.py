"""A file that is kept encrypted, and shared by several processes."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ai_engine.trunks.key import KEY_FILE, Key, VaultError, find_key, of_file, write_key
from ai_engine.trunks.owner import give
from ai_engine.trunks.sealed import PREAMBLE, seal, unseal

__all__ = ["Key", "Vault", "VaultError", "find_key"]

_PATIENCE_SECONDS = 10.0
_AGAIN_SECONDS = 0.01
_NEW = ".new"


class Vault:
    """Every method blocks, may be called in any thread, and may raise VaultError. What cannot be read is never
    overwritten: each write begins with a read."""

    def __init__(self, path: Path, key: Callable[[], Key]) -> None:
        """``key`` is asked each time: another process may have changed it."""
        self._path = path
        self._key = key

    def read(self) -> bytes | None:
        """What was written last; None where nothing was."""
        with self._explained("read"):
            if not self._path.exists():
                return None
        with self._locked(fcntl.LOCK_SH):
            return self._open()[0]

    def update(self, change: Callable[[bytes | None], bytes | None]) -> None:
        """Write what ``change`` makes of what was written last, whole or not at all; with None nothing is written.
        Nobody else writes meanwhile."""
        self._make_folder()
        with self._locked(fcntl.LOCK_EX):
            plain, key = self._open_settled()
            after = change(plain)
            if after is not None:
                self._write(seal(after, key))

    def rotate(self, new: Key) -> None:
        """Lock the store with ``new``; a fresh one takes the place of the present key's file. Whenever this process is
        killed meanwhile, the store opens."""
        self._make_folder()
        with self._locked(fcntl.LOCK_EX):
            plain, old = self._open_settled()
            if plain is None:
                raise VaultError(f"{self._path}: there is no store yet whose key could be changed")
            if not new.fresh:
                self._write(seal(plain, new))
                self._drop(old, new)
                return
            if old.path is None:
                raise VaultError(f"the key comes from {old.source}: give the new one, and then set it there")
            with self._explained():
                write_key(_pending(old.path), new)
                _sync(old.path.parent)
            self._write(seal(plain, new))
            self._settle(old.path)

    def stamp(self) -> str:
        """Another one after each change; empty where there is no file. Reads a few bytes, and needs no key."""
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                return f"{status.st_size}-{status.st_mtime_ns}-{file.read(PREAMBLE).hex()}"
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise VaultError(f"the store cannot be read: {error}") from None

    def _open(self) -> tuple[bytes | None, Key]:
        key = self._key()
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return None, key
        except OSError as error:
            raise VaultError(f"the store cannot be read: {error}") from None
        try:
            return unseal(data, key), key
        except VaultError as error:
            if opened := _open_pending(data, key):
                return opened
            raise VaultError(
                f"{self._path}: {error}. Nothing was overwritten. Set the right key, put the file back from a backup, "
                "or move it away and import the numbers again"
            ) from None

    def _open_settled(self) -> tuple[bytes | None, Key]:
        """With the exclusive lock: what a killed ``rotate`` left is brought to its end."""
        plain, key = self._open()
        if key.path is None or not key.path.name.endswith(_NEW):
            return plain, key
        self._settle(final := key.path.with_name(key.path.name.removesuffix(_NEW)))
        return plain, of_file(final)

    def _settle(self, key_file: Path) -> None:
        with self._explained():
            _pending(key_file).replace(key_file)
            _sync(key_file.parent)

    def _drop(self, old: Key, new: Key) -> None:
        """The key that was made beside the store is of no use any more."""
        if old.path == self._path.with_name(KEY_FILE) and new.secret != old.secret:
            with self._explained():
                old.path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        new = self._path.with_name(self._path.name + _NEW)  # one name for all: whoever writes has the lock
        with self._explained():
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(handle, "wb") as file:
                os.fchmod(file.fileno(), 0o600)
                give(file.fileno(), self._path.parent)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
            _sync(self._path.parent)

    def _make_folder(self) -> None:
        with self._explained():
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        # The store is replaced at each write, so the lock is a file of its own.
        with self._explained("read" if how == fcntl.LOCK_SH else "written"):
            handle = os.open(self._path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            with self._explained():
                give(handle, self._path.parent)
            self._lock(handle, how)
            yield
        finally:
            os.close(handle)

    def _lock(self, handle: int, how: int) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return fcntl.flock(handle, how | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise VaultError(
                        f"{self._path}: another process has kept it locked for {_PATIENCE_SECONDS:.0f} s; "
                        f"`fuser {self._path.with_suffix('.lock')}` names it"
                    ) from None
                time.sleep(_AGAIN_SECONDS)

    @contextmanager
    def _explained(self, what: str = "written") -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise VaultError(
                f"the store of numbers cannot be {what}: {error}. Nothing was changed; whose is {self._path.parent}?"
            ) from None


def _open_pending(data: bytes, key: Key) -> tuple[bytes, Key] | None:
    """With the key of a ``rotate`` that was killed after the store was written, before its key was put in place."""
    if key.path is None or not _pending(key.path).exists():
        return None
    with suppress(VaultError):
        pending = of_file(_pending(key.path))
        return unseal(data, pending), pending
    return None


def _pending(key_file: Path) -> Path:
    return key_file.with_name(key_file.name + _NEW)


def _sync(folder: Path) -> None:
    """A rename is on the disk when its folder is."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
