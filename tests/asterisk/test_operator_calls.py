"""An operator beside a call, over the API of a whole engine: listens in, whispers, transfers, hangs up; and a room."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import httpx
import numpy as np
import pytest
from playwright.async_api import expect

from ai_engine.host.registry import Registry
from ai_engine.studio.client import StudioClient
from ai_engine.switchboard.models import LiveCall, RoomRequest, Transfer
from ai_engine.switchboard.ports import Refused
from scripts.trial.asterisk import Trial
from scripts.trial.measure import likeness
from scripts.trial.measure import tones as tones_in
from scripts.trial.programs import Programs
from tests.asterisk.callers import Caller, calling, channels, leftovers, pcm_of, until, words
from tests.end_to_end.test_browser import Wire, chromium
from tests.fakes.stream_caller import StreamCaller
from tests.fakes.tone_agent import Answer, Script, ToneAgent, sweep, tones

pytestmark = [pytest.mark.asterisk, pytest.mark.phone, pytest.mark.timeout(90)]

GREETING_HZ = (900, 1300)
ANSWER_HZ = (1900, 1100, 1600)
HUMAN_HZ = 1004
_PIECE = 2400
"""Samples: 0.3 s."""

CONFIG = """
default_agent: reception
agents: {{reception: {{greeting: Hello., intents: {{bye: {{phrases: [goodbye], answer: Goodbye.}}}}}}}}
studio: {{directory: {place}/studio, agents: {place}/agents}}
call_agent:
  enabled: true
  telephony: {{provider: mock}}
  server: {{port: 0}}
  store: {{path: {place}/calls.sqlite}}
"""

WAYS = [
    {"AUDIO_TRANSPORT": "audiosocket", "DOWNSTREAM_MODE": "stream"},
    {"AUDIO_TRANSPORT": "audiosocket", "DOWNSTREAM_MODE": "file"},
    {"AUDIO_TRANSPORT": "legacy", "DOWNSTREAM_MODE": "stream"},
]
every_way = pytest.mark.parametrize("way", WAYS, ids=lambda way: "-".join(way.values()))


@dataclass(slots=True)
class Scene:
    trial: Trial
    programs: Programs
    agent: ToneAgent
    engine: StudioClient
    caller: Caller
    other: Caller
    """A telephone of the PBX, at 2000."""

    async def call(self) -> LiveCall:
        """The caller's, who was greeted."""
        await self.caller.dial()
        await self.caller.agent.wait_voice()
        (call,) = await self.engine.calls()
        return call

    def last_record(self) -> list[dict[str, Any]]:
        return json.loads((self.programs.calls()[-1] / "transcript.json").read_text())  # type: ignore[no-any-return]

    async def over(self) -> None:
        assert await leftovers(self.trial, self.programs) == []
        assert "Traceback" not in self.programs.engine.log_text()


@asynccontextmanager
async def staged(trial: Trial, place: Path, script: Script, **settings: str) -> AsyncIterator[Scene]:
    config = place / "ai-agent.yaml"
    config.write_text(CONFIG.format(place=place))
    agent = ToneAgent(script)
    agent.takes_notes = True
    programs = Programs(trial, place / "programs", {"LOG_FORMAT": "json", **settings}, with_local=False, config=config)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(agent.listening(programs.local_port))
        await stack.enter_async_context(programs)
        registry = Registry(place / "studio")
        await until(registry.living)
        (entry,) = registry.living()
        engine = await stack.enter_async_context(StudioClient(entry.url, entry.token))
        caller = await stack.enter_async_context(calling(trial, place / "caller"))
        other = await stack.enter_async_context(calling(trial, place / "other"))
        folder = trial.etc / "extensions.d"
        folder.mkdir(exist_ok=True)
        (folder / "operator.conf").write_text(
            f"[offhook]\nexten => 2000,1,Dial(PJSIP/1000/{other.phone.sip_uri},30)\n same => n,Hangup()\n"
        )
        trial.cli("dialplan reload")
        yield Scene(trial, programs, agent, engine, caller, other)


def _holds(who: Caller, hz: tuple[int, ...], after: float = 0.0) -> bool:
    """Whether these tones came one after the other."""
    found = iter([round(tone.hz) for tone in tones_in(who.heard(after))])
    return all(any(abs(tone - one) < 20 for tone in found) for one in hz)


def _hears(who: Caller, said: Path, after: float) -> bool:
    """Whether they hear it, all but a piece at most: a busy machine slips by a frame now and then."""
    heard, wanted = who.heard(after - 0.2), pcm_of(said)
    pieces = [wanted[at : at + _PIECE] for at in range(0, wanted.size - _PIECE, _PIECE)]
    return sum(likeness(heard, piece) < 0.9 for piece in pieces) <= 1


