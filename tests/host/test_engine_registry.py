import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from ai_engine.host.registry import Entry, Registry, started_of

OURSELVES = os.getpid()


def entry(id: str = "engine", pid: int = OURSELVES, **fields: object) -> Entry:
    made = Entry(id, pid, started_of(pid), "http://127.0.0.1:4545", "geheim", "/etc/offhook.yaml")
    return replace(made, **fields)  # type: ignore[arg-type]  # whatever a test wants to be different


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path)


def test_engines_are_listed_in_the_order_they_started(registry: Registry, sleeper: subprocess.Popen[bytes]) -> None:
    registry.enter(entry("a", sleeper.pid))
    registry.enter(entry("b"))
    assert [each.id for each in registry.living()] == ["b", "a"]
    assert registry.living()[0] == entry("b")


def test_an_engine_that_was_killed_is_gone_and_its_file_too(
    registry: Registry, sleeper: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    registry.enter(entry("killed", sleeper.pid))
    registry.enter(entry("alive"))
    sleeper.send_signal(signal.SIGKILL)
    sleeper.wait()
    assert [each.id for each in registry.living()] == ["alive"]
    assert os.listdir(tmp_path / "run") == ["alive.json"]


def test_an_engine_of_a_container_is_neither_listed_nor_removed_outside_of_it(
    registry: Registry, tmp_path: Path
) -> None:
    """Its pid is nobody's here, or somebody else's."""
    registry.enter(entry("contained", 2**22 + 1, pid_namespace="pid:[4026532177]"))
    registry.enter(entry("ours"))
    assert [each.id for each in registry.living()] == ["ours"]
    assert sorted(os.listdir(tmp_path / "run")) == ["contained.json", "ours.json"]


def test_another_users_engine_hides_nobodys(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.enter(entry("theirs"))
    registry.enter(entry("ours"))
    read = Path.read_bytes

    def refused(path: Path) -> bytes:
        if path.name == "theirs.json":  # root, as whom tests may run, reads everything
            raise PermissionError(path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", refused)
    assert [each.id for each in registry.living()] == ["ours"]
    assert len(os.listdir(tmp_path / "run")) == 2


def test_an_engine_that_was_killed_and_not_yet_buried_is_gone(
    registry: Registry, sleeper: subprocess.Popen[bytes]
) -> None:
    registry.enter(entry("killed", sleeper.pid))
    sleeper.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)  # dead, and still in the table of processes
    assert psutil.Process(sleeper.pid).status() == psutil.STATUS_ZOMBIE
    assert registry.living() == []


def test_another_process_with_the_same_pid_is_no_engine(registry: Registry, sleeper: subprocess.Popen[bytes]) -> None:
    registry.enter(entry("old", sleeper.pid, process_started=started_of(sleeper.pid) - 60))
    assert registry.living() == []


def test_a_pid_that_nobody_has_is_no_engine(registry: Registry) -> None:
    assert started_of(2**22 + 1) == 0.0
    registry.enter(entry("never", 2**22 + 1))
    assert registry.living() == []


def text_with(**fields: object) -> str:
    return json.dumps({**asdict(entry()), **fields})


BROKEN = ["", "{", "[]", "null", "7", "{}", '{"id": "x"}', "\udcff", "[" * 100_000]
NO_VALUES: tuple[object, ...] = (None, [], {}, True)
ODD = [text_with(**{name: value}) for name in ("pid", "process_started", "token") for value in NO_VALUES]
PIDS = [text_with(pid=value) for value in (-1, 0, 2**80, 1.5, "1")]


@pytest.mark.parametrize("text", [*BROKEN, *ODD, *PIDS])
def test_a_file_that_is_no_entry_is_removed_and_hides_nobody(registry: Registry, tmp_path: Path, text: str) -> None:
    registry.enter(entry())
    (tmp_path / "run" / "broken.json").write_bytes(text.encode(errors="surrogateescape"))
    assert registry.living() == [entry()]
    assert os.listdir(tmp_path / "run") == ["engine.json"]


def test_an_entry_of_a_newer_engine_that_says_more_is_one(registry: Registry, tmp_path: Path) -> None:
    registry.enter(entry())
    (tmp_path / "run" / "engine.json").write_text(text_with(more="news"))
    assert registry.living() == [entry()]


def test_setting_the_clock_ends_no_engine() -> None:
    """psutil adds the time of booting, which the kernel gets by looking at the clock."""
    with Path("/proc/uptime").open() as file:
        uptime = float(file.read().split()[0])
    assert 0 < started_of(OURSELVES) < uptime < 1_000_000_000


def test_nobody_else_can_read_an_entry(registry: Registry, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        registry.enter(entry())
    finally:
        os.umask(old)
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "run" / "engine.json").stat().st_mode & 0o777 == 0o600
    assert "geheim" not in repr(registry.living())


def test_entering_again_replaces_and_leaving_twice_is_no_error(registry: Registry) -> None:
    registry.leave("engine")
    registry.enter(entry())
    registry.enter(entry(url="http://127.0.0.1:1"))
    assert [each.url for each in registry.living()] == ["http://127.0.0.1:1"]
    registry.leave("engine")
    registry.leave("engine")
    assert registry.living() == []


def test_an_entry_that_cannot_be_written_leaves_nothing_and_the_old_one_stays(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.enter(entry())
    with monkeypatch.context() as patched:
        patched.setattr(json, "dump", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
        with pytest.raises(OSError, match="no space left"):
            registry.enter(entry(url="http://127.0.0.1:1"))
    assert registry.living() == [entry()]
    assert os.listdir(tmp_path / "run") == ["engine.json"]


def test_whoever_reads_while_an_entry_is_replaced_sees_one_or_the_other(registry: Registry) -> None:
    registry.enter(entry())
    done = threading.Event()

    def replace_it() -> None:
        for number in range(300):
            registry.enter(entry(url=f"http://127.0.0.1:{number}" + "/" * (number % 2 * 5000)))
        done.set()

    writer = threading.Thread(target=replace_it)
    writer.start()
    seen = 0
    while not done.is_set():
        assert [each.id for each in registry.living()] == ["engine"]
        seen += 1
    writer.join()
    assert seen > 1
