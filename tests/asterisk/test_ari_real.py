"""The ARI room against a real Asterisk, with callers made of Local channels."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path
from uuid import UUID, uuid4

import aiohttp
import pytest

from ai_engine.ari.call_control import BRIDGE_PREFIX, MEDIA_PREFIX, AriCallControl
from ai_engine.ari.client import Ari
from ai_engine.ari.stasis import ApplicationTaken, AriApp
from ai_engine.ari.transport import AriSettings
from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.call.events import CallerHungUp, CallEvent, DigitReceived, MediaLost, TakenBack
from ai_engine.errors import AsteriskError, CallGone
from scripts.trial import asterisk as trials
from scripts.trial.asterisk import TEMPLATES, Trial
from tests.waiting import until

pytestmark = pytest.mark.asterisk

_numbers = count(1)


class MediaServer:
    """AudioSocket that says nothing but silence, which it says all the time, and takes what comes."""

    def __init__(self) -> None:
        self.received: dict[UUID, int] = {}
        """Bytes by the UUID of the connection."""
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.address = ""

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        self.drop()
        await self._server.wait_closed()

    def drop(self) -> None:
        """End every connection."""
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        silence = asyncio.create_task(self._be_silent(writer))
        try:
            uuid = UUID(bytes=(await reader.readexactly(19))[3:])
            while data := await reader.read(4096):
                self.received[uuid] = self.received.get(uuid, 0) + len(data)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            silence.cancel()
            self._writers.discard(writer)
            writer.close()

    async def _be_silent(self, writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"\x10\x01\x40" + bytes(320))
            await asyncio.sleep(0.02)


class Pbx:
    """An Asterisk with an engine in it, and callers."""

    def __init__(self, trial: Trial, media: MediaServer) -> None:
        self.trial = trial
        self.media = media
        self.settings = AriSettings(trial.ari_url, trial.username, trial.password)
        self.callers = AriApp(
            AriSettings(trial.ari_url, trial.username, trial.password, app="test-caller"), lambda _: None
        )
        """The application in which the far ends of our calls are."""
        self.calls: asyncio.Queue[AriCallControl] = asyncio.Queue()
        self.dialled: list[str] = []

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[AriApp]:
        app = AriApp(self.settings, self.calls.put_nowait)
        running = asyncio.create_task(app.run())
        try:
            await until(lambda: app.connected)
            yield app
        finally:
            await app.close()
            await running

    async def call(self) -> AriCallControl:
        async with asyncio.timeout(5):
            return await self.calls.get()

    async def dial(self) -> str:
        """A caller dials 100; returns the id of their end, which is in an application of its own."""
        caller = f"caller-{next(_numbers)}"
        self.dialled.append(caller)
        await self.ask(
            "POST",
            "/channels",
            {"endpoint": "Local/100@offhook/n", "app": "test-caller", "channelId": caller, "callerId": "1000"},
        )
        return caller

    async def talk(self, format: AudioFormat = SLIN8) -> tuple[str, AriCallControl]:
        """A caller, answered and joined with their media."""
        caller = await self.dial()
        control = await self.call()
        await control.answer()
        await control.attach_media(uuid4(), self.media.address, format)
        return caller, control

    async def ask(self, method: str, path: str, query: dict[str, str] | None = None) -> int:
        async with aiohttp.request(
            method,
            self.trial.ari_url + path,
            params=query,
            headers={"Authorization": aiohttp.encode_basic_auth(self.trial.username, self.trial.password)},
        ) as answer:
            return answer.status

    async def callers_hang_up(self) -> None:
        """Those a failed test left on the line."""
        for caller in self.dialled:
            await self.ask("DELETE", f"/channels/{caller}")

    async def nothing_is_left(self) -> None:
        ari = await Ari.open(self.settings)
        async with asyncio.timeout(5):
            while await ari.channels() or await ari.bridges():  # noqa: ASYNC110  Asterisk ends channels by and by
                await asyncio.sleep(0.02)
        await ari.close()


async def events_of(control: AriCallControl) -> list[CallEvent]:
    async with asyncio.timeout(5):
        return [event async for event in control.events()]


@asynccontextmanager
async def pbx_of(trial: Trial) -> AsyncIterator[Pbx]:
    media = MediaServer()
    await media.open()
    pbx = Pbx(trial, media)
    running = asyncio.create_task(pbx.callers.run())
    try:
        await until(lambda: pbx.callers.connected)
        yield pbx
    finally:
        await pbx.callers.close()
        await running
        await media.close()


@pytest.fixture
async def pbx(asterisk: Trial) -> AsyncIterator[Pbx]:
    async with pbx_of(asterisk) as opened:
        try:
            yield opened
        finally:
            await opened.callers_hang_up()
            await opened.nothing_is_left()


async def test_a_call_from_answer_to_the_dialplan(pbx: Pbx) -> None:
    async with pbx.engine() as app:
        assert app.version.startswith("22.")
        caller, control = await pbx.talk()
        assert (control.variables["agent"], control.caller_number) == ("reception", "1000")
        assert not control.orphan
        assert [name for name in await channel_names(pbx) if name.startswith("AudioSocket/")]
        await control.set_variables({"OFFHOOK_STATE": "talking & <more> +1 50%"})
        shown = await asyncio.to_thread(pbx.trial.cli, f"core show channel {control.channel_id}")
        assert "OFFHOOK_STATE=talking & <more> +1 50%" in shown
        await pbx.ask("POST", f"/channels/{caller}/dtmf", {"dtmf": "5#"})
        events = control.events()
        async with asyncio.timeout(5):
            assert [await anext(events), await anext(events)] == [DigitReceived("5"), DigitReceived("#")]
        await control.transfer("offhook", "600")
        assert [event async for event in events] == []
        await control.close()
        ari = await Ari.open(pbx.settings)
        assert (await ari.channel(control.channel_id)).application == "Echo"
        assert not [bridge for bridge in await ari.bridges() if bridge.id.startswith(BRIDGE_PREFIX)]
        await ari.close()
        await pbx.ask("DELETE", f"/channels/{caller}")


async def channel_names(pbx: Pbx) -> list[str]:
    ari = await Ari.open(pbx.settings)
    names = [channel.name for channel in await ari.channels()]
    await ari.close()
    return names


@pytest.mark.parametrize("format", [SLIN8, SLIN16])
async def test_media_flows_to_the_connection_that_was_asked_for(pbx: Pbx, format: AudioFormat) -> None:
    async with pbx.engine():
        caller = await pbx.dial()
        control = await pbx.call()
        await control.answer()
        uuid = uuid4()
        await control.attach_media(uuid, pbx.media.address, format)
        await pbx.ask("POST", f"/channels/{caller}/silence")  # a voice, of sorts: it makes Asterisk send frames
        await until(lambda: pbx.media.received.get(uuid, 0) >= 10 * format.frame_bytes)
        await pbx.ask("DELETE", f"/channels/{caller}")
        assert await events_of(control) == [CallerHungUp(16)]
        await control.close()


async def test_we_hang_up(pbx: Pbx) -> None:
    async with pbx.engine():
        caller, control = await pbx.talk()
        await control.hang_up()
        assert [type(event) for event in await events_of(control)] == [CallerHungUp]
        await control.close()
        await pbx.ask("DELETE", f"/channels/{caller}")


async def test_a_leg_that_cannot_connect_leaves_the_caller(pbx: Pbx) -> None:
    async with pbx.engine():
        caller = await pbx.dial()
        control = await pbx.call()
        with pytest.raises(AsteriskError):
            await control.attach_media(uuid4(), "127.0.0.1:1", SLIN8)
        await control.keep_alive(30)
        await control.close()
        await pbx.ask("DELETE", f"/channels/{caller}")
        await pbx.nothing_is_left()


async def test_a_media_connection_that_ends_is_media_lost(pbx: Pbx) -> None:
    async with pbx.engine():
        caller, control = await pbx.talk()
        events = control.events()
        pbx.media.drop()
        async with asyncio.timeout(5):
            assert isinstance(await anext(events), MediaLost)
        await control.transfer("offhook", "600")
        await control.close()
        await pbx.ask("DELETE", f"/channels/{caller}")


async def test_without_a_sign_of_life_the_caller_reaches_the_human(pbx: Pbx) -> None:
    async with pbx.engine():
        caller, control = await pbx.talk()
        await control.keep_alive(1)
        began = time.monotonic()
        assert await events_of(control) == [TakenBack()]
        assert 0.8 < time.monotonic() - began < 2.0
        ari = await Ari.open(pbx.settings)
        assert (await ari.channel(control.channel_id)).dialled == "human"
        await ari.close()
        await control.close()
        with pytest.raises(CallGone):
            await control.keep_alive(1)
        await pbx.ask("DELETE", f"/channels/{caller}")


@pytest.mark.parametrize("milliseconds", [0, 1, 2, 3, 5, 8])
async def test_a_caller_may_hang_up_at_any_moment_of_the_set_up(pbx: Pbx, milliseconds: int) -> None:
    async with pbx.engine():
        caller = await pbx.dial()
        control = await pbx.call()

        async def set_up() -> None:
            await control.answer()
            await control.attach_media(uuid4(), pbx.media.address, SLIN8)
            await control.set_variables({f"V{number}": "x" for number in range(1000)})

        setting_up = asyncio.create_task(set_up())
        await asyncio.sleep(milliseconds / 1000)
        await pbx.ask("DELETE", f"/channels/{caller}")
        with pytest.raises(CallGone):
            await setting_up
        assert (await events_of(control))[-1] == CallerHungUp(16)
        await control.close()
        await pbx.nothing_is_left()


async def test_many_calls_leave_nothing(pbx: Pbx) -> None:
    async with pbx.engine() as app:
        for _ in range(5):
            talks = await asyncio.gather(*(pbx.talk() for _ in range(10)))
            for caller, _ in talks:
                await pbx.ask("DELETE", f"/channels/{caller}")
            for _, control in talks:
                assert await events_of(control) == [CallerHungUp(16)]
                await control.close()
        await pbx.nothing_is_left()
        await until(lambda: not app._errands)
        assert len(app._subscriptions) == 0


async def test_the_next_engine_takes_up_the_callers_of_the_last(pbx: Pbx) -> None:
    async with pbx.engine():
        caller, abandoned = await pbx.talk()
    async with pbx.engine() as app:
        control = await pbx.call()
        assert (control.orphan, control.channel_id, app.orphans) == (True, abandoned.channel_id, 1)
        assert control.variables["agent"] == "reception"
        ari = await Ari.open(pbx.settings)
        assert not [channel for channel in await ari.channels() if channel.id.startswith(MEDIA_PREFIX)]
        assert await ari.bridges() == []
        await ari.close()
        await control.attach_media(uuid4(), pbx.media.address, SLIN8)
        await pbx.ask("POST", f"/channels/{caller}/dtmf", {"dtmf": "9"})
        async with asyncio.timeout(5):
            assert await anext(control.events()) == DigitReceived("9")
        await pbx.ask("DELETE", f"/channels/{caller}")
        await events_of(control)
        await control.close()


async def test_a_second_engine_under_the_same_name_ends_the_first(pbx: Pbx) -> None:
    first = AriApp(pbx.settings, pbx.calls.put_nowait)
    running = asyncio.create_task(first.run())
    await until(lambda: first.connected)
    async with pbx.engine():
        with pytest.raises(ApplicationTaken):
            await running
        await first.close()
        caller = await pbx.dial()
        control = await pbx.call()
        await pbx.ask("DELETE", f"/channels/{caller}")
        await events_of(control)


RestartAsterisk = Callable[..., Trial]


@pytest.mark.parametrize("end", [lambda _: None, trials.kill], ids=["restarted", "crashed"])
async def test_a_restart_ends_the_calls_and_the_next_one_comes(
    start_asterisk: RestartAsterisk, end: Callable[[str], None]
) -> None:
    trial = await asyncio.to_thread(start_asterisk, "ari")
    async with pbx_of(trial) as pbx, pbx.engine() as app:
        _, control = await pbx.talk()
        await asyncio.to_thread(end, trial.instance)
        restarting = asyncio.create_task(asyncio.to_thread(trials.restart, trial.instance))
        await until(lambda: not app.connected)
        assert [type(event) for event in await events_of(control)][-1] is CallerHungUp
        with suppress(AsteriskError):  # it may be down at this moment, and has nothing of ours when it is back
            await control.close()
        await restarting
        await until(lambda: app.connected and pbx.callers.connected)
        assert app.reconnects >= 1
        caller = await pbx.dial()
        control = await pbx.call()
        await control.attach_media(uuid4(), pbx.media.address, SLIN8)
        await pbx.ask("DELETE", f"/channels/{caller}")
        await events_of(control)
        await control.close()


async def test_a_password_of_any_characters_is_accepted(start_asterisk: RestartAsterisk, tmp_path: Path) -> None:
    password = "p&a+s%25#w@r?d=/:x"
    users = (TEMPLATES / "ari.conf").read_text(encoding="utf-8")
    users += f"\n[odd]\ntype = user\nread_only = no\npassword_format = plain\npassword = {password}\n"
    trial = await asyncio.to_thread(start_asterisk, "ari-user", {"ari.conf": users})
    app = AriApp(AriSettings(trial.ari_url, "odd", password), lambda _: None)
    running = asyncio.create_task(app.run())
    await until(lambda: app.connected)
    await app.close()
    await running
