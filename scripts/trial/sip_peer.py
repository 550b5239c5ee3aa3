"""Telephones that can be called, made of sipp: busy, gone, slow, an answering machine.

async with SipPeer("busy", "answer", directory=directory) as peer:   # the first call is busy, the others are answered
    dial_string = peer.dial_string                  # "PJSIP/trunk/sip:{number}@127.0.0.1:30012"
    ...
    peer.invites[0].headers["from"]                 # what Asterisk sent
"""

import asyncio
import itertools
import random
import re
import shutil
import socket
import subprocess
import wave
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from ai_engine.audio.g711 import pcm_to_ulaw
from scripts.trial.rootfs import TrialError
from scripts.trial.speech import synthesize

RATE = 8000
BEEP_HZ = 1000
_START_SECONDS = 10.0
_PORTS = range(32000, 32700)
"""Above those of Asterisk's RTP, below those the kernel gives away."""

GREETING = (
    "Hello, you have reached the answering machine of the bakery at the corner. We are not in at the moment, but we"
    " would love to call you back. Please leave your name and your number after the tone."
)
"""What the answering machine says; about ten seconds, and a beep."""

_RESPONSE = """  <send{retrans}><![CDATA[
      SIP/2.0 {line}
      [last_Via:]
      [last_From:]
      [last_To:];tag=[pid]t[call_number]
      [last_Call-ID:]
      [last_CSeq:]
      Contact: <sip:peer@[local_ip]:[local_port]>
{body}    ]]></send>
"""
_NO_BODY = "      Content-Length: 0\n"
_SDP = """      Content-Type: application/sdp
      Content-Length: [len]

      v=0
      o=peer 1 1 IN IP[local_ip_type] [local_ip]
      s=-
      c=IN IP[media_ip_type] [media_ip]
      t=0 0
      m=audio [rtpstream_audio_port] RTP/AVP 0
      a=rtpmap:0 PCMU/8000
      a=ptime:20
"""
_CANCELED = """  <recv request="CANCEL"><action>
    <ereg regexp="[0-9]+" search_in="hdr" header="CSeq:" assign_to="cseq"/>
  </action></recv>
{ok}  <send retrans="500"><![CDATA[
      SIP/2.0 487 Request Terminated
      [last_Via:]
      [last_From:]
      [last_To:];tag=[pid]t[call_number]
      [last_Call-ID:]
      CSeq: [$cseq] INVITE
      Content-Length: 0
    ]]></send>
  <recv request="ACK"/>
"""


def _respond(line: str, body: str = _NO_BODY, *, final: bool = False) -> str:
    return _RESPONSE.format(line=line, body=body, retrans=' retrans="500"' if final else "")


def _refuse(line: str) -> str:
    return _respond(line, final=True) + '  <recv request="ACK"/>\n'


def _say(sound: str) -> str:
    return f'  <nop><action><exec rtp_stream="{sound}.ulaw,1,0"/></action></nop>\n'


def _pause(milliseconds: int) -> str:
    return f'  <pause milliseconds="{milliseconds}"/>\n'


_BYE_AWAITED = '  <recv request="BYE"/>\n' + _respond("200 OK")
_KNOWING_BOTH = """  <recv request="ACK"><action>
    <ereg regexp=".*" search_in="hdr" header="To:" assign_to="me"/>
    <ereg regexp=".*" search_in="hdr" header="From:" assign_to="them"/>
  </action></recv>
"""
_HANG_UP = """  <send retrans="500"><![CDATA[
      BYE [next_url] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From:[$me]
      To:[$them]
      [last_Call-ID:]
      CSeq: 1 BYE
      Max-Forwards: 70
      Content-Length: 0
    ]]></send>
  <recv response="200"/>
"""


def _answer(sound: str = "silence") -> str:
    return _respond("200 OK", _SDP, final=True) + '  <recv request="ACK"/>\n' + _say(sound) + _BYE_AWAITED


def _answer_and_hang_up() -> str:
    return _respond("200 OK", _SDP, final=True) + _KNOWING_BOTH + _say("human") + _pause(500) + _HANG_UP


_RINGING = _respond("180 Ringing")
_EARLY = _respond("183 Session Progress", _SDP) + _say("human")
_UNTIL_CANCELED = _CANCELED.format(ok=_respond("200 OK"))

BEHAVIOURS: Mapping[str, str] = {
    "busy": _refuse("486 Busy Here"),
    "reject": _refuse("603 Decline"),
    "forbid": _refuse("403 Forbidden"),
    "not_found": _refuse("404 Not Found"),
    "unavailable": _refuse("480 Temporarily Unavailable"),
    "congestion": _refuse("503 Service Unavailable"),
    "no_codec": _refuse("488 Not Acceptable Here"),
    "ring": _RINGING + _UNTIL_CANCELED,
    "early": _EARLY + _UNTIL_CANCELED,
    "early_answer": _EARLY + _pause(1000) + _answer(),
    "early_busy": _EARLY + _pause(300) + _refuse("486 Busy Here"),
    "answer": _RINGING + _pause(200) + _answer(),
    "slow_answer": _RINGING + _pause(2500) + _answer(),
    "answer_bye": _RINGING + _pause(200) + _answer_and_hang_up(),
    "human": _RINGING + _pause(200) + _answer("human"),
    "voicemail": _RINGING + _pause(200) + _answer("voicemail"),
}
"""What a telephone does, from the INVITE on. Beside these: ``unreachable`` says nothing at all."""


