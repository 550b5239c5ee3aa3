"""What Asterisk sends to many phones at once: written to a file by tcpdump, and read when the measurement is over."""

import re
import signal
import subprocess
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.trial.measure import RtpPacket
from scripts.trial.rootfs import TrialError, as_root
from scripts.trial.wire import read_pcap

_PACKET_BYTES = 256
"""Kept of each packet: 20 ms of G.711 and its headers. More would leave room for fewer packets in the kernel's ring."""

_SIP_BYTES = 4096
"""Where whole messages are wanted, too."""

_RING_KILOBYTES = 16384


class Capture:
    """All RTP that is sent from ``ports`` on loopback, between entering the block and leaving it; and all SIP of the
    telephones on the ports ``peers``."""

    def __init__(self, ports: range, path: Path, peers: Iterable[int] = ()) -> None:
        self._ports = ports
        self._peers = tuple(peers)
        self._path = path
        self._process: subprocess.Popen[str]
        self.dropped = 0
        """Packets the capture itself missed."""

    def __enter__(self) -> Self:
        sources = [
            f"src portrange {self._ports.start}-{self._ports.stop - 1}",
            *(f"port {port}" for port in self._peers),
        ]
        wanted = f"udp and ({' or '.join(sources)})"
        size = _SIP_BYTES if self._peers else _PACKET_BYTES
        options = ["-i", "lo", "-s", str(size), "-B", str(_RING_KILOBYTES), "-w", str(self._path), wanted]
        try:
            self._process = subprocess.Popen(as_root(["tcpdump", *options]), stderr=subprocess.PIPE, text=True)
        except FileNotFoundError as error:
            raise TrialError("tcpdump is missing: run scripts/setup (or apt-get install tcpdump)") from error
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if "listening on" in line:
                return self
        raise TrialError("tcpdump cannot capture on loopback")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.send_signal(signal.SIGINT)
        _, said = self._process.communicate()
        if found := re.search(r"(\d+) packets? dropped by kernel", said):
            self.dropped = int(found.group(1))

    def streams(self) -> list[list[RtpPacket]]:
        """One list of packets per call, once the block has been left."""
        streams: dict[int, list[RtpPacket]] = {}
        for packet in read_pcap(self._path):
            streams.setdefault(packet.src, []).append(packet)
        return list(streams.values())
