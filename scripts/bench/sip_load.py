"""SIP callers by the dozen: what sipp is told, and what it says of them. The sound of all goes by one port of sipp's.

with SipLoad(trial, directory, calls=100, per_second=10, hold_seconds=15) as load:
    load.wait_up()                 # all of them are talking
    outcome = load.wait()          # Outcome
"""

import csv
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ai_engine.audio.g711 import pcm_to_ulaw
from scripts.bench import marks, voices
from scripts.bench.callers import talk
from scripts.bench.launch import cores
from scripts.trial.instance import Trial
from scripts.trial.rootfs import TrialError

ANSWER_FRAMES = 150
_LATE_SECONDS = 30.0
"""How much longer than planned sipp may take before it is ended."""

_SCENARIO = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="talk">
  <send retrans="500">
    <![CDATA[
      INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From: <sip:bench-[call_number]@[local_ip]:[local_port]>;tag=[pid]t[call_number]
      To: <sip:[service]@[remote_ip]:[remote_port]>
      Call-ID: [call_id]
      CSeq: 1 INVITE
      Contact: <sip:bench@[local_ip]:[local_port]>
      Max-Forwards: 70
      Content-Type: application/sdp
      Content-Length: [len]

      v=0
      o=bench 1 1 IN IP[local_ip_type] [local_ip]
      s=-
      c=IN IP[media_ip_type] [media_ip]
      t=0 0
      m=audio [rtpstream_audio_port] RTP/AVP 0
      a=rtpmap:0 PCMU/8000
      a=ptime:20
    ]]>
  </send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="183" optional="true"/>
  <recv response="200" rtd="true"/>
  <send>
    <![CDATA[
      ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From: <sip:bench-[call_number]@[local_ip]:[local_port]>;tag=[pid]t[call_number]
      To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
      Call-ID: [call_id]
      CSeq: 1 ACK
      Max-Forwards: 70
      Content-Length: 0
    ]]>
  </send>
  <nop><action><exec rtp_stream="@SOUND@,-1,0"/></action></nop>
  <pause milliseconds="@HOLD@"/>
  <send retrans="500">
    <![CDATA[
      BYE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From: <sip:bench-[call_number]@[local_ip]:[local_port]>;tag=[pid]t[call_number]
      To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
      Call-ID: [call_id]
      CSeq: 2 BYE
      Max-Forwards: 70
      Content-Length: 0
    ]]>
  </send>
  <recv response="200"/>
</scenario>
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What sipp says at its end."""

    begun: int
    well: int
    failed: int
    """Not answered, or not ended as they should."""
    setup_ms: float
    """From INVITE to 200, on average."""


class SipLoad:
    """One run of sipp; its files lie in ``directory``."""

    def __init__(self, trial: Trial, directory: Path, calls: int, per_second: float, hold_seconds: float) -> None:
        self._trial = trial
        self._directory = directory
        self._calls = calls
        self._per_second = per_second
        self._hold_seconds = hold_seconds
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> Self:
        if shutil.which("sipp") is None:
            raise TrialError("sipp is missing: run scripts/setup (or apt-get install sip-tester)")
        self._directory.mkdir(parents=True, exist_ok=True)
        sound = write_sound(self._directory / "caller.ulaw")
        scenario = _SCENARIO.replace("@SOUND@", str(sound)).replace("@HOLD@", str(round(self._hold_seconds * 1000)))
        (self._directory / "talk.xml").write_text(scenario)
        with (self._directory / "sipp.log").open("wb") as log:
            self._process = subprocess.Popen(
                self._command(), cwd=self._directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def wait_up(self) -> None:
        """Return when the last call has begun to talk, if all went well."""
        time.sleep(self._calls / self._per_second + 1.0)

    def wait(self) -> Outcome:
        """Return when all calls are over. Raises TrialError when sipp could not even begin."""
        planned = self._calls / self._per_second + self._hold_seconds
        try:
            self._process.wait(planned + _LATE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return self._read()

    def _command(self) -> Sequence[str]:
        trial = self._trial
        return [
            "taskset", "-c", str(cores()[1]),
            "sipp", f"{trial.bind}:{trial.sip_port}", "-sf", "talk.xml", "-s", "100",
            "-i", trial.bind, "-mi", trial.bind,
            "-m", str(self._calls), "-l", str(self._calls), "-r", f"{self._per_second:g}",
            "-nostdin", "-trace_stat", "-stf", "stat.csv", "-fd", "1", "-trace_err", "-error_file", "errors.log",
        ]  # fmt: skip

    def _read(self) -> Outcome:
        try:
            with (self._directory / "stat.csv").open(newline="") as file:
                last = list(csv.DictReader(file, delimiter=";"))[-1]
        except (OSError, IndexError) as error:
            said = (self._directory / "sipp.log").read_text(errors="replace").splitlines()[-10:]
            raise TrialError("sipp did not begin:\n" + "\n".join(said)) from error
        begun, well = int(last["TotalCallCreated"]), int(last["SuccessfulCall(C)"])
        hours, minutes, seconds, *rest = last["ResponseTime1(C)"].split(":")
        setup = (int(hours) * 60 + int(minutes)) * 60 + int(seconds) + int(rest[0]) / 1e6
        return Outcome(begun, well, begun - well, round(setup * 1000, 1))


def write_sound(target: Path) -> Path:
    """What every caller says, over and over, as raw µ-law: speech, a question in a mark, and the time to listen."""
    speech = voices.speech()[0]
    part = talk(speech, voices.hiss(), ANSWER_FRAMES, 0.0)
    frames = [message[3:] for message in part.messages]
    frames[part.ask_at] = marks.ask(marks.Ask(1, ANSWER_FRAMES, 0), frames[part.ask_at])
    target.write_bytes(pcm_to_ulaw(b"".join(frames)))
    return target
