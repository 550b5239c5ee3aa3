"""Start, stop and question a trial Asterisk; several may run side by side, told apart by an instance name.

trial = start("test")              # Trial: ports, password, directories; idempotent
trial.cli("core show channels")    # str
trial.sip_uri("100")               # "sip:100@127.0.0.1:5160"
trial = restart("test")            # same ports and passwords
kill("test")                       # as a crash would end it
stop("test")
status("test")                     # Trial, or None when it does not run
"""

import base64
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from scripts.trial.rootfs import CACHE, CHECKOUT, ROOTFS, Say, TrialError, as_root, install, say, step

TEMPLATES = CHECKOUT / "asterisk"
RTP_BLOCK = 1000
"""Each instance has this many RTP ports to itself."""

START_SECONDS = 30.0
STOP_SECONDS = 10.0
MAX_SOCKET_PATH = 107
"""The kernel's limit for the path of a Unix socket, Asterisk's control socket among them."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What to listen on; a port of None means the first free one from our default upwards."""

    bind: str = "127.0.0.1"
    sip: int | None = None
    http: int | None = None
    rtp_first: int | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """A running trial Asterisk, as ``trial.json`` in its run directory describes it."""

    instance: str
    pid: int
    run_dir: str
    bind: str
    """Address of SIP and RTP; ARI is always on 127.0.0.1."""
    sip_port: int
    http_port: int
    rtp_first: int
    rtp_last: int
    username: str
    """ARI account; ``password`` is new for each run, and kept over a restart."""
    password: str
    phone_user: str
    phone_password: str
    """SIP account for a phone; kept for good, so that a softphone set up once stays registered."""

    @property
    def ari_url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/ari"

    @property
    def rtp_ports(self) -> range:
        """What to capture to see this instance's media and nothing else."""
        return range(self.rtp_first, self.rtp_last + 1)

    @property
    def etc(self) -> Path:
        """The rendered configuration; files put into ``extensions.d`` there are read on ``dialplan reload``."""
        return Path(self.run_dir) / "etc"

    @property
    def log(self) -> Path:
        """Asterisk's messages, dialplan steps and DTMF."""
        return Path(self.run_dir) / "log" / "messages"

    def sip_uri(self, extension: str) -> str:
        """What a phone dials to reach ``extension``."""
        return f"sip:{extension}@{self.bind}:{self.sip_port}"

    def cli(self, command: str) -> str:
        """Run one console command and return what it prints."""
        return console_command(Path(self.run_dir) / "asterisk.ctl", command)

    def ari(self, method: str, path: str) -> object:
        """One ARI request, decoded; raises urllib.error.HTTPError when Asterisk refuses."""
        request = urllib.request.Request(f"{self.ari_url}{path}", method=method)
        token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
        with urllib.request.urlopen(request, timeout=5) as reply:
            return json.loads(reply.read() or b"null")


def run_directory(instance: str = "") -> Path:
    """Where an instance keeps its configuration, log and spool."""
    if not re.fullmatch(r"[a-z0-9-]*", instance):
        raise TrialError(f"instance name {instance!r}: lower-case letters, digits and dashes only")
    return CACHE / (f"run-{instance}" if instance else "run")


def status(instance: str = "") -> Trial | None:
    """The running instance, or None."""
    trial = _recorded(run_directory(instance))
    return trial if trial and _is_ours(trial) else None


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
        trial = _plan(instance, ports or Ports())
        return _launch(trial, overlay or {}, tell)


def restart(instance: str = "", tell: Say = say) -> Trial:
    """Stop an instance and start it on the same ports with the same passwords and configuration."""
    with _one_at_a_time():
        trial = _recorded(run_directory(instance))
        if trial is None:
            raise TrialError("nothing to restart: run 'scripts/asterisk start' first")
        _end(trial, signal.SIGTERM)
        return _run(trial, tell)


def stop(instance: str = "") -> bool:
    """Stop an instance; True if it ran. Ends only the process that start() began."""
    with _one_at_a_time():
        trial = _recorded(run_directory(instance))
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
    command = ["asterisk", "-C", str(trial.etc / "asterisk.conf"), "-r"]
    if not _uses_host_binary():
        command = as_root(["nsenter", "-t", str(trial.pid), "-m", "-r", "-w", *command])
    os.execvp(command[0], command)


