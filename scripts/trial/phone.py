"""A real SIP phone, baresip, that a test or the demo speaks through and listens with.

async with BaresipPhone(trial, directory) as phone:       # start() … close()
    await phone.dial(trial.sip_uri("100"))                # or phone.dial("100")
    await phone.wait_for("CALL_ESTABLISHED", timeout=5)   # PhoneEvent
    await phone.say(wav)                                  # from now on; returns the seconds it takes
    await phone.send_digit("5")
    await phone.hold(); await phone.resume()
    await phone.hang_up()
    await phone.wait_for("CALL_CLOSED", timeout=5)
said, heard = phone.recordings()                          # WAV at phone.rate: 8000 Hz, 16000 for codec="G722"
"""

import asyncio
import itertools
import json
import random
import re
import shutil
import socket
import subprocess
import time
import wave
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from scripts.trial.asterisk import Trial
from scripts.trial.rootfs import TrialError

CODECS = {"PCMU": ("g711", 8000), "G722": ("g722", 16000)}
"""What the phone may speak: the module of baresip that has it, and its samples per second."""

FIRST_BLOCK = 10000
BLOCK_PORTS = 10
"""A phone's ports: six for RTP, SIP and SIP over TLS, and its control port."""
BLOCKS = 1000

PAD_SECONDS = 60
"""Baresip ends the call with its sound file, so silence follows whatever is said, and more silence in time."""

PAD_MARGIN_SECONDS = 15

ANSWER_SECONDS = 10.0
"""How long baresip may take to start, to answer a command and to end."""

MODULES = Path("/usr/lib/baresip/modules")


@dataclass(frozen=True, slots=True)
class PhoneEvent:
    """One event of baresip, such as CALL_ESTABLISHED, CALL_CLOSED or CALL_RTCP."""

    at: float
    """Seconds since the epoch."""
    type: str
    param: str
    """For CALL_CLOSED, why."""


class Recordings(NamedTuple):
    """What the phone sent and what it heard, as WAV files."""

    said: Path
    heard: Path


