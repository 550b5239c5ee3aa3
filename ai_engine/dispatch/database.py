"""The tables of calls, attempts and bookings: an SQLite file, or a PostgreSQL that several engines share."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    create_engine,
    make_url,
    text,
)
from sqlalchemy.exc import DBAPIError

from ai_engine.host.sqlite import open_sqlite

_BUSY_SECONDS = 10.0
"""How long a writer waits for another process that writes into the same SQLite file."""

_PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "25000",
}
"""With a PostgreSQL that does not answer; ``tcp_user_timeout`` is milliseconds."""

metadata = MetaData()

calls = Table(
    "offhook_calls",
    metadata,
    Column("id", String, primary_key=True),
    Column("idempotency_key", String, unique=True),
    Column("number", String, nullable=False, index=True),
    Column("status", String, nullable=False),
    Column("created_at", Float, nullable=False, index=True),
    Column("settled_at", Float),
    Column("record", Text, nullable=False),
)
"""``record`` is a ``CallRecord`` in JSON; the other columns are what it is looked up by. Times are epoch seconds."""

attempts = Table(
    "offhook_attempts",
    metadata,
    Column("call_id", String, nullable=False),
    Column("number", Integer, nullable=False),
    Column("token", String, nullable=False),
    Column("state", String, nullable=False),
    Column("provider_call_id", String, nullable=False, default=""),
    Column("sequence", Integer),
    Column("reason", String, nullable=False, default=""),
    Column("retryable", Integer, nullable=False, default=1),
    Column("begun_at", Float, index=True),
    Column("dialed_at", Float, index=True),
    Column("answered_at", Float),
    Column("ended_at", Float),
    Column("redial_at", Float),
    PrimaryKeyConstraint("call_id", "number"),
)
"""States: ``queued`` (for a line), ``put off`` (until people may be called), ``waiting`` (it has a line), ``starting``
(may be dialled), ``started``, or the ``Status`` at its end; ``canceled`` is one that we ended."""

bookings = Table(
    "offhook_bookings",
    metadata,
    Column("key", String, primary_key=True),
    Column("call_id", String, nullable=False, index=True),
    Column("body", Text, nullable=False),
    Column("state", String, nullable=False),
    Column("result", Text, nullable=False, default="{}"),
    Column("asked_at", Float, nullable=False),
    Column("answered_at", Float),
)
"""Appointments that a callee has confirmed. ``state``: ``asked``, ``made``, ``refused``."""

timeline = Table(
    "offhook_timeline",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("call_id", String, nullable=False, index=True),
    Column("at", Float, nullable=False),
    Column("kind", String, nullable=False),
    Column("text", Text, nullable=False, default=""),
    Column("attempt", Integer, nullable=False, default=0),
)

engines = Table(
    "offhook_engines",
    metadata,
    Column("name", String, primary_key=True),
    Column("beats", Integer, nullable=False),
)
"""Who shares the database; whose ``beats`` do not go up is dead."""


class Database:
    """One transaction at a time for each caller; every method blocks for as long as a write takes."""

    def __init__(self, url: str) -> None:
        """``sqlite:///FILE`` or ``postgresql+psycopg://…``. Opens it, and makes what tables are missing.

        Raises sqlalchemy.exc.SQLAlchemyError.
        """
        self._is_sqlite = make_url(url).get_backend_name() == "sqlite"
        if self._is_sqlite:
            self._engine = open_sqlite(url, _BUSY_SECONDS)
        else:
            self._engine = create_engine(url, pool_pre_ping=True, hide_parameters=True)
        self._names: Connection | None = None
        metadata.create_all(self._engine)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All of what happens inside, or nothing."""
        with self._engine.begin() as connection:
            yield connection

    def exclude_others(self, connection: Connection, what: str) -> None:
        """Until the transaction ends nobody else is behind this door; on SQLite nobody else writes anyway."""
        if not self._is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": f"offhook-{what}"})

    def reserve_name(self, name: str) -> bool:
        """Whether nobody else has it; it is ours until ``release_names``, or the end of our connection. May be asked
        again."""
        if self._is_sqlite:
            return True
        try:
            return self._take_name(name)
        except DBAPIError:
            self.release_names()  # the connection is lost; another one may succeed
            return self._take_name(name)

    def release_names(self) -> None:
        """May be called more than once."""
        if self._names is not None:
            self._names.invalidate()  # a connection given back to the pool would keep them
            self._names.close()
            self._names = None

    def close(self) -> None:
        self.release_names()
        self._engine.dispose()

    def _take_name(self, name: str) -> bool:
        if self._names is None:
            self._names = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        held = text("SELECT pg_try_advisory_lock(hashtext(:name))")
        return bool(self._names.execute(held, {"name": name}).scalar())


def postgres_url(url: str) -> str:
    """With the driver we ship, where people write ``postgresql://``; a server that is gone without a word is noticed
    within half a minute. Empty stays empty."""
    if not url:
        return ""
    given = make_url(url)
    if given.drivername in ("postgresql", "postgres"):
        given = given.set(drivername="postgresql+psycopg")
    patience = {name: value for name, value in _PATIENCE.items() if name not in given.query}
    return given.update_query_dict(patience).render_as_string(hide_password=False)