@dataclass(frozen=True, slots=True)
class Invite:
    """An INVITE as it arrived."""

    uri: str
    headers: Mapping[str, str]
    """Names in lower case."""


class SipPeer:
    """A telephone on a port of its own; its files lie in ``directory``."""

    def __init__(self, *behaviours: str, directory: Path) -> None:
        """One of ``BEHAVIOURS`` for each call in turn; the last one goes on for good."""
        self.port = _free_port()
        self._behaviours = behaviours
        self._directory = directory
        self.beep_seconds = 0.0
        """From the answer of the answering machine to its beep."""
        self._process: asyncio.subprocess.Process | None = None

    @property
    def dial_string(self) -> str:
        """For a trunk of the engine."""
        return f"PJSIP/trunk/sip:{{number}}@127.0.0.1:{self.port}"

    @property
    def invites(self) -> list[Invite]:
        """One of each call so far; what Asterisk sent again is not one more."""
        log = self._directory / "messages.log"
        said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
        found: dict[str, Invite] = {}
        for text in re.findall(r"message received .*?\n\n(INVITE .*?)\n\n", said.replace("\r", ""), re.DOTALL):
            line, *rest = text.splitlines()
            pairs = (header.partition(":") for header in rest)
            headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            found.setdefault(headers["call-id"], Invite(line.split()[1], headers))
        return list(found.values())

    async def start(self) -> None:
        """Raises TrialError with advice."""
        if self._behaviours == ("unreachable",):
            return
        if shutil.which("sipp") is None:
            raise TrialError("sipp is missing: run scripts/setup (or apt-get install sip-tester)")
        await asyncio.to_thread(self._write_files)
        with (self._directory / "sipp.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *("sipp", "-sf", "peer.xml", "-i", "127.0.0.1", "-mi", "127.0.0.1", "-p", str(self.port)),
                *("-nostdin", "-trace_msg", "-message_file", "messages.log"),
                cwd=self._directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        await self._listening()

    async def close(self) -> None:
        """Be gone at once, as with the power cut; safe to repeat."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _write_files(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / "peer.xml").write_text(_scenario(self._behaviours), encoding="utf-8")
        quiet, greeting = bytes(RATE * 2 * 60), _speech(GREETING) + bytes(RATE)
        self.beep_seconds = len(greeting) / 2 / RATE
        sounds = {
            "silence": quiet,
            "human": _speech("Hello?") + quiet,
            "voicemail": greeting + _beep() + quiet,
        }
        for name, pcm in sounds.items():
            (self._directory / f"{name}.ulaw").write_bytes(pcm_to_ulaw(pcm))

    async def _listening(self) -> None:
        port, table = f":{self.port:04X} ", Path("/proc/net/udp")
        with suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                while self._process is not None and self._process.returncode is None:
                    if port in await asyncio.to_thread(table.read_text, "ascii"):
                        return
                    await asyncio.sleep(0.02)
        said = (self._directory / "sipp.log").read_text(encoding="utf-8", errors="replace")
        raise TrialError("sipp did not begin:\n" + "\n".join(said.splitlines()[-10:]))


def _scenario(behaviours: tuple[str, ...]) -> str:
    """Each call jumps to the label of its number."""
    count = len(behaviours)
    jumps = "".join(
        f'  <nop><action><test assign_to="mine" variable="calls" compare="equal" value="{number}"/></action></nop>\n'
        f'  <nop next="{number}" test="mine"/>\n'
        for number in range(1, count)
    )
    parts = "".join(
        f'  <label id="{number}"/>\n{BEHAVIOURS[behaviours[number - 1]]}  <nop next="{count + 1}"/>\n'
        for number in (count, *range(1, count))
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<scenario name="peer">\n  <Global variables="calls"/>\n'
        '  <Reference variables="calls"/>\n'
        '  <recv request="INVITE" rrs="true"><action><add assign_to="calls" value="1"/></action></recv>\n'
        f'{jumps}{parts}  <label id="{count + 1}"/>\n  <nop/>\n</scenario>\n'
    )


def _speech(text: str) -> bytes:
    with wave.open(str(synthesize(text)), "rb") as sound:
        return sound.readframes(sound.getnframes())


def _beep() -> bytes:
    times = np.arange(RATE * 2 // 5) / RATE
    return (9000 * np.sin(2 * np.pi * BEEP_HZ * times)).astype("<i2").tobytes()


def _free_port() -> int:
    # Each telephone of a process takes the next one, and processes begin anywhere, so that they do not meet.
    for _ in _PORTS:
        port = _PORTS[next(_numbers) % len(_PORTS)]
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise TrialError(f"no free port from {_PORTS.start} to {_PORTS.stop - 1} for a telephone")


_numbers = itertools.count(random.randrange(len(_PORTS)))
