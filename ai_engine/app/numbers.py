"""Our telephone numbers as the engine uses them: ways out, and who answers."""

import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

import structlog

from ai_engine.errors import ConfigError
from ai_engine.jobs.settings import Trunk
from ai_engine.trunks.number import SipNumber

log = structlog.get_logger(__name__)

_LOCAL_DIGITS = 7
"""Without the country a number must have so many digits to be told from others."""
_SEPARATORS = str.maketrans("", "", " -().\u00a0")


class Book(Protocol):
    """Where the numbers are kept; both may block, and raise ConfigError or OSError."""

    def numbers(self) -> Sequence[SipNumber]: ...

    def stamp(self) -> str:
        """Another one after each change; costs little."""
        ...


class Numbers:
    """What was read last. Every method but ``refresh`` answers at once, from any thread."""

    def __init__(self, store: Book) -> None:
        """Nothing is read before ``refresh``."""
        self._store = store
        self._turn = threading.Lock()
        self._stamp: str | None = None
        self._trouble = ""
        self._numbers: tuple[SipNumber, ...] = ()
        self._trunks: Mapping[str, Trunk] = MappingProxyType({})

    def refresh(self) -> bool:
        """Read the store where it has changed; whether that made a difference. Blocks. A store that cannot be read is
        told of, and what was read before stays."""
        with self._turn:
            try:
                stamp = self._store.stamp()
                if stamp == self._stamp:
                    return False
                numbers = tuple(self._store.numbers())
            except (ConfigError, OSError) as error:
                self._complain(str(error))
                return False
            self._stamp, self._trouble = stamp, ""
            if numbers == self._numbers:
                return False
            self._numbers = numbers
            self._trunks = MappingProxyType({number.number: trunk_of(number) for number in numbers})
            log.info("numbers are read", numbers=[number.number for number in numbers])
            return True

    @property
    def all(self) -> tuple[SipNumber, ...]:
        return self._numbers

    def trunks(self) -> Mapping[str, Trunk]:
        """The ways out, each by its number."""
        return self._trunks

    def agent_for(self, did: str, number: str) -> str | None:
        """Who answers a call to ``did``, as the carrier wrote it, that came over the trunk of ``number``; None: nobody
        does."""
        found = self.find(did, number)
        return None if found is None else found.inbound_agent

    def find(self, did: str, number: str) -> SipNumber | None:
        """The number of ours that was dialled. One trunk may bring calls to several, so ``number`` counts only where
        the carrier does not say which."""
        numbers = self._numbers
        own = next((one for one in numbers if one.number == number), None)
        if did in ("", "s") or (own is not None and did in (own.username, own.object_id)):
            return own
        return dialled(numbers, did)

    def _complain(self, trouble: str) -> None:
        if trouble != self._trouble:
            self._trouble = trouble
            log.error("the numbers cannot be read, what was known before stays in use", reason=trouble)


def trunk_of(number: SipNumber) -> Trunk:
    """Its carrier refuses calls that show another number."""
    return Trunk(dial=number.dial, caller_id=number.number, calls=number.calls)


def dialled(numbers: Sequence[SipNumber], did: str) -> SipNumber | None:
    """The one that is meant by ``did``: with ``+``, ``00`` or nothing before the country, or without the country where
    one number alone ends so."""
    plain = did.translate(_SEPARATORS)
    digits = plain.removeprefix("+")
    if not (digits.isascii() and digits.isdigit()):
        return None
    international = digits.removeprefix("00")
    for one in numbers:
        if one.number == f"+{international}":
            return one
    local = digits.lstrip("0")
    if plain.startswith(("+", "00")) or len(local) < _LOCAL_DIGITS:
        return None
    ending = [one for one in numbers if one.number.endswith(local)]
    return ending[0] if len(ending) == 1 else None
