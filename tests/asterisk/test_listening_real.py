"""Somebody listens in on a call: two phones, a real Asterisk, and tones that tell who is heard."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from ai_engine.app.listening import Listening
from ai_engine.ari.stasis import AriApp
from ai_engine.session.ports import Topology
from ai_engine.switchboard.ports import Refused
from scripts.trial.asterisk import Trial
from scripts.trial.measure import audio, tone_level
from scripts.trial.wire import RtpCapture
from tests.asterisk.test_ari_real import (
    CALLER_HZ,
    ENGINE_HZ,
    Conversation,
    MakePhone,
    Pbx,
    attach,
    channel_names,
    pbx_of,
)
from tests.waiting import until

pytestmark = [pytest.mark.asterisk, pytest.mark.phone, pytest.mark.timeout(60)]

EXTENSION = "3000"


@dataclass(slots=True)
class Scene:
    """A caller who says a tone and is told another one, and a telephone of the PBX beside them."""

    app: AriApp
    talk: Conversation
    listening: Listening
    other: Conversation
    """The listener's telephone; it has no call of ours."""

    @property
    def caller(self) -> str:
        return self.talk.control.channel_id

    async def listen(self) -> str:
        ringing = asyncio.create_task(self.listening.listen(self.caller, EXTENSION, "offhook"))
        await self.other.phone.wait_for("CALL_INCOMING")
        listener = await ringing
        await self.other.phone.answer()
        await self.other.phone.wait_for("CALL_ESTABLISHED")
        return listener

    async def hears(self, *hz: int, seconds: float = 5.0) -> None:
        """Until the listener hears all of these at once; raises TimeoutError."""
        await until(lambda: all(level > 0.15 for level in self.levels(*hz)), seconds)

    def levels(self, *hz: int) -> list[float]:
        """How much of the last half second to the listener is at each of these."""
        now = time.time()
        pcm = audio(packet for packet in self.other.heard.packets if packet.at > now - 0.5)
        return [tone_level(pcm, one) if pcm.size > 1600 else 0.0 for one in hz]


@pytest.fixture
async def pbx(asterisk: Trial) -> AsyncIterator[Pbx]:
    async with pbx_of(asterisk) as opened:
        yield opened
        await opened.callers_hang_up()
        await opened.nothing_is_left()


@asynccontextmanager
async def staged(pbx: Pbx, make_phone: MakePhone, rtp: RtpCapture, files: Path) -> AsyncIterator[Scene]:
    async with pbx.engine() as app:
        other = await make_phone(pbx.trial)
        folder = pbx.trial.etc / "extensions.d"
        folder.mkdir(exist_ok=True)
        (folder / "listener.conf").write_text(
            f"[offhook]\nexten => {EXTENSION},1,Dial(PJSIP/1000/{other.sip_uri},30)\n same => n,Hangup()\n"
        )
        await asyncio.to_thread(pbx.trial.cli, "dialplan reload")
        phone = await make_phone(pbx.trial)
        await phone.dial("100")
        control = await pbx.call()
        await control.answer()
        await phone.wait_for("CALL_ESTABLISHED")
        talk = Conversation(pbx, phone, control, rtp, files)
        following = asyncio.create_task(talk.listen())
        listening = Listening(app)
        pbx.media.hz = ENGINE_HZ
        await talk.say_tone()
        yield Scene(app, talk, listening, Conversation(pbx, other, control, rtp, files / "other"))
        await listening.close()
        following.cancel()


@pytest.mark.parametrize("topology", list(Topology))
async def test_both_sides_are_heard_and_the_listener_is_not(
    pbx: Pbx,
    make_phone: MakePhone,
    rtp: RtpCapture,
    tmp_path: Path,
    topology: Topology,
) -> None:
    async with staged(pbx, make_phone, rtp, tmp_path) as scene:
        control, media = scene.talk.control, pbx.media
        leg = media.leg()
        await attach(control, leg, topology)
        if topology is Topology.LISTENING:
            await control.play("file", scene.talk.sound(30, ENGINE_HZ))
        await scene.talk.heard.wait_tone(ENGINE_HZ)
        await scene.listen()
        await scene.hears(CALLER_HZ, ENGINE_HZ)
        (tmp_path / "other").mkdir()
        media.forget()
        began = time.time()
        await scene.other.say_tone()  # the listener's, at the caller's pitch: it would be heard by the caller
        await until(lambda: time.time() > began + 1)
        assert scene.talk.heard_since(began + 0.1, ENGINE_HZ) > 40, "the caller hears more than the agent"
        assert not media.hears(leg.uuid, ENGINE_HZ)
        assert np.isclose(sum(scene.levels(CALLER_HZ, ENGINE_HZ)), 1.0, atol=0.1)
        await scene.talk.hang_up()
        await scene.other.phone.wait_for("CALL_CLOSED")
        await until(lambda: not scene.listening.listeners)
        assert pbx.calls.empty()
        await until(lambda: len(scene.app._subscriptions) == 0)
        assert not scene.app._subscriptions.bridges


