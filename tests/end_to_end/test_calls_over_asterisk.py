"""Calls that are asked for, over a real Asterisk and real SIP telephones, with the real engine as a process."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from scripts.trial.asterisk import Trial
from scripts.trial.sip_peer import SipPeer
from scripts.trial.speech import synthesize
from scripts.trial.wire import RtpCapture
from tests.conftest import MakePhone
from tests.end_to_end.call_agent_world import check_booked, open_for_calls, world
from tests.end_to_end.test_five_steps import LINES, PAUSE_SECONDS
from tests.fakes.hook_server import HookServer

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(180)]


def over(peer: SipPeer, **sections: Any) -> dict[str, Any]:
    """The section of calls to ``peer``."""
    asterisk = {"trunks": {"main": {"dial": peer.dial_string}}, **sections.pop("asterisk", {})}
    return {"telephony": {"provider": "asterisk"}, "asterisk": asterisk, **sections}


async def test_busy_then_nobody_then_declined_then_answered(asterisk: Trial, tmp_path: Path) -> None:
    """Each is told apart, and each is dialled again."""
    hook = HookServer()
    section = {
        "retry": {"initial_delay_ms": 100, "max_attempts": 4},
        "manners": {"windows": [], "ring_seconds": 1.5, "max_seconds": 3},
    }
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(SipPeer("busy", "ring", "reject", "answer", directory=tmp_path / "peer"))
        there = await stack.enter_async_context(world(asterisk, tmp_path, over(peer, **section), hook=hook))
        call_id = await there.call()
        record = await there.settled(call_id)
        told = [kind for kind in await there.kinds(call_id) if kind in ("busy", "no answer", "answered", "ended")]
        assert told == ["busy", "no answer", "busy", "answered", "ended"]
        assert (record["status"], record["outcome"], record["attempt"]) == ("completed", "not_scheduled", 4)
        assert len(peer.invites) == 4
        assert hook.told == [], "nobody asked to be told of failures"


async def test_a_number_that_does_not_exist_is_not_dialled_again(asterisk: Trial, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(SipPeer("not_found", directory=tmp_path / "peer"))
        there = await stack.enter_async_context(world(asterisk, tmp_path, over(peer)))
        record = await there.settled(await there.call())
        assert (record["status"], record["attempt"]) == ("failed", 1)
        assert "404" in record["lastError"]


async def test_canceled_while_it_rings(asterisk: Trial, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(SipPeer("ring", directory=tmp_path / "peer"))
        there = await stack.enter_async_context(world(asterisk, tmp_path, over(peer)))
        call_id = await there.call()
        await there.until_told(call_id, "ringing")
        answer = await there.api.post(f"/calls/{call_id}/cancel")
        assert answer.json()["status"] == "canceled"
        await there.settled(call_id)
        assert "offhook-out" not in asterisk.cli("core show channels concise")


async def test_an_answering_machine_is_left_a_message(asterisk: Trial, tmp_path: Path) -> None:
    manners = {"windows": [], "voicemail": {"action": "leave_message", "message": "Please call {user} back."}}
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(SipPeer("voicemail", directory=tmp_path / "peer"))
        section = over(peer, manners=manners, asterisk={"answering_machine": True})
        there = await stack.enter_async_context(world(asterisk, tmp_path, section))
        record = await there.settled(await there.call())
        assert (record["status"], record["outcome"], record["answeredBy"]) == ("completed", "message_left", "machine")
        folder = await there.programs.recorded()
        assert '"Please call Ana back."' in (folder / "transcript.json").read_text()


async def test_an_answering_machine_is_hung_up_on_and_called_again(asterisk: Trial, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(SipPeer("voicemail", "busy", directory=tmp_path / "peer"))
        section = over(peer, asterisk={"answering_machine": True}, retry={"initial_delay_ms": 10, "max_attempts": 2})
        there = await stack.enter_async_context(world(asterisk, tmp_path, section))
        call_id = await there.call()
        record = await there.settled(call_id)
        assert record["status"] == "busy"
        kinds = await there.kinds(call_id)
        assert "answered by machine" in kinds
        assert "no answer" in kinds
        assert there.programs.calls() == [], "the agent talked to a machine"


@pytest.mark.parametrize("killed", ["while it rings", "in mid-conversation"])
async def test_the_engine_is_killed(asterisk: Trial, tmp_path: Path, make_phone: MakePhone, killed: str) -> None:
    """The next one carries on with the same call on the same line; the telephone rings once."""
    phone = await make_phone(asterisk)
    trunk: Mapping[str, Any] = {"dial": f"PJSIP/trunk/{phone.sip_uri};number={{number}}"}
    section = {"telephony": {"provider": "asterisk"}, "asterisk": {"trunks": {"main": trunk}}}
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(world(asterisk, tmp_path, section))
        rtp = await stack.enter_async_context(RtpCapture(asterisk.rtp_ports, tmp_path / "call.pcap"))
        agent = rtp.to(phone.rtp_ports)
        call_id = await there.call()
        await phone.wait_for("CALL_INCOMING")
        if killed == "in mid-conversation":
            await phone.answer()
            await agent.wait_voice(timeout=15)
        there.programs.engine.kill()
        await there.programs.start_engine()
        await open_for_calls(there.api)
        if killed == "while it rings":
            await phone.answer()
        await phone.wait_for("CALL_ESTABLISHED")
        for line in LINES:
            await agent.wait_quiet(PAUSE_SECONDS, timeout=25, after=rtp.packets[-1].at if rtp.packets else 0.0)
            await asyncio.sleep(await phone.say(await asyncio.to_thread(synthesize, line, "rms")))
        await phone.wait_for("CALL_CLOSED", 20)
        record = await there.settled(call_id)
        check_booked(record)
        assert record["attempt"] == 1
        assert [event.type for event in phone.events].count("CALL_INCOMING") == 1
        assert len(there.appointments()) == 1
