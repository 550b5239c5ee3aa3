"""The engines that share a database: who lives, and whose calls have to be carried on by somebody else."""

import fcntl
from pathlib import Path
from typing import IO

import structlog
from sqlalchemy import delete, insert, select, update

from ai_engine.dispatch.database import Database, engines
from ai_engine.errors import ConfigError

log = structlog.get_logger(__name__)

_LOST_SECONDS = 30.0
"""An engine that has not been heard of for so long is gone."""
_SILENT_BEATS = 6
"""So long in beats of our own: while the database is away for us, too, nobody is missed."""


class Fleet:
    """Every method blocks for as long as a write takes."""

    def __init__(
        self, database: Database, name: str, lock: Path | None = None, lost_seconds: float = _LOST_SECONDS
    ) -> None:
        """``name`` of this engine; ``lock`` is a file that one engine holds at a time, where they share a disk."""
        self.name = name
        self.shares = lock is None
        """Other engines may use the database, too."""
        self.beat_seconds = lost_seconds / _SILENT_BEATS
        """How often ``beat`` is due."""
        self._database = database
        self._lock_path = lock
        self._lock: IO[str] | None = None
        self._silent: dict[str, tuple[int, int]] = {}
        """Of others: how often they have beaten, and how often we have since they did."""

    def enter(self) -> None:
        """Raises ConfigError where an engine of our name runs already."""
        if self._lock_path is not None:
            self._lock = self._lock_path.open("w")
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self.leave()
                raise ConfigError(
                    f"{self._lock_path}: another engine uses this store; give each its own call_agent.store.path, or"
                    " let them share a PostgreSQL (CALL_AGENT_DATABASE_URL)"
                ) from None
        elif not self._has_name():
            self.leave()
            raise ConfigError(f"another engine is called {self.name!r}: give each its own call_agent.store.engine_name")
        self.beat()

    def beat(self) -> None:
        """We live; whoever does not any more is struck off."""
        if self.shares and not self._has_name():  # it is ours as long as our connection lasts, which was lost
            log.error("another engine has taken our name", name=self.name)
        with self._database.transaction() as connection:
            self._database.exclude_others(connection, "engines")
            alive = update(engines).where(engines.c.name == self.name).values(beats=engines.c.beats + 1)
            if connection.execute(alive).rowcount == 0:
                connection.execute(insert(engines).values(name=self.name, beats=0))
            others = select(engines.c.name, engines.c.beats).where(engines.c.name != self.name)
            self._silent = {name: (beats, self._beats_since(name, beats)) for name, beats in connection.execute(others)}
            # Who holds the lock is alone.
            gone = [name for name, (_, since) in self._silent.items() if since >= _SILENT_BEATS or not self.shares]
            connection.execute(delete(engines).where(engines.c.name.in_(gone)))

    def others(self) -> set[str]:
        """Who lives beside us."""
        with self._database.transaction() as connection:
            return set(connection.execute(select(engines.c.name)).scalars()) - {self.name}

    def leave(self) -> None:
        """May be called more than once. What we hold is carried on by our next self, or by the others after a while."""
        self._database.release_names()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _has_name(self) -> bool:
        return self._database.reserve_name(f"engine-{self.name}")

    def _beats_since(self, name: str, beats: int) -> int:
        before, since = self._silent.get(name, (beats, -1))
        return since + 1 if before == beats else 0