@every_way
async def test_an_operator_listens_in_and_whispers(asterisk: Trial, tmp_path: Path, way: dict[str, str]) -> None:
    script = Script([tones(*GREETING_HZ)], [Answer([tones(*ANSWER_HZ)])])
    async with staged(asterisk, tmp_path, script, **way) as scene:
        call = await scene.call()
        await scene.caller.agent.wait_quiet(0.5)
        listener = await scene.engine.listen(call.call_id, "2000")
        await scene.other.phone.wait_for("CALL_INCOMING")
        await scene.other.phone.answer()
        await scene.other.phone.wait_for("CALL_ESTABLISHED")
        asked = words("what are your opening hours", 8000)
        began = await scene.caller.finish(asked)
        await until(lambda: _hears(scene.other, asked, began))
        await until(lambda: _holds(scene.other, ANSWER_HZ, began))
        await scene.engine.whisper(call.call_id, "They are a regular.")
        session = await scene.agent.session(0)
        await until(lambda: any(said["type"] == "note" for said in session.messages))
        (note,) = [said["text"] for said in session.messages if said["type"] == "note"]
        assert "They are a regular." in note
        await scene.engine.stop_listening(listener)
        await scene.other.phone.wait_for("CALL_CLOSED")
        await scene.caller.hang_up()
        await scene.programs.recorded()
        assert [line["speaker"] for line in scene.last_record()] == ["agent", "caller", "agent", "operator"]
        await scene.over()


@every_way
async def test_an_operator_transfers_in_the_middle_of_a_word(
    asterisk: Trial, tmp_path: Path, way: dict[str, str]
) -> None:
    async with staged(asterisk, tmp_path, Script(sweep(12)), **way) as scene:
        call = await scene.call()
        with pytest.raises(Refused, match="the dialplan has no extension 2001 in context offhook"):
            await scene.engine.transfer(call.call_id, Transfer(extension="2001"))
        asked = time.time()
        await scene.engine.transfer(call.call_id, Transfer(extension="2000"))
        await scene.other.phone.wait_for("CALL_INCOMING")
        assert time.time() - asked < 1.0
        await scene.other.phone.answer()
        await scene.other.phone.wait_for("CALL_ESTABLISHED")
        said = words("what are your opening hours", 8000)
        began = await scene.caller.finish(said)
        await until(lambda: _hears(scene.other, said, began))
        await until(lambda: scene.programs.health()["calls"].get("transferred") == 1)
        await scene.programs.recorded()
        assert scene.last_record()[-1]["text"] == "transferred the caller to offhook,2000"
        await scene.caller.hang_up()
        await scene.over()


async def test_an_operator_sends_the_caller_to_the_human_and_hangs_up_on_another(
    asterisk: Trial, tmp_path: Path
) -> None:
    async with staged(asterisk, tmp_path, Script(sweep(12)), DOWNSTREAM_MODE="file") as scene:
        call = await scene.call()
        await scene.engine.transfer(call.call_id, Transfer())
        await scene.caller.agent.wait_tone(HUMAN_HZ)
        await scene.caller.hang_up()
        await scene.other.dial()
        await scene.other.agent.wait_voice()
        (call,) = await scene.engine.calls()
        asked = time.time()
        await scene.engine.hang_up(call.call_id)
        closed = await scene.other.phone.wait_for("CALL_CLOSED")
        assert closed.at - asked < 1.0
        await until(lambda: scene.programs.health()["calls"].get("operator_hung_up") == 1)
        await scene.over()


@every_way
async def test_two_telephones_in_a_room_with_an_agent(asterisk: Trial, tmp_path: Path, way: dict[str, str]) -> None:
    script = Script([tones(*GREETING_HZ)], [Answer([tones(*ANSWER_HZ)])])
    async with staged(asterisk, tmp_path, script, **way) as scene:
        room = await scene.engine.start_room(RoomRequest(agent="reception"))
        assert (room.joined, list(await scene.engine.calls())) == (0, [])
        await scene.caller.dial(room.extension)
        await until(lambda: _holds(scene.caller, GREETING_HZ))
        await scene.other.dial("room-reception")
        await scene.caller.agent.wait_quiet(0.5)
        (room,) = await scene.engine.rooms()
        assert room.joined == 2
        (call,) = await scene.engine.calls()
        assert (call.direction, call.room, call.agent) == ("room", "reception", "reception")
        asked = words("what are your opening hours", 8000)
        began = await scene.caller.finish(asked)
        await until(lambda: _hears(scene.other, asked, began))
        for guest in (scene.caller, scene.other):
            await until(lambda guest=guest: _holds(guest, ANSWER_HZ, began))  # type: ignore[misc]
        await scene.engine.stop_room("reception")
        for guest in (scene.caller, scene.other):
            await guest.phone.wait_for("CALL_CLOSED")
        await until(lambda: channels(asterisk) == 0)
        assert [*await scene.engine.rooms(), *await scene.engine.calls()] == []
        await scene.over()


