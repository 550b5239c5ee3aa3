"""The bytes of the encrypted store: `magic | version | kdf-id | salt | nonce | AES-256-GCM`, the first four as
additional data."""

import os
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ai_engine.trunks.key import Derivation, Key, VaultError

_MAGIC = b"OFFHOOK\x00"
_VERSION = 1
_HEADER = struct.Struct("8sBB16s")
_NONCE = 12
_TAG = 16
_KINDS: dict[int, str] = {Derivation.HKDF: "a key", Derivation.SCRYPT: "a passphrase"}
PREAMBLE = _HEADER.size + _NONCE
"""So many bytes at the beginning are different after every write."""


def seal(plain: bytes, key: Key) -> bytes:
    """Salt and nonce are new each time."""
    salt, nonce = os.urandom(16), os.urandom(_NONCE)
    header = _HEADER.pack(_MAGIC, _VERSION, key.derivation, salt)
    return header + nonce + AESGCM(_derived(key, salt)).encrypt(nonce, plain, header)


def unseal(data: bytes, key: Key) -> bytes:
    """Raises VaultError, without the file's name, for everything that ``seal`` has not made with ``key``."""
    if len(data) < PREAMBLE + _TAG:
        raise VaultError("it is cut short")
    magic, version, derivation, salt = _HEADER.unpack_from(data)
    if magic != _MAGIC:
        raise VaultError("it is no store of numbers")
    if version != _VERSION:
        raise VaultError(f"its version is {version}, and this Offhook knows {_VERSION}; use the one that wrote it")
    if derivation != key.derivation:
        raise VaultError(f"it is locked with {_kind(derivation)}, and {key.source} is {_kind(key.derivation)}")
    try:
        return AESGCM(_derived(key, salt)).decrypt(data[_HEADER.size : PREAMBLE], data[PREAMBLE:], data[: _HEADER.size])
    except InvalidTag:
        raise VaultError(f"either {key.source} is not the key it was locked with, or it was altered") from None


def _derived(key: Key, salt: bytes) -> bytes:
    if key.derivation is Derivation.SCRYPT:
        return Scrypt(salt=salt, length=32, n=2**15, r=8, p=1).derive(key.secret)  # a tenth of a second, 32 MiB
    return HKDF(SHA256(), length=32, salt=salt, info=b"offhook numbers").derive(key.secret)


def _kind(derivation: int) -> str:
    return _KINDS.get(derivation, "something unknown")
