"""A caller with a script: says each line when the agent has finished, or into the agent's words."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scripts.trial.asterisk import Trial
from scripts.trial.measure import RtpPacket
from scripts.trial.phone import BaresipPhone
from scripts.trial.wire import RtpCapture, Stream

EXTENSION = "100"
"""The agent, in the trial's dialplan."""

HANGUP_SECONDS = 20.0
"""How long the agent may take from the beginning of its last words to hanging up."""

AGENT_SECONDS = 12.0
"""How long the agent may take to begin to speak."""

REPLY_SECONDS = 45.0
"""The longest reply waited for."""

PAUSE_SECONDS = 0.7
"""The agent has finished when it has been quiet for so long; clauses follow each other faster."""


@dataclass(frozen=True, slots=True)
class Line:
    """Something the caller says."""

    text: str
    wav: Path
    interrupt_after: float | None = None
    """Seconds into the agent's reply to the line before; None: wait until the agent has finished."""


@dataclass(frozen=True, slots=True)
class Overheard:
    """What a call left with those who listened."""

    agent: list[RtpPacket]
    """From Asterisk to the phone."""
    caller: list[RtpPacket]
    """From the phone to Asterisk."""
    heard: Path
    """The phone's own recording."""


async def place(trial: Trial, folder: Path, lines: Sequence[Line], extension: str = EXTENSION) -> Overheard:
    """Call the agent of ``extension``, say ``lines``, and wait until it hangs up; after a while hang up ourselves.

    Raises TimeoutError when the agent keeps silent.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    async with (
        RtpCapture(trial.rtp_ports, folder / "call.pcap") as wire,
        BaresipPhone(trial, folder / "phone") as phone,
    ):
        await phone.dial(extension)
        await phone.wait_for("CALL_ESTABLISHED")
        await hold(phone, wire, lines)
        try:
            await phone.wait_for("CALL_CLOSED", HANGUP_SECONDS)
        except TimeoutError:
            await phone.hang_up()
            await phone.wait_for("CALL_CLOSED")
        heard = phone.recordings().heard
    return Overheard(wire.to(phone.rtp_ports).packets, wire.sent_from(phone.rtp_ports).packets, heard)


async def hold(phone: BaresipPhone, wire: RtpCapture, lines: Sequence[Line]) -> None:
    """Talk until the agent hangs up; the call is up already and the agent speaks first.

    Raises TimeoutError when the agent keeps silent.
    """
    agent = wire.to(phone.rtp_ports)
    begun = await agent.wait_voice(timeout=AGENT_SECONDS)
    for line in lines:
        await _my_turn(agent, line, begun)
        said_at = time.time()
        seconds = await phone.say(line.wav)
        await asyncio.sleep(seconds)
        # An interrupted agent is still audible for a moment after our first syllables, not after our last one.
        begun = await agent.wait_voice(after=said_at + seconds, timeout=AGENT_SECONDS)


async def _my_turn(agent: Stream, line: Line, begun: float) -> None:
    if line.interrupt_after is None:
        await agent.wait_quiet(PAUSE_SECONDS, after=begun - 0.02, timeout=REPLY_SECONDS)
    else:
        await asyncio.sleep(max(0.0, begun + line.interrupt_after - time.time()))
