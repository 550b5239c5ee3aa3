"""The tables of appointments and holds, in an SQLite file that several processes may share."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Dialect,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)
from sqlalchemy.types import TypeDecorator

from ai_engine.host.sqlite import open_sqlite, reading, sqlite_url

metadata = MetaData()


class Moment(TypeDecorator[datetime]):
    """In UTC and of one length, so that texts are in the order of the times."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        return None if value is None else value.astimezone(UTC).isoformat(timespec="microseconds")

    def process_result_value(self, value: str | None, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)


events = Table(
    "events",
    metadata,
    Column("id", String, primary_key=True),
    Column("calendar_id", String, nullable=False),
    Column("start", Moment, nullable=False),
    Column("end", Moment, nullable=False),
    Column("timezone", String, nullable=False),
    Column("title", Text, nullable=False),
    Column("details", Text, nullable=False),
    Column("idempotency_key", String, nullable=False, unique=True),
    Column("canceled", Boolean, nullable=False, default=False),
    Column("sequence", Integer, nullable=False, default=0),
    Column("created_at", Moment, nullable=False),
    Column("changed_at", Moment, nullable=False),
    Index("events_by_end", "calendar_id", "end"),
)
"""Appointments; ``details`` is JSON. ``sequence`` counts the changes, as iCalendar has it."""

holds = Table(
    "holds",
    metadata,
    Column("key", String, nullable=False),
    Column("calendar_id", String, nullable=False),
    Column("start", Moment, nullable=False),
    Column("end", Moment, nullable=False),
    Column("expires_at", Moment, nullable=False),
    PrimaryKeyConstraint("key", "calendar_id"),
)
"""Times that are kept for somebody who is being asked about them."""

imported = Table(
    "imported",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("source", String, nullable=False),
    Column("start", Moment, nullable=False),
    Column("end", Moment, nullable=False),
    Column("summary", Text, nullable=False),
    Index("imported_by_end", "source", "end"),
)
"""What is busy in calendars elsewhere, as it was last read."""


class Database:
    """Every method blocks; a writer waits for another one for ``busy_seconds`` at most."""

    def __init__(self, path: Path, busy_seconds: float) -> None:
        """Opens the file, and makes what is missing of it. Raises sqlalchemy.exc.SQLAlchemyError, or OSError."""
        self._engine = open_sqlite(sqlite_url(path), busy_seconds)
        with self.transaction() as connection:
            metadata.create_all(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All of what happens inside, or nothing; nobody else writes meanwhile."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """The tables as they are at one moment, whoever writes."""
        with reading(self._engine) as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()
