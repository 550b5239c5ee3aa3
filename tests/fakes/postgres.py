"""A PostgreSQL of a test's own: a real server on a port of its own, gone afterwards."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.trial.programs import free_port

READY_SECONDS = 30.0


@dataclass
class Postgres:
    """A server that runs."""

    url: str
    """Of an empty database."""
    stop: Callable[[], None]
    """As a crash would."""
    start: Callable[[], None]


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of an empty database, see below."""
    with postgres_server() as server:
        yield server.url


@contextmanager
def postgres_server() -> Iterator[Postgres]:
    """Debian's package ``postgresql`` is needed (scripts/setup installs it)."""
    programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    home = Path(tempfile.mkdtemp(prefix="offhook-postgres-"))
    # The server will not run as root.
    somebody = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if somebody:
        shutil.chown(home, "postgres", "postgres")
    port = free_port()

    def run(*command: str) -> None:
        done = subprocess.run([*somebody, *command], capture_output=True, text=True, cwd="/", check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    run(str(programs / "initdb"), "-D", f"{home}/data", "-A", "trust", "-U", "offhook", "--no-sync")
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
    server = [str(programs / "pg_ctl"), "-D", f"{home}/data", "-w", "-t", f"{READY_SECONDS:g}", "-l", f"{home}/log"]

    def start() -> None:
        run(*server, "-o", options, "start")

    def stop() -> None:
        run(*server, "-m", "immediate", "stop")

    start()
    try:
        run(str(programs / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "offhook", "calls")
        yield Postgres(f"postgresql+psycopg://offhook@127.0.0.1:{port}/calls", stop, start)
    finally:
        stop()
        for _ in range(10):
            shutil.rmtree(home, ignore_errors=True)
            if not home.exists():
                break
            time.sleep(0.1)
