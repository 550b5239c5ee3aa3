"""Somebody we called calls back, over the real Asterisk: who answers, and what they know."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from scripts.trial.asterisk import Trial
from scripts.trial.phone import BaresipPhone
from scripts.trial.speech import synthesize
from scripts.trial.wire import RtpCapture, Stream
from tests.conftest import MakePhone
from tests.end_to_end.call_agent_world import END, START, ZONE, World, world
from tests.end_to_end.test_five_steps import LINES, PAUSE_SECONDS

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(180)]


@dataclass
class Missed:
    """A call that nobody has taken, and the telephone that now calls back."""

    there: World
    phone: BaresipPhone
    agent: Stream
    """What the telephone hears."""
    call_id: str

    async def call_back(self) -> None:
        await self.phone.dial("100")
        await self.phone.wait_for("CALL_ESTABLISHED")

    async def told(self) -> dict[str, Any]:
        """What the model that now talks with the phone was told."""
        # They hear it, so it has been told.
        await self.agent.wait_voice(timeout=15)
        return dict(self.there.model.sessions[-1].settings)


@asynccontextmanager
async def missed(
    trial: Trial, directory: Path, phone: BaresipPhone, callbacks: str, attempts: int = 1
) -> AsyncIterator[Missed]:
    """``attempts`` more than one: it is going to be dialled again, in ten minutes."""
    section = {
        "telephony": {"provider": "asterisk"},
        "asterisk": {"trunks": {"main": {"dial": f"PJSIP/trunk/{phone.sip_uri};number={{number}}"}}},
        "manners": {"windows": [], "ring_seconds": 1.5, "callbacks": callbacks},
        "retry": {"initial_delay_ms": 600_000, "max_attempts": attempts},
    }
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(world(trial, directory, section))
        rtp = await stack.enter_async_context(RtpCapture(trial.rtp_ports, directory / "call.pcap"))
        call_id = await there.call(to=trial.phone_user)
        await phone.wait_for("CALL_CLOSED")
        await there.until(call_id, lambda record: record["status"] == "no_answer")
        await there.until(call_id, lambda record: "completedAt" in record or "nextAttemptAt" in record)
        yield Missed(there, phone, rtp.to(phone.rtp_ports), call_id)


@pytest.mark.parametrize("attempts", [1, 2], ids=["settled", "to be dialled again"])
async def test_the_agent_who_called_knows_what_it_was_about(
    asterisk: Trial, tmp_path: Path, make_phone: MakePhone, attempts: int
) -> None:
    """And books for the call that was asked for: whoever asked is told, and nobody is called again."""
    phone = await make_phone(asterisk)
    async with missed(asterisk, tmp_path, phone, "resume", attempts) as call:
        await call.call_back()
        told = await call.told()
        assert "They call you back." in told["instructions"]
        assert "Goal of the call: A check-up" in told["instructions"]
        assert "You act for Ana." in told["instructions"]
        assert {"calendar_check_slot", "calendar_create_event"} <= {tool["name"] for tool in told["tools"]}
        for line in LINES:
            await call.agent.wait_quiet(PAUSE_SECONDS, timeout=20, after=time.time() - 0.02)
            await asyncio.sleep(await phone.say(await asyncio.to_thread(synthesize, line, "rms")))
        await phone.wait_for("CALL_CLOSED", 20, nth=2)
        record = await call.there.settled(call.call_id)
        event = record["scheduledEvent"]
        assert (event["start"][:19], event["end"][:19]) == (START.isoformat(), END.isoformat())
        assert (event["timezone"], event["summary"]) == (ZONE, "Check-up")
        assert (record["outcome"], record["attempt"]) == ("scheduled", 1)
        assert "nextAttemptAt" not in record
        await call.there.until(call.call_id, lambda _: bool(call.there.hook.told))
        [(_, _, body)] = call.there.hook.told
        assert body["message"].startswith("Appointment with Doctor Who on Tuesday")
        assert len(call.there.appointments()) == 1
        assert [event.type for event in phone.events].count("CALL_INCOMING") == 1


async def test_everybody_is_treated_alike(asterisk: Trial, tmp_path: Path, make_phone: MakePhone) -> None:
    """The usual agent, who knows nothing of the call."""
    phone = await make_phone(asterisk)
    async with missed(asterisk, tmp_path, phone, "ordinary") as call:
        await call.call_back()
        told = await call.told()
        assert told["instructions"].startswith("You are the receptionist.")
        assert "heck-up" not in told["instructions"]
        assert "Ana" not in told["instructions"]
        assert {tool["name"] for tool in told["tools"]} == {"hangup"}
        await phone.hang_up()


async def test_who_is_not_wanted_goes_to_the_human(asterisk: Trial, tmp_path: Path, make_phone: MakePhone) -> None:
    phone = await make_phone(asterisk)
    async with missed(asterisk, tmp_path, phone, "reject") as call:
        talks = len(call.there.model.sessions)
        await call.call_back()
        await call.agent.wait_tone(timeout=15)
        assert len(call.there.model.sessions) == talks, "an agent was asked"
        await phone.hang_up()
