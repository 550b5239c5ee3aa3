"""Where the key of the encrypted store comes from."""

import base64
import binascii
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import structlog

from ai_engine.errors import ConfigError
from ai_engine.trunks.owner import give

log = structlog.get_logger(__name__)

KEY_FILE = "numbers.key"
"""The generated one, beside the store."""
STORE_FILE = "numbers.enc"
CREDENTIAL = "offhook-studio-key"
"""The name of the systemd credential (`LoadCredential=offhook-studio-key:/path`)."""

_BYTES = 32
_SHORTEST_PASSPHRASE = 8
_OTHERS = 0o077
_SOURCES = "OFFHOOK_STUDIO_KEY_FILE, OFFHOOK_STUDIO_KEY, the systemd credential or OFFHOOK_STUDIO_PASSPHRASE"


class VaultError(ConfigError):
    """The store or its key cannot be used as it is; ``str()`` says what to do, and holds no secret."""


class Derivation(IntEnum):
    """How the AES key is made of the secret: the ``kdf-id`` of a store's header."""

    HKDF = 1
    """Of 32 random bytes."""
    SCRYPT = 2
    """Of a passphrase."""


@dataclass(frozen=True, slots=True)
class Key:
    """What a store is locked with."""

    secret: bytes = field(repr=False)
    derivation: Derivation
    source: str
    """Where it is from, in words."""
    path: Path | None = None
    """The file that holds it, and is replaced when a new key is made."""
    fresh: bool = False
    """Nothing holds it yet."""


def generate() -> Key:
    """A new one, which nothing holds yet."""
    return Key(os.urandom(_BYTES), Derivation.HKDF, "the new key", fresh=True)


def of_passphrase(text: str, source: str = "the passphrase") -> Key:
    """Raises VaultError for one that is too short to protect anything."""
    if len(text) < _SHORTEST_PASSPHRASE:
        raise VaultError(f"{source}: a passphrase needs {_SHORTEST_PASSPHRASE} characters or more")
    return Key(text.encode(), Derivation.SCRYPT, source)


def of_text(text: str, source: str) -> Key:
    """``text`` is the base64 of 32 bytes. Raises VaultError."""
    with suppress(binascii.Error, ValueError):  # ValueError: characters that are no ASCII
        if len(secret := base64.b64decode(text.strip(), validate=True)) == _BYTES:
            return Key(secret, Derivation.HKDF, source)
    raise VaultError(f"{source}: no base64 of {_BYTES} bytes; `openssl rand -base64 {_BYTES}` makes one")


def of_file(path: Path) -> Key:
    """The base64 of 32 bytes, in a file that nobody else may read. Raises VaultError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1024)
    except OSError as error:
        raise VaultError(f"the key file cannot be read: {error}") from None
    if mode & _OTHERS:
        raise VaultError(f"{path}: others may read this key (mode {mode & 0o777:o}); do `chmod 600 {path}`")
    found = of_text(text.decode("ascii", "replace"), str(path))
    return Key(found.secret, found.derivation, found.source, path)


def find_key(directory: Path, environ: Mapping[str, str]) -> Key:
    """The key of the store in ``directory``: what the environment names, else the file beside the store, which is made
    where there is no store yet. Blocks; raises VaultError."""
    if named := _named(environ):
        return named
    path = directory / KEY_FILE
    try:
        missing, orphaned = not path.exists(), (directory / STORE_FILE).exists()
    except OSError as error:
        raise VaultError(f"the key of the store of numbers cannot be read: {error}; whose is {directory}?") from None
    if missing:
        if orphaned:
            raise VaultError(
                f"{directory / STORE_FILE}: its key is not here. Put {path} back from a backup, or set what it was "
                f"locked with: {_SOURCES}"
            )
        _make(path)
    return of_file(path)


def write_key(path: Path, key: Key) -> None:
    """Makes or replaces ``path``, readable by us alone, and returns when it is on the disk. Raises OSError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), 0o600)
        give(file.fileno(), path.parent)
        file.write(base64.b64encode(key.secret) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _named(environ: Mapping[str, str]) -> Key | None:
    if path := environ.get("OFFHOOK_STUDIO_KEY_FILE"):
        return of_file(Path(path))
    if text := environ.get("OFFHOOK_STUDIO_KEY"):
        return of_text(text, "OFFHOOK_STUDIO_KEY")
    if (folder := environ.get("CREDENTIALS_DIRECTORY")) and (path_there := Path(folder) / CREDENTIAL).exists():
        return _of_credential(path_there)
    if passphrase := environ.get("OFFHOOK_STUDIO_PASSPHRASE"):
        return of_passphrase(passphrase, "OFFHOOK_STUDIO_PASSPHRASE")
    return None


def _of_credential(path: Path) -> Key:
    try:  # who may read it is systemd's affair: it gives access by lists that a mode does not show
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise VaultError(f"the systemd credential cannot be read: {error}") from None
    return of_text(text, f"the systemd credential {CREDENTIAL}")


def _make(path: Path) -> None:
    new = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_key(new, generate())
        try:
            os.link(new, path)  # whole or not at all; whoever was faster has made the key
        except FileExistsError:
            return
        finally:
            new.unlink(missing_ok=True)
    except OSError as error:
        raise VaultError(f"no key can be made: {error}. Make the folder writable, or set one of {_SOURCES}") from None
    log.warning(
        "a key for the store of numbers was made; whoever can read it can read the store: keep a copy elsewhere",
        path=str(path),
    )