async def test_a_browser_joins_a_room_and_talks_with_the_agent_alone(asterisk: Trial, tmp_path: Path) -> None:
    script = Script([tones(*GREETING_HZ)], [Answer([tones(*ANSWER_HZ)])])
    async with staged(asterisk, tmp_path, script) as scene, httpx.AsyncClient(trust_env=False) as browser:
        room = await scene.engine.start_room(RoomRequest(agent="reception", channel="demo"))
        page = await browser.get(room.url)
        assert (page.status_code, "Room demo" in page.text) == (200, True)
        base, query = room.url.split("/room?")
        for name in re.findall(r'"(room/assets/[^"]+)"', page.text):
            assert (await browser.get(f"{base}/{name}")).status_code == 200
        assert (await browser.get(f"{base}/room?{query}x")).status_code == 404
        knock = dict(parse_qsl(query))
        assert (await browser.post(f"{base}/room/join", json={**knock, "token": "guessed"})).status_code == 404
        welcome = (await browser.post(f"{base}/room/join", json=knock)).json()
        stream = f"{base.replace('http', 'ws', 1)}/voice/stream"
        async with StreamCaller.calling(stream, welcome["callId"], welcome["token"]) as guest:
            await until(lambda: _holds_pcm(guest.heard, GREETING_HZ))
            (call,) = await scene.engine.calls()
            assert (call.direction, call.room, call.agent) == ("room", "demo", "reception")
            (room,) = await scene.engine.rooms()
            assert room.joined == 1
            await guest.say(pcm_of(words("what are your opening hours", 8000)).tobytes())
            await until(lambda: _holds_pcm(guest.heard, ANSWER_HZ))
            await scene.engine.stop_room("demo")
            async with asyncio.timeout(5):
                await guest.closed.wait()
        assert (await browser.get(room.url)).status_code == 404
        await scene.over()


async def test_the_page_of_a_room_in_a_real_browser(asterisk: Trial, tmp_path: Path) -> None:
    async with staged(asterisk, tmp_path, Script([tones(*GREETING_HZ)])) as scene, chromium(tmp_path) as page:
        room = await scene.engine.start_room(RoomRequest(agent="reception"))
        wire = Wire(page)
        await page.goto(room.url)
        await page.get_by_role("button", name="Join").click()
        await expect(page.get_by_role("status")).to_have_text("In conversation")
        await until(lambda: wire.changes > 2)  # sound, and the marks of what was played
        await page.screenshot(path=tmp_path / "room.png")
        session = await scene.agent.session(0)
        await page.get_by_role("button", name="5", exact=True).click()
        await until(lambda: session.digits == ["5"])
        await page.get_by_role("button", name="Leave").click()
        await expect(page.get_by_role("status")).to_have_text("You have left: you hung up.")
        await until(lambda: session.closed)
        await page.get_by_role("button", name="Join").click()
        await expect(page.get_by_role("status")).to_have_text("In conversation")
        await scene.engine.stop_room("reception")
        await expect(page.get_by_role("status")).to_contain_text("the other side closed the line")
        await scene.over()


def _holds_pcm(heard: bytearray, hz: tuple[int, ...]) -> bool:
    found = iter([round(tone.hz) for tone in tones_in(np.frombuffer(bytes(heard), "<i2"))])
    return all(any(abs(tone - one) < 20 for tone in found) for one in hz)


async def test_the_last_to_leave_ends_the_session_and_an_engine_that_dies_leaves_nobody(
    asterisk: Trial, tmp_path: Path
) -> None:
    script = Script([tones(*GREETING_HZ)])
    async with staged(asterisk, tmp_path, script) as scene:
        await scene.engine.start_room(RoomRequest(agent="reception", channel="demo"))
        await scene.caller.dial("700")
        await until(lambda: _holds(scene.caller, GREETING_HZ))
        await scene.caller.hang_up()
        await until(lambda: scene.programs.health()["calls"].get("caller_hung_up") == 1)
        (room,) = await scene.engine.rooms()
        assert (room.name, room.joined) == ("demo", 0)
        await scene.other.dial("room-demo")
        await until(lambda: _holds(scene.other, GREETING_HZ))
        scene.programs.engine.kill()
        await scene.programs.start_engine()
        await scene.other.phone.wait_for("CALL_CLOSED")
        await until(lambda: channels(asterisk) == 0 and asterisk.ari("GET", "/bridges") == [])
