"""Who lives: told from beats alone, whatever the clocks say."""

from pathlib import Path

import pytest

from ai_engine.dispatch.database import Database
from ai_engine.dispatch.fleet import Fleet
from ai_engine.errors import ConfigError
from ai_engine.host.sqlite import sqlite_url


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(sqlite_url(tmp_path / "calls.sqlite"))


def test_a_silent_engine_is_missed_after_a_while(database: Database) -> None:
    one, two = Fleet(database, "one"), Fleet(database, "two")
    for fleet in (one, two):
        fleet.enter()
    for _ in range(6):
        one.beat()
        assert one.others() == {"two"}
    one.beat()
    assert one.others() == set()


def test_an_engine_that_lives_is_not_missed(database: Database) -> None:
    one, two = Fleet(database, "one"), Fleet(database, "two")
    for _ in range(30):
        one.beat()
        two.beat()
        assert one.others() == {"two"}
        assert two.others() == {"one"}


def test_nobody_is_missed_because_the_database_was_away(database: Database) -> None:
    """However long that took: neither could beat meanwhile, and who comes back first must not bury the other."""
    one, two = Fleet(database, "one"), Fleet(database, "two")
    for fleet in (one, two, one, two):
        fleet.beat()
    one.beat()  # hours later
    assert one.others() == {"two"}
    for _ in range(4):
        one.beat()  # it comes back a little earlier
    two.beat()
    for _ in range(3):
        one.beat()
    assert one.others() == {"two"}


def test_who_was_struck_off_comes_back(database: Database) -> None:
    one, two = Fleet(database, "one"), Fleet(database, "two")
    two.beat()
    for _ in range(8):
        one.beat()
    assert one.others() == set()
    two.beat()
    one.beat()
    assert one.others() == {"two"}


def test_who_holds_the_file_is_alone(database: Database, tmp_path: Path) -> None:
    """The name of a container is another one after each start."""
    earlier = Fleet(database, "5f2c", tmp_path / "lock")
    earlier.enter()
    later = Fleet(database, "77ab", tmp_path / "lock")
    with pytest.raises(ConfigError, match="another engine uses this store"):
        later.enter()
    earlier.leave()
    later.enter()
    assert later.others() == set()
    later.leave()
