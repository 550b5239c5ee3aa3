"""Which ports and passwords an instance about to start gets."""

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path

from scripts.trial.instance import Trial, is_ours, recorded, run_directory
from scripts.trial.rootfs import CACHE, TrialError

RTP_BLOCK = 1000
"""Each instance has this many RTP ports to itself."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What to listen on; a port of None means the first free one from our default upwards."""

    bind: str = "127.0.0.1"
    sip: int | None = None
    http: int | None = None
    rtp_first: int | None = None


def plan(instance: str, ports: Ports) -> Trial:
    """Ports that are free and passwords for an instance about to start; its ``pid`` is still 0."""
    run_dir = run_directory(instance)
    rtp_first = ports.rtp_first or _free_rtp_block()
    return Trial(
        instance=instance,
        pid=0,
        run_dir=str(run_dir),
        bind=ports.bind,
        sip_port=ports.sip or _free_port(5160, ports.bind, socket.SOCK_DGRAM, socket.SOCK_STREAM),
        http_port=ports.http or _free_port(8188, "127.0.0.1", socket.SOCK_STREAM),
        rtp_first=rtp_first,
        rtp_last=rtp_first + RTP_BLOCK - 1,
        username="offhook",
        password=secrets.token_urlsafe(18),
        phone_user="1000",
        phone_password=_kept_secret(run_dir / "phone-password"),
        tls_port=_free_port(5360, ports.bind, socket.SOCK_STREAM),
    )


def _kept_secret(path: Path) -> str:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, secrets.token_urlsafe(9))
    return path.read_text(encoding="utf-8")


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)


def _free_port(first: int, address: str, *kinds: socket.SocketKind) -> int:
    for port in range(first, first + 100):
        if all(_is_free(port, address, kind) for kind in kinds):
            return port
    raise TrialError(f"no free port from {first} to {first + 99} on {address}")


def _is_free(port: int, address: str, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        if kind is socket.SOCK_STREAM:  # a port whose last connection is just closing counts as free
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
        return True


def _free_rtp_block() -> int:
    # Asterisk opens RTP ports only during calls, so an instance without calls is known by its record alone.
    records = (recorded(path.parent) for path in CACHE.glob("run*/trial.json"))
    taken = {record.rtp_first for record in records if record and is_ours(record)}
    table = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    in_use = {int(line.split()[1].split(":")[1], 16) for line in table}
    for first in range(20000, 32000, RTP_BLOCK):
        if first not in taken and in_use.isdisjoint(range(first, first + RTP_BLOCK)):
            return first
    raise TrialError("no free block of RTP ports from 20000 to 31999: name one with --rtp-port")