class BaresipPhone:
    """One phone with an account on ``trial``; all its files lie in ``directory``. Use each for one call."""

    def __init__(self, trial: Trial, directory: Path, codec: str = "PCMU") -> None:
        """``codec`` is one of ``CODECS``, and the only one this phone offers."""
        self.trial = trial
        self.directory = directory
        self.codec = codec
        self._codec_module, self.rate = CODECS[codec]
        block = _free_block()
        self.rtp_ports = block[:6]
        """The phone's own RTP and RTCP ports, to tell its packets from other calls'."""
        self._sip_port, self._control_port = block[6], block[8]
        self.sip_uri = f"sip:{trial.phone_user}@127.0.0.1:{self._sip_port}"
        """Where it can be called."""
        self.events: list[PhoneEvent] = []
        """Everything that has happened, in order."""
        self._changed = asyncio.Condition()
        self._replies: asyncio.Queue[dict[str, object]] = asyncio.Queue()
        self._sounds = 0
        self._asking = asyncio.Lock()
        self._padding: asyncio.Task[None] | None = None
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start baresip and wait until it takes commands; raises TrialError with advice."""
        _check_machine()
        self._write_files()
        with (self.directory / "baresip.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                "baresip", "-4", "-f", str(self.directory), stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        reader, self._writer = await self._connect(self._control_port)
        self._reading = asyncio.create_task(self._read(reader))

    async def dial(self, target: str) -> None:
        """Call a SIP URI, or an extension of the trial Asterisk."""
        await self._command("dial", target if target.startswith("sip:") else self.trial.sip_uri(target))

    async def answer(self) -> None:
        """Take the call that is coming in (CALL_INCOMING); ``hang_up`` is busy."""
        await self._command("accept", "")

    async def say(self, wav: Path) -> float:
        """Speak a WAV (``rate``, mono, PCM16) from now on, silence after it; returns its seconds.

        What was being said is cut off. A call must be up.
        """
        self._sounds += 1
        padded = self.directory / f"say-{self._sounds}.wav"
        seconds = await asyncio.to_thread(_write_padded, padded, self.rate, wav)
        await self._command("ausrc", f"aufile,{padded}")
        self._pad_after(seconds)
        return seconds

    async def send_digit(self, digit: str) -> None:
        """Press a key for a moment (RFC 4733)."""
        await self._command("sndcode", digit)

    async def hold(self) -> None:
        """Put the other side on hold (a re-INVITE with ``sendonly``)."""
        await self._command("hold", "")

    async def resume(self) -> None:
        """Come back from ``hold``."""
        await self._command("resume", "")

    async def hang_up(self) -> None:
        """End the call from this side."""
        await self._command("hangup", "")

    async def wait_for(self, kind: str, timeout: float = ANSWER_SECONDS, *, nth: int = 1) -> PhoneEvent:
        """The ``nth`` event of a kind, past or to come; raises TimeoutError naming what happened instead."""

        def found() -> PhoneEvent | None:
            return next(islice((event for event in self.events if event.type == kind), nth - 1, None), None)

        async with self._changed:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait_for(lambda: found() is not None), timeout)
        if event := found():
            return event
        raise TimeoutError(f"no {kind} within {timeout} s; events: {[event.type for event in self.events]}")

    def recordings(self) -> Recordings:
        """The call's two WAV files; complete once the call is closed, raises TrialError if there was no call."""
        files = {kind: sorted(self.directory.glob(f"dump-*-{kind}.wav")) for kind in ("enc", "dec")}
        if not files["enc"] or not files["dec"]:
            raise TrialError(f"the phone recorded nothing in {self.directory}: there was no audio")
        return Recordings(files["enc"][0], files["dec"][0])

    async def close(self) -> None:
        """End the call, if any, and baresip; safe to repeat."""
        process, self._process = self._process, None
        if process is None:
            return
        if self._writer is not None and process.returncode is None:
            with suppress(ConnectionError, TimeoutError, TrialError):
                await self._command("quit", "")
        try:
            await asyncio.wait_for(process.wait(), ANSWER_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
        tasks = [task for task in (self._reading, self._padding) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()

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

    def _pad_after(self, seconds: float) -> None:
        if self._padding is not None:
            self._padding.cancel()
        self._padding = asyncio.create_task(self._keep_source_open(seconds))

    async def _keep_source_open(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds + PAD_SECONDS - PAD_MARGIN_SECONDS)
            await self._command("ausrc", f"aufile,{self.directory / 'silence.wav'}")
            seconds = 0

    def _write_files(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        silence = self.directory / "silence.wav"
        _write_padded(silence, self.rate, None)
        modules = "".join(f"module {name}.so\n" for name in (self._codec_module, "aufile", "sndfile", "ctrl_tcp"))
        modules += "".join(f"module_app {name}.so\n" for name in ("account", "menu"))
        (self.directory / "config").write_text(
            f"module_path {MODULES}\n{modules}"
            f"sip_listen 127.0.0.1:{self._sip_port}\n"
            f"ctrl_tcp_listen 127.0.0.1:{self._control_port}\n"
            f"rtp_ports {self.rtp_ports.start}-{self.rtp_ports.stop - 1}\n"
            f"audio_source aufile,{silence}\n"
            f"ausrc_srate {self.rate}\nauplay_srate {self.rate}\nausrc_channels 1\nauplay_channels 1\n"
            f"snd_path {self.directory}\n"
            "call_max_calls 1\nring_aufile none\n",
            encoding="utf-8",
        )
        account = f"<sip:{self.trial.phone_user}@{self.trial.bind}:{self.trial.sip_port};transport=udp>"
        options = f"auth_user={self.trial.phone_user};auth_pass={self.trial.phone_password}"
        (self.directory / "accounts").write_text(
            f"{account};{options};regint=0;audio_codecs={self.codec}/{self.rate}/1\n", encoding="utf-8"
        )
        (self.directory / "contacts").write_text("", encoding="utf-8")

    async def _connect(self, port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        deadline = time.monotonic() + ANSWER_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.returncode is not None:
                break
            try:
                return await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
        raise TrialError(f"baresip did not start; it says in {self.directory / 'baresip.log'}:\n{self._last_words()}")

    def _last_words(self) -> str:
        log = (self.directory / "baresip.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(log.splitlines()[-8:])

    async def _command(self, name: str, parameters: str) -> None:
        if self._writer is None:
            raise TrialError("the phone is not started")
        body = json.dumps({"command": name, "params": parameters, "token": name}).encode()
        async with self._asking:
            self._writer.write(f"{len(body)}:".encode() + body + b",")
            await self._writer.drain()
            reply = await asyncio.wait_for(self._replies.get(), ANSWER_SECONDS)
        if not reply.get("ok"):
            raise TrialError(f"baresip refused '{name} {parameters}': {reply.get('data')}")

    async def _read(self, reader: asyncio.StreamReader) -> None:
        # Netstrings: "<length>:<JSON>,".
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                length = int((await reader.readuntil(b":"))[:-1])
                message = json.loads((await reader.readexactly(length + 1))[:-1])
                if message.get("response"):
                    self._replies.put_nowait(message)
                    continue
                await self._note(PhoneEvent(time.time(), str(message["type"]), str(message.get("param", ""))))

    async def _note(self, event: PhoneEvent) -> None:
        if event.type == "CALL_ESTABLISHED":
            self._pad_after(0)
        elif event.type == "CALL_CLOSED" and self._padding is not None:
            self._padding.cancel()
        async with self._changed:
            self.events.append(event)
            self._changed.notify_all()


def _write_padded(target: Path, rate: int, source: Path | None) -> float:
    pcm = b""
    if source is not None:
        with wave.open(str(source), "rb") as sound:
            if (sound.getframerate(), sound.getnchannels(), sound.getsampwidth()) != (rate, 1, 2):
                raise TrialError(f"{source}: this phone speaks WAV of {rate} Hz, mono, 16 bit")
            pcm = sound.readframes(sound.getnframes())
    with wave.open(str(target), "wb") as padded:
        padded.setparams((1, 2, rate, 0, "NONE", "not compressed"))
        padded.writeframes(pcm + bytes(PAD_SECONDS * rate * 2))
    return len(pcm) / 2 / rate


def _check_machine() -> None:
    if shutil.which("baresip") is None:
        raise TrialError("baresip is missing: run scripts/setup (or apt-get install baresip-core)")
    trie = Path("/proc/net/fib_trie").read_text(encoding="ascii")
    if all(address.startswith("127.") for address in re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", trie)):
        raise TrialError(
            "baresip needs an address besides 127.0.0.1 on this machine, though it talks to 127.0.0.1 only; as root: "
            "ip link add offhook0 type dummy; ip address add 192.0.2.1/32 dev offhook0; ip link set offhook0 up"
        )


def _free_block() -> range:
    # Below Asterisk's blocks and the kernel's own choices; each phone of a process takes the next, and processes
    # begin anywhere, so that phones started at the same moment do not meet.
    for _ in range(BLOCKS):
        first = FIRST_BLOCK + BLOCK_PORTS * (next(_block_numbers) % BLOCKS)
        block = range(first, first + BLOCK_PORTS)
        if all(_is_free(port, kind) for port in block for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)):
            return block
    raise TrialError("no ten free ports in a row from 10000 to 19999 for a phone")


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("0.0.0.0", port))
        except OSError:
            return False
        return True


_block_numbers = itertools.count(random.randrange(BLOCKS))
