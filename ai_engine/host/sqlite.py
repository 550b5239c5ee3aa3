"""An SQLite file that several processes share; what was committed survives a power cut."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event


def sqlite_url(path: Path) -> str:
    """Makes the folder. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{path.absolute()}"


def open_sqlite(url: str, busy_seconds: float) -> Engine:
    """Every transaction may write; it waits for another writer for ``busy_seconds`` at most, and then raises
    sqlalchemy.exc.OperationalError."""
    engine = create_engine(url, hide_parameters=True, connect_args={"timeout": busy_seconds})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """The tables of an ``open_sqlite`` as they are at one moment, whoever writes."""
    with engine.connect() as fresh:
        connection = fresh.execution_options(only_reads=True)
        with connection.begin():
            yield connection


def _prepare(connection: Any, _: object) -> None:
    connection.isolation_level = None  # transactions are begun by us, see below
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")  # not only a crash of ours is survived


def _begin(connection: Connection) -> None:
    # A transaction that reads first and writes then would fail where another wrote in between.
    reads = connection.get_execution_options().get("only_reads")
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")
