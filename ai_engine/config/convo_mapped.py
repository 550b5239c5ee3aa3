"""What a YAML file would say of an agent, and where in its convo.toml each value stands."""

import re
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Any

from pydantic import SecretStr

from ai_engine.config.model import Place

_REFERENCE = re.compile(r"^\$\{([A-Z][A-Z0-9_]*)\}$")


@dataclass
class Mapped:
    """``data`` is what a YAML file of the same agent would say."""

    data: dict[str, Any] = field(default_factory=dict)
    sources: dict[Place, Place] = field(default_factory=dict)
    """Where in the convo.toml stands what ``data`` has at a place."""
    keys: dict[str, SecretStr] = field(default_factory=dict)
    """Secrets that stand in it."""
    odd: list[tuple[Place, str]] = field(default_factory=list)
    """Keys that mean nothing here, and why."""
    wrong: list[tuple[Place, str]] = field(default_factory=list)

    def put(self, place: tuple[str, ...], value: Any, source: Place) -> None:
        around = self.data
        for length, key in enumerate(place[:-1], 1):
            around = around.setdefault(key, {})
            self.sources.setdefault(place[:length], source)
        around[place[-1]] = value
        self.sources[place] = source

    def secret(self, value: str, name: str) -> str:
        """The name of the variable that holds it: the one it refers to, or ``name``, with a digit where another secret
        is called so."""
        if reference := _REFERENCE.match(value):
            return reference[1]
        names = chain((name,), (f"{name}_{number}" for number in count(2)))
        secret = SecretStr(value)
        return next(one for one in names if self.keys.setdefault(one, secret) == secret)
