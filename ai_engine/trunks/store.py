"""Our numbers, as they last."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ai_engine.errors import ConfigError
from ai_engine.trunks.key import STORE_FILE, Key, VaultError, find_key
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.vault import Vault

_VERSION = 1


class NumberExists(ConfigError):
    """The number is in the store already."""


class NoSuchNumber(ConfigError):
    """The number is not in the store."""


@dataclass(frozen=True, slots=True)
class _Content:
    numbers: tuple[SipNumber, ...] = ()
    removed: tuple[str, ...] = ()

    def find(self, number: str) -> SipNumber | None:
        return next((known for known in self.numbers if known.number == number), None)

    def need(self, number: str) -> SipNumber:
        if (found := self.find(number)) is None:
            raise NoSuchNumber(f"{number} is not one of our numbers; `studio number list` shows them")
        return found

    def with_number(self, number: SipNumber) -> "_Content":
        """In the place of the one it replaces, else at the end."""
        if self.find(number.number) is None:
            numbers = (*self.numbers, number)
        else:
            numbers = tuple(number if known.number == number.number else known for known in self.numbers)
        return _Content(numbers, tuple(id for id in self.removed if id != number.object_id))

    def without(self, number: SipNumber) -> "_Content":
        rest = tuple(known for known in self.numbers if known.number != number.number)
        return _Content(rest, (*self.removed, number.object_id))


class NumberStore:
    """Every method blocks, may be called in any thread and process, and may raise VaultError."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._vault = Vault(directory / STORE_FILE, partial(find_key, directory, environ))

    def numbers(self) -> list[SipNumber]:
        """In the order they were added."""
        return list(self._content().numbers)

    def find(self, number: str) -> SipNumber | None:
        return self._content().find(number)

    def add(self, number: SipNumber, *, replace: bool = False) -> None:
        """Raises NumberExists, unless it may ``replace``."""

        def change(content: _Content) -> _Content:
            if content.find(number.number) and not replace:
                raise NumberExists(f"{number.number} is there already; `--replace` puts this one in its place")
            return content.with_number(number)

        self._change(change)

    def change(self, number: str, **changes: object) -> SipNumber:
        """Fields of ``SipNumber``; the number as it is then. Raises NoSuchNumber, and ConfigError for a value that does
        not fit."""
        found: list[SipNumber] = []

        def change(content: _Content) -> _Content:
            found.append(_changed(content.need(number), changes))
            return content.with_number(found[0])

        self._change(change)
        return found[0]

    def remove(self, number: str) -> SipNumber:
        """Its object id is among ``removed`` then. Raises NoSuchNumber."""
        found: list[SipNumber] = []

        def change(content: _Content) -> _Content:
            found.append(content.need(number))
            return content.without(found[0])

        self._change(change)
        return found[0]

    def removed(self) -> tuple[str, ...]:
        """Object ids that Asterisk may still know."""
        return self._content().removed

    def forget(self, object_ids: Iterable[str]) -> None:
        """Asterisk knows them no more."""
        gone = frozenset(object_ids)

        def change(content: _Content) -> _Content:
            return replace(content, removed=tuple(id for id in content.removed if id not in gone))

        self._change(change)

    def stamp(self) -> str:
        """Another one after each change; cheap, and no key is needed."""
        return self._vault.stamp()

    def rotate(self, new: Key) -> None:
        """Lock the store with another key, see ``Vault.rotate``."""
        self._vault.rotate(new)

    def _content(self) -> _Content:
        return _parsed(self._vault.read())

    def _change(self, change: Callable[[_Content], _Content]) -> None:
        def rewrite(plain: bytes | None) -> bytes | None:
            before = _parsed(plain)
            after = change(before)
            return None if after == before else _written(after)

        self._vault.update(rewrite)


def _changed(number: SipNumber, changes: Mapping[str, object]) -> SipNumber:
    try:
        return SipNumber.model_validate({**_plain(number), **changes})
    except ValidationError as error:
        raise ConfigError(f"{number.number}: {complaint(error)}") from None


def complaint(error: ValidationError) -> str:
    """What is wrong with a number, without its values: one of them may be the password."""
    return "; ".join(
        ": ".join(filter(None, (".".join(map(str, part["loc"])), part["msg"].removeprefix("Value error, "))))
        for part in error.errors(include_input=False, include_url=False)
    )


def _plain(number: SipNumber) -> dict[str, Any]:
    return {**number.model_dump(mode="json"), "password": number.password.get_secret_value()}


def _written(content: _Content) -> bytes:
    numbers = [_plain(number) for number in content.numbers]
    return json.dumps({"version": _VERSION, "numbers": numbers, "removed": content.removed}).encode()


def _parsed(plain: bytes | None) -> _Content:
    if plain is None:
        return _Content()
    try:
        data = json.loads(plain)
        version, numbers, removed = data.get("version"), data.get("numbers", ()), data.get("removed", ())
        if version == _VERSION:
            return _Content(tuple(map(SipNumber.model_validate, numbers)), tuple(removed))
    except ValidationError as error:
        raise VaultError(f"the store of numbers holds what this Offhook does not know: {complaint(error)}") from None
    except (ValueError, AttributeError, TypeError):
        raise VaultError("the file of numbers was opened, but is not a store; put it back from a backup") from None
    raise VaultError(
        f"the store of numbers has version {version}, and this Offhook knows {_VERSION}; use the one that wrote it, or"
        " a newer one"
    )
