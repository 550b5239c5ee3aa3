"""Start, stop and question a trial Asterisk; several may run side by side, told apart by an instance name.

trial = start("test")              # Trial: ports, password, directories; idempotent
trial.cli("core show channels")    # str
trial.sip_uri("100")               # "sip:100@127.0.0.1:5160"
trial = restart("test")            # same ports and passwords
kill("test")                       # as a crash would end it
stop("test")
status("test")                     # Trial, or None when it does not run
"""

import fcntl
import json
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

from scripts.trial.instance import Trial, is_ours, recorded, run_directory
from scripts.trial.launch import check_host_binary, command, uses_host_binary
from scripts.trial.plan import Ports, plan, write_private
from scripts.trial.render import TEMPLATES, render
from scripts.trial.rootfs import CACHE, Say, TrialError, as_root, install, say, step

__all__ = ["TEMPLATES", "Ports", "Trial", "kill", "open_console", "render", "restart", "start", "status", "stop"]

START_SECONDS = 30.0
STOP_SECONDS = 10.0
MAX_SOCKET_PATH = 107
"""The kernel's limit for the path of a Unix socket, Asterisk's control socket among them."""


def status(instance: str = "") -> Trial | None:
    """The running instance, or None."""
    trial = recorded(run_directory(instance))
    return trial if trial and is_ours(trial) else None


def start(
    instance: str = "",
    ports: Ports | None = None,
    overlay: Mapping[str, str] | None = None,
    tell: Say = say,
) -> Trial:
    """Start an instance and wait until ARI answers; one that runs already is returned as it is.

    ``overlay`` replaces whole configuration files by name, placeholders included. Raises TrialError with advice.
    """
    with _one_at_a_time():
        if running := status(instance):
            return running
        trial = plan(instance, ports or Ports())
        return _launch(trial, overlay or {}, tell)


def restart(instance: str = "", tell: Say = say) -> Trial:
    """Stop an instance and start it on the same ports with the same passwords and configuration."""
    with _one_at_a_time():
        trial = recorded(run_directory(instance))
        if trial is None:
            raise TrialError("nothing to restart: run 'scripts/asterisk start' first")
        _end(trial, signal.SIGTERM)
        return _run(trial, tell)


def stop(instance: str = "") -> bool:
    """Stop an instance; True if it ran. Ends only the process that start() began."""
    with _one_at_a_time():
        trial = recorded(run_directory(instance))
        ended = trial is not None and _end(trial, signal.SIGTERM)
        (run_directory(instance) / "trial.json").unlink(missing_ok=True)
        return ended


def kill(instance: str = "") -> None:
    """End an instance as a crash would, without a goodbye to anyone; restart() brings it back."""
    if trial := status(instance):
        _end(trial, signal.SIGKILL)


def open_console(instance: str = "") -> None:
    """Become Asterisk's interactive console; returns only by raising TrialError."""
    trial = status(instance)
    if trial is None:
        raise TrialError("it is not running: scripts/asterisk start")
    console = ["asterisk", "-C", str(trial.etc / "asterisk.conf"), "-r"]
    if not uses_host_binary():
        console = as_root(["nsenter", "-t", str(trial.pid), "-m", "-r", "-w", *console])
    os.execvp(console[0], console)


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _launch(trial: Trial, overlay: Mapping[str, str], tell: Say) -> Trial:
    if uses_host_binary():
        check_host_binary()
    else:
        install(tell)
    control = f"{trial.run_dir}/asterisk.ctl"
    if len(control) > MAX_SOCKET_PATH:
        raise TrialError(f"'{control}' is too long a path for a socket: move the checkout to a shorter one")
    render(trial, overlay)
    return _run(trial, tell)


def _run(trial: Trial, tell: Say) -> Trial:
    run_dir = Path(trial.run_dir)
    for leftover in (run_dir / "asterisk.ctl", run_dir / "asterisk.pid", *run_dir.glob("ended-*")):
        leftover.unlink(missing_ok=True)
    # Named anew each time: the shell of a run just killed may be slow to write its own.
    ended = run_dir / f"ended-{secrets.token_hex(4)}"
    with step(tell, f"Asterisk started: SIP {trial.bind}:{trial.sip_port}, ARI 127.0.0.1:{trial.http_port}"):
        with (run_dir / "log/console").open("wb") as output:
            subprocess.run(command(trial, ended), stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
        _wait(lambda: ended.exists() or _written_pid(run_dir) > 0, START_SECONDS)
        trial = replace(trial, pid=_written_pid(run_dir))
        write_private(run_dir / "trial.json", json.dumps(asdict(trial), indent=2) + "\n")
        _wait(lambda: ended.exists() or _answers(trial), START_SECONDS)
        if not _answers(trial):
            _end(replace(trial, pid=_written_pid(run_dir)), signal.SIGKILL)
            raise TrialError(_why_not(trial))
    return trial


def _written_pid(run_dir: Path) -> int:
    try:
        return int((run_dir / "asterisk.pid").read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 0


def _answers(trial: Trial) -> bool:
    try:
        trial.ari("GET", "/asterisk/info?only=system")
        return "fully booted" in trial.cli("core waitfullybooted")
    except (OSError, TrialError, json.JSONDecodeError):
        return False


def _why_not(trial: Trial) -> str:
    log = Path(trial.run_dir) / "log"
    files = (log / "console", trial.log)
    said = "".join(path.read_text(encoding="utf-8", errors="replace") for path in files if path.exists())
    telling = [line for line in said.splitlines() if not re.search(r"VERBOSE|NOTICE|DTMF| built by |^Killed$", line)]
    tail = "\n".join(f"  {line}" for line in telling[-8:])
    return (
        f"Asterisk did not answer on ARI port {trial.http_port}. Its last words ({log}):\n{tail}\n"
        "If a port is taken, name others: scripts/asterisk start --sip-port N --http-port N"
    )


def _end(trial: Trial, how: signal.Signals) -> bool:
    if not is_ours(trial):
        return False
    for number in (how, signal.SIGKILL):
        os.kill(trial.pid, number)
        if _wait(lambda: not is_ours(trial), STOP_SECONDS):
            return True
    raise TrialError(f"Asterisk (process {trial.pid}) does not end: look at it with 'ps {trial.pid}'")


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