async def test_a_listener_who_hangs_up_and_one_who_is_stopped(
    pbx: Pbx,
    make_phone: MakePhone,
    rtp: RtpCapture,
    tmp_path: Path,
) -> None:
    async with staged(pbx, make_phone, rtp, tmp_path) as scene:
        await attach(scene.talk.control, pbx.media.leg())
        await scene.listen()
        await scene.hears(CALLER_HZ, ENGINE_HZ)
        await scene.other.phone.hang_up()
        await until(lambda: not scene.listening.listeners)
        ringing = asyncio.create_task(scene.listening.listen(scene.caller, EXTENSION, "offhook"))
        await scene.other.phone.wait_for("CALL_INCOMING", nth=2)
        listener = await ringing
        assert scene.listening.listeners[listener].extension == f"{EXTENSION}@offhook"
        await scene.listening.stop(listener)
        await scene.other.phone.wait_for("CALL_CLOSED", nth=2)
        with pytest.raises(Refused) as refused:
            await scene.listening.stop(listener)
        assert refused.value.kind == "not-found"
        assert not scene.listening.listeners
        await scene.talk.hang_up()


async def test_the_ringing_ends_with_the_call(pbx: Pbx, make_phone: MakePhone, rtp: RtpCapture, tmp_path: Path) -> None:
    async with staged(pbx, make_phone, rtp, tmp_path) as scene:
        await attach(scene.talk.control, pbx.media.leg())
        ringing = asyncio.create_task(scene.listening.listen(scene.caller, EXTENSION, "offhook"))
        await scene.other.phone.wait_for("CALL_INCOMING")
        await ringing
        await scene.talk.hang_up()
        await scene.other.phone.wait_for("CALL_CLOSED", 3)
        await until(lambda: not scene.listening.listeners)


async def test_two_listen_in_and_neither_hears_the_other(
    pbx: Pbx, make_phone: MakePhone, rtp: RtpCapture, tmp_path: Path
) -> None:
    async with staged(pbx, make_phone, rtp, tmp_path) as scene:
        await attach(scene.talk.control, pbx.media.leg())
        await scene.listen()
        await scene.listening.listen(scene.caller, "600", "offhook")  # who says again all they hear
        await until(lambda: len(scene.listening.listeners) == 2)
        await scene.hears(CALLER_HZ, ENGINE_HZ)
        await asyncio.sleep(0.5)
        assert np.isclose(sum(scene.levels(CALLER_HZ, ENGINE_HZ)), 1.0, atol=0.1)
        assert 0.5 < scene.levels(CALLER_HZ)[0] / scene.levels(ENGINE_HZ)[0] < 2
        await scene.talk.hang_up()
        await scene.other.phone.wait_for("CALL_CLOSED")


async def test_the_listener_follows_the_sound_to_another_way(
    pbx: Pbx,
    make_phone: MakePhone,
    rtp: RtpCapture,
    tmp_path: Path,
) -> None:
    async with staged(pbx, make_phone, rtp, tmp_path) as scene:
        await attach(scene.talk.control, pbx.media.leg())
        await scene.listen()
        await scene.hears(CALLER_HZ, ENGINE_HZ)
        for topology in (Topology.WHISPERED, Topology.BRIDGED):
            pbx.media.drop()
            await until(lambda: scene.levels(ENGINE_HZ)[0] < 0.01)
            await attach(scene.talk.control, pbx.media.leg(), topology)
            await scene.hears(CALLER_HZ, ENGINE_HZ)
        await scene.talk.hang_up()
        await scene.other.phone.wait_for("CALL_CLOSED")


async def test_who_cannot_be_called_and_what_cannot_be_heard(pbx: Pbx) -> None:
    async with pbx.engine() as app:
        listening = Listening(app)
        caller, control = await pbx.talk()
        for extension in ("nobody-here", "3000@nowhere"):
            with pytest.raises(Refused, match="could not be called") as refused:
                await listening.listen(control.channel_id, extension, "offhook")
            assert refused.value.kind == "asterisk"
        with pytest.raises(Refused) as refused:
            await listening.listen("no-such-channel", "600", "offhook")
        assert refused.value.kind == "not-capable"
        listener = await listening.listen(control.channel_id, "600", "offhook")
        await control.transfer("offhook", "600")
        await until(lambda: listener not in listening.listeners)
        await control.close()
        with pytest.raises(Refused):
            await listening.listen(control.channel_id, "600", "offhook")
        await pbx.ask("DELETE", f"/channels/{caller}")
        await pbx.nothing_is_left()


async def test_the_listeners_of_a_dead_engine_are_swept(pbx: Pbx) -> None:
    async with pbx.engine() as app:
        caller, control = await pbx.talk()
        dead = Listening(app)
        await dead.listen(control.channel_id, "600", "offhook")
        await _spied_on(pbx)
    await dead.close()  # too late: Asterisk cannot be asked any more
    await _spied_on(pbx)
    async with pbx.engine():
        again = await pbx.call()
        await pbx.ask("DELETE", f"/channels/{caller}")
        await again.close()
        await pbx.nothing_is_left()


async def _spied_on(pbx: Pbx) -> None:
    async with asyncio.timeout(3):
        while not any(name.startswith("Snoop/") for name in await channel_names(pbx)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
