"""The five steps of a call that is asked for, over each telephone network, with the real engine as a process:
asked for → dialled → talked → booked → told."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from ai_engine.audio.g711 import pcm_to_ulaw
from scripts.trial.asterisk import Trial
from scripts.trial.speech import synthesize
from scripts.trial.wire import RtpCapture
from tests.conftest import MakePhone
from tests.end_to_end.call_agent_world import NUMBER, World, check_booked, world
from tests.fakes.stream_caller import StreamCaller, read_wav
from tests.fakes.twilio_fake import ACCOUNT, FROM, TOKEN, Script, TwilioServer

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(180)]

LINES = ("yes how can i help you", "yes tuesday at ten is fine", "goodbye")
PAUSE_SECONDS = 0.8


async def converse(
    heard: Callable[[], int], say: Callable[[Path], Awaitable[object]], over: asyncio.Event, seconds: float = 20.0
) -> None:
    """Say each line when the agent has finished, which takes it at most ``seconds``; ``heard`` counts what came from
    it."""
    before = 0
    for line in LINES:
        async with asyncio.timeout(seconds):
            while heard() <= before:  # noqa: ASYNC110 - a counter of somebody else's
                await asyncio.sleep(0.05)
            latest, since = heard(), time.monotonic()
            while time.monotonic() - since < PAUSE_SECONDS:
                await asyncio.sleep(0.05)
                if heard() != latest:
                    latest, since = heard(), time.monotonic()
        before = heard()
        await say(await asyncio.to_thread(synthesize, line, "rms"))
    async with asyncio.timeout(20):
        await over.wait()


async def check_all(there: World, call_id: str, dials: int = 1) -> None:
    """What each network must have led to, after so many ``dials``."""
    check_booked(await there.settled(call_id))
    await there.until(call_id, lambda _: bool(there.hook.told))
    [(path, authorization, body)] = there.hook.told
    assert (path, authorization) == ("/hooks/agent", "Bearer hook-token")
    assert body.keys() == {"message", "name", "sessionKey", "wakeMode", "deliver"}
    assert (body["name"], body["sessionKey"], body["wakeMode"], body["deliver"]) == ("CallAgent", "main", "now", True)
    assert len(there.appointments()) == 1
    kinds = await there.kinds(call_id)
    assert [kind for kind in kinds if kind in ("dialing", "answered", "confirmed", "booked", "ended")] == [
        *["dialing"] * dials,
        *("answered", "confirmed", "booked", "ended"),
    ]
    async with (
        httpx2.AsyncClient(headers={"Authorization": "Bearer secret-of-callers"}) as http,
        Client(streamable_http_client(f"{there.url}/mcp", http_client=http)) as client,
    ):
        status = await client.call_tool("call_agent_status", {"callId": call_id})
    assert status.structured_content is not None
    assert status.structured_content["outcome"] == "scheduled"


async def test_asterisk(asterisk: Trial, tmp_path: Path, make_phone: MakePhone) -> None:
    """A real SIP phone rings and is answered by somebody who agrees."""
    phone = await make_phone(asterisk)
    trunk = {"dial": f"PJSIP/trunk/{phone.sip_uri}?x={{number}}".replace("?x=", ";number="), "caller_id": "5551000"}
    section = {"telephony": {"provider": "asterisk"}, "asterisk": {"trunks": {"main": trunk}}}
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(world(asterisk, tmp_path, section))
        rtp = await stack.enter_async_context(RtpCapture(asterisk.rtp_ports, tmp_path / "call.pcap"))
        call_id = await there.call()
        await phone.wait_for("CALL_INCOMING")
        assert (await there.until(call_id, lambda record: record["attempt"] == 1))["status"] == "dialing"
        await phone.answer()
        await phone.wait_for("CALL_ESTABLISHED")
        agent = rtp.to(phone.rtp_ports)
        for line in LINES:
            await agent.wait_quiet(PAUSE_SECONDS, timeout=20, after=time.time() - 0.02)
            await asyncio.sleep(await phone.say(await asyncio.to_thread(synthesize, line, "rms")))
        await phone.wait_for("CALL_CLOSED", 20)
        await check_all(there, call_id)


async def test_twilio(asterisk: Trial, tmp_path: Path) -> None:
    """A fake of Twilio that the official library drives, and whose signatures are the official library's."""
    public = "https://calls.example"
    twilio = TwilioServer(scripts=[Script()])
    async with twilio.listening(), AsyncExitStack() as stack:
        section = {
            "telephony": {"provider": "twilio"},
            "twilio": {"account_sid": ACCOUNT, "from_number": FROM, "api_base_url": twilio.url},
        }
        settings = {"TWILIO_AUTH_TOKEN": TOKEN, "CALL_AGENT_PUBLIC_URL": public}
        there = await stack.enter_async_context(world(asterisk, tmp_path, section, settings))
        twilio.reach = {public: there.url}
        call_id = await there.call()
        call = await twilio.next_call()
        assert call.field("To") == NUMBER
        await asyncio.wait_for(call.streaming.wait(), 10)

        async def say(wav: Path) -> None:

            sound = pcm_to_ulaw(read_wav(wav))
            call.say(sound)
            await asyncio.sleep(len(sound) / 8000)

        await converse(lambda: len(call.heard), say, call.over)
        await check_all(there, call_id)
        assert twilio.violations == []
        assert all(hook.status == 200 for hook in twilio.webhooks)


async def test_mock(asterisk: Trial, tmp_path: Path) -> None:
    """A scripted telephone in place of the browser; the page itself has tests in a real one."""
    async with world(asterisk, tmp_path, {"telephony": {"provider": "mock"}}) as there:
        call_id = await there.call()
        record = await there.until(call_id, lambda record: "userHint" in record)
        assert record["userHint"] == f"open {there.url}/mock?callId={call_id} to start"
        async with StreamCaller.answering(there.url, call_id) as caller:

            async def say(wav: Path) -> None:
                await caller.say(read_wav(wav))

            await converse(lambda: caller.voiced_bytes, say, caller.closed)
        await check_all(there, call_id)
