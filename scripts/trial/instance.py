"""A running trial Asterisk: where it listens, who may talk to it, and the two ways to ask it things."""

import base64
import json
import re
import socket
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from scripts.trial.rootfs import CACHE, TrialError


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
    tls_port: int = 0
    """SIP over TLS; ``sip_port`` is that of UDP and TCP."""

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
    def trunks(self) -> Path:
        """A folder that ``pjsip.conf`` includes: what ``studio.pjsip_directory`` may name."""
        return self.etc / "pjsip.d"

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

    def ari(self, method: str, path: str, body: object = None) -> object:
        """One ARI request, decoded; raises urllib.error.HTTPError when Asterisk refuses."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{self.ari_url}{path}", data, {"Content-Type": "application/json"}, method=method
        )
        token = base64.b64encode(f"{self.username}:{self.password}".encode()).decode()
        request.add_header("Authorization", f"Basic {token}")
        here = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never behind this machine's proxy
        with here.open(request, timeout=5) as reply:
            return json.loads(reply.read() or b"null")


def run_directory(instance: str = "") -> Path:
    """Where an instance keeps its configuration, log and spool."""
    if not re.fullmatch(r"[a-z0-9-]*", instance):
        raise TrialError(f"instance name {instance!r}: lower-case letters, digits and dashes only")
    return CACHE / (f"run-{instance}" if instance else "run")


def recorded(run_dir: Path) -> Trial | None:
    """The instance that was last started there, whether or not it still runs."""
    try:
        return Trial(**json.loads((run_dir / "trial.json").read_text(encoding="utf-8")))
    except (FileNotFoundError, json.JSONDecodeError, TypeError):
        return None


def is_ours(trial: Trial) -> bool:
    """Whether the process of ``trial`` runs and is the Asterisk we started."""
    # A pid alone may have been given to another process since.
    try:
        command = Path(f"/proc/{trial.pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return bytes(trial.etc / "asterisk.conf") in command and trial.pid > 0


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
