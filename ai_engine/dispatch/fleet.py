"""The engines that share a database: who lives, and whose calls have to be carried on by somebody else."""

import fcntl
from collections.abc import Callable
from pathlib import Path
from typing import IO

from sqlalchemy import delete, insert, select, update

from ai_engine.dispatch.database import Database, engines
from ai_engine.errors import ConfigError

_LOST_SECONDS = 30.0
"""An engine that has not been heard of for so long is gone."""


class Fleet:
    """Every method blocks for as long as a write takes."""

    def __init__(
        self,
        database: Database,
        name: str,
        clock: Callable[[], float],
        lock: Path | None = None,
        lost_seconds: float = _LOST_SECONDS,
    ) -> None:
        """``name`` of this engine; ``lock`` is a file that one engine holds at a time, where they share a disk."""
        self.name = name
        self.beat_seconds = lost_seconds / 6
        """How often ``beat`` is due."""
        self._lost_seconds = lost_seconds
        self._database = database
        self._clock = clock
        self._lock_path = lock
        self._lock: IO[str] | None = None

    def enter(self) -> None:
        """Raises ConfigError where an engine of our name runs already."""
        if self._lock_path is not None:
            self._lock = self._lock_path.open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._lock.close()
                self._lock = None
                raise ConfigError(
                    f"{self._lock_path}: another engine uses this store; give each its own call_agent.store.path, or"
                    " let them share a PostgreSQL (CALL_AGENT_DATABASE_URL)"
                ) from None
        elif self._database.reserve_name(f"engine-{self.name}") is False:
            raise ConfigError(f"another engine is called {self.name!r}: give each its own call_agent.store.engine_name")
        self.beat()

    def beat(self) -> list[str]:
        """We live. Returns the names of engines that do not any more, each to one caller only."""
        now = self._clock()
        with self._database.transaction() as connection:
            self._database.exclude_others(connection, "engines")
            alive = update(engines).where(engines.c.name == self.name).values(seen_at=now)
            if connection.execute(alive).rowcount == 0:
                connection.execute(insert(engines).values(name=self.name, seen_at=now))
            gone = select(engines.c.name).where(engines.c.seen_at < now - self._lost_seconds)
            lost = list(connection.execute(gone).scalars())
            if lost:
                connection.execute(delete(engines).where(engines.c.name.in_(lost)))
            return lost

    def leave(self) -> None:
        """May be called more than once. What we hold is carried on by our next self, or by the others after a while."""
        self._database.release_names()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