def console_command(control: Path, command: str, seconds: float = 10.0) -> str:
    """Run one command over Asterisk's control socket, as ``asterisk -rx`` does, and return what it prints."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        link.settimeout(seconds)
        try:
            link.connect(str(control))
        except OSError as error:
            raise TrialError(f"Asterisk does not answer on {control}: {error}") from error
        link.recv(4096)  # the banner: host, pid and version
        link.sendall(f"cli quit after {command}\0".encode())
        reply = b"".join(iter(lambda: link.recv(65536), b""))
    # Each line begins with marks for the verbosity of the remote console; NULs separate writes.
    return re.sub(r"\x1b\[[0-9;]*m|[\x00\x7f-\x9f]", "", reply.decode(errors="replace")).strip()


def _recorded(run_dir: Path) -> Trial | None:
    try:
        return Trial(**json.loads((run_dir / "trial.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


def _is_ours(trial: Trial) -> bool:
    # A pid alone may have been given to another process since.
    try:
        command = Path(f"/proc/{trial.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return bytes(trial.etc / "asterisk.conf") in command and trial.pid > 0


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _plan(instance: str, ports: Ports) -> Trial:
    run_dir = run_directory(instance)
    rtp_first = ports.rtp_first or _free_rtp_block()
    return Trial(
        instance=instance,
        pid=0,
        run_dir=str(run_dir),
        bind=ports.bind,
        sip_port=ports.sip or _free_port(5160, ports.bind, socket.SOCK_DGRAM),
        http_port=ports.http or _free_port(8188, "127.0.0.1", socket.SOCK_STREAM),
        rtp_first=rtp_first,
        rtp_last=rtp_first + RTP_BLOCK - 1,
        username="offhook",
        password=secrets.token_urlsafe(18),
        phone_user="1000",
        phone_password=_kept_secret(run_dir / "phone-password"),
    )


def _kept_secret(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _write_private(path, secrets.token_urlsafe(9))
    return path.read_text(encoding="utf-8")


def _free_port(first: int, address: str, kind: socket.SocketKind) -> int:
    for port in range(first, first + 100):
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind is socket.SOCK_STREAM:  # a port whose last connection is just closing counts as free
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError:
                continue
            return port
    raise TrialError(f"no free port from {first} to {first + 99} on {address}")


def _free_rtp_block() -> int:
    # Asterisk opens RTP ports only during calls, so an instance without calls is known by its record alone.
    records = (_recorded(path.parent) for path in CACHE.glob("run*/trial.json"))
    taken = {record.rtp_first for record in records if record and _is_ours(record)}
    table = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    in_use = {int(line.split()[1].split(":")[1], 16) for line in table}
    for first in range(20000, 32000, RTP_BLOCK):
        if first not in taken and in_use.isdisjoint(range(first, first + RTP_BLOCK)):
            return first
    raise TrialError("no free block of RTP ports from 20000 to 31999: name one with --rtp-port")


def _uses_host_binary() -> bool:
    wish = os.environ.get("OFFHOOK_ASTERISK", "rootfs")
    if wish not in ("rootfs", "system"):
        raise TrialError(f"OFFHOOK_ASTERISK={wish}: only 'rootfs' and 'system' are known")
    return wish == "system"


def _check_host_binary() -> None:
    binary = shutil.which("asterisk", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if binary is None:
        raise TrialError("OFFHOOK_ASTERISK=system, but there is no asterisk on PATH: install it, or unset the variable")
    version = subprocess.run([binary, "-V"], capture_output=True, text=True, check=False).stdout
    major = re.search(r"Asterisk \D*(\d+)", version)
    if major is None or int(major.group(1)) < 18:
        raise TrialError(f"{binary} is {version.strip() or 'of unknown version'}: Asterisk 18 or later is needed")


def _launch(trial: Trial, overlay: Mapping[str, str], tell: Say) -> Trial:
    if _uses_host_binary():
        _check_host_binary()
    else:
        install(tell)
    control = f"{trial.run_dir}/asterisk.ctl"
    if len(control) > MAX_SOCKET_PATH:
        raise TrialError(f"'{control}' is too long a path for a socket: move the checkout to a shorter one")
    render(trial, overlay)
    return _run(trial, tell)


def render(trial: Trial, overlay: Mapping[str, str]) -> None:
    """Write the configuration of ``trial`` from the templates, readable by its owner alone."""
    run_dir = Path(trial.run_dir)
    directories = ("etc/extensions.d", "lib", "log", "spool/recording", "spool/tmp")
    for name in directories:
        shutil.rmtree(run_dir / Path(name).parts[0], ignore_errors=True)
    for name in directories:
        (run_dir / name).mkdir(parents=True)
    prefix = Path("/") if _uses_host_binary() else ROOTFS
    values = {
        "ETC": str(trial.etc),
        "RUN": trial.run_dir,
        "MODULES": _inside(
            prefix, "usr/lib/*/asterisk/modules", "usr/lib/asterisk/modules", "usr/lib64/asterisk/modules"
        ),
        "DATA": _inside(prefix, "usr/share/asterisk", "var/lib/asterisk"),
        "BIND": trial.bind,
        "SIP_PORT": str(trial.sip_port),
        "HTTP_PORT": str(trial.http_port),
        "RTP_FIRST": str(trial.rtp_first),
        "RTP_LAST": str(trial.rtp_last),
        "ARI_USERNAME": trial.username,
        "ARI_PASSWORD": trial.password,
        "PHONE_PASSWORD": trial.phone_password,
    }
    templates = {path.name: path.read_text(encoding="utf-8") for path in TEMPLATES.glob("*.conf")}
    # Asterisk logs an error for each of these that is absent, though it needs none of them.
    defaults = dict.fromkeys((TEMPLATES / "empty-files").read_text(encoding="utf-8").split(), "")
    for name, template in {**defaults, **templates, **overlay}.items():
        _write_private(trial.etc / name, re.sub(r"@([A-Z_]+)@", lambda found: values[found.group(1)], template))


def _inside(prefix: Path, *patterns: str) -> str:
    for pattern in patterns:
        for path in sorted(prefix.glob(pattern)):
            return f"/{path.relative_to(prefix)}"
    raise TrialError(f"no Asterisk files below {prefix}: remove it and run 'scripts/asterisk install' again")


def _write_private(path: Path, text: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _run(trial: Trial, tell: Say) -> Trial:
    run_dir = Path(trial.run_dir)
    for leftover in (run_dir / "asterisk.ctl", run_dir / "asterisk.pid", *run_dir.glob("ended-*")):
        leftover.unlink(missing_ok=True)
    # Named anew each time: the shell of a run just killed may be slow to write its own.
    ended = run_dir / f"ended-{secrets.token_hex(4)}"
    with step(tell, f"Asterisk started: SIP {trial.bind}:{trial.sip_port}, ARI 127.0.0.1:{trial.http_port}"):
        with (run_dir / "log/console").open("wb") as output:
            subprocess.run(_command(trial, ended), stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False)
        _wait(lambda: ended.exists() or _written_pid(run_dir) > 0, START_SECONDS)
        trial = replace(trial, pid=_written_pid(run_dir))
        _write_private(run_dir / "trial.json", json.dumps(asdict(trial), indent=2) + "\n")
        _wait(lambda: ended.exists() or _answers(trial), START_SECONDS)
        if not _answers(trial):
            _end(trial, signal.SIGKILL)
            raise TrialError(_why_not(trial))
    return trial


def _command(trial: Trial, ended: Path) -> list[str]:
    asterisk = ["asterisk", "-C", str(trial.etc / "asterisk.conf"), "-f", "-n"]
    detached = ["setsid", "--fork"]
    if _uses_host_binary():
        return [*detached, "sh", "-c", f'{_TELL_THE_END}"$@"', "sh", str(ended), *asterisk]
    mounts = ["sh", "-c", f'{_TELL_THE_END}{_MOUNT}"$@"', "sh", str(ended), str(ROOTFS), str(CHECKOUT)]
    inside = ["chroot", f"--userspec={os.getuid()}:{os.getgid()}", str(ROOTFS), *asterisk]
    return as_root([*detached, "unshare", "--mount", "--propagation", "private", *mounts, *inside])


_TELL_THE_END = """
ended=$1; shift
trap 'echo "$?" > "$ended"' EXIT
"""

# The mounts live in a namespace of their own and vanish with Asterisk. The checkout and /tmp keep their paths,
# so that the run directory and sound files have the same names inside and outside.
_MOUNT = """
root=$1 checkout=$2; shift 2
mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" && mount --bind /tmp "$root/tmp" || exit 1
mkdir -p "$root$checkout" && mount --bind "$checkout" "$root$checkout" || exit 1
"""


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
    if not _is_ours(trial):
        return False
    for number in (how, signal.SIGKILL):
        os.kill(trial.pid, number)
        if _wait(lambda: not _is_ours(trial), STOP_SECONDS):
            return True
    raise TrialError(f"Asterisk (process {trial.pid}) does not end: look at it with 'ps {trial.pid}'")


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return condition()
