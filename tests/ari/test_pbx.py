"""PJSIP's objects over ARI, as Asterisk receives the requests and refuses them."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
from structlog.testing import capture_logs

from ai_engine.ari.client import Ari
from ai_engine.ari.pbx import AriPbx
from ai_engine.ari.stasis import AriApp
from ai_engine.ari.transport import AriSettings
from ai_engine.errors import AsteriskError
from tests.fakes.fake_asterisk import FakeAsterisk

AUTH = (("auth_type", "userpass"), ("username", "line"), ("password", "s3cret, and more"))


@pytest.fixture
async def asterisk() -> AsyncIterator[FakeAsterisk]:
    async with FakeAsterisk() as fake:
        yield fake


@pytest.fixture
async def pbx(asterisk: FakeAsterisk) -> AsyncIterator[AriPbx]:
    ari = await Ari.open(AriSettings(asterisk.url, asterisk.username, asterisk.password))
    yield AriPbx(lambda: ari)
    await ari.close()


async def test_an_object_is_written_read_and_deleted(asterisk: FakeAsterisk, pbx: AriPbx) -> None:
    assert await pbx.read("auth", "studio-1") is None
    await pbx.write("auth", "studio-1", AUTH)
    assert asterisk.pjsip == {("auth", "studio-1"): dict(AUTH)}
    assert await pbx.read("auth", "studio-1") == AUTH
    assert await pbx.delete("auth", "studio-1")
    assert not await pbx.delete("auth", "studio-1")
    assert asterisk.requests[-1].path == "/ari/asterisk/config/dynamic/res_pjsip/auth/studio-1"


async def test_endpoints_have_their_states(pbx: AriPbx) -> None:
    assert await pbx.endpoints() == {}
    await pbx.write("endpoint", "studio-1", (("aors", "studio-1"),))
    assert await pbx.endpoints() == {"studio-1": "offline"}


async def test_a_reload_is_one_of_pjsip(asterisk: FakeAsterisk, pbx: AriPbx) -> None:
    await pbx.reload()
    assert asterisk.reloads == ["res_pjsip.so"]


@pytest.mark.parametrize("status", [400, 403])
async def test_a_refusal_has_its_status_and_no_secret(asterisk: FakeAsterisk, pbx: AriPbx, status: int) -> None:
    asterisk.refuse("PUT", "/auth/", status)
    with pytest.raises(AsteriskError) as caught:
        await pbx.write("auth", "studio-1", AUTH)
    assert caught.value.status == status
    assert "s3cret" not in str(caught.value)


async def test_a_place_where_nothing_can_be_found_is_no_missing_object(asterisk: FakeAsterisk, pbx: AriPbx) -> None:
    asterisk.refuse("GET", "/endpoints", 404)
    with pytest.raises(AsteriskError):
        await pbx.endpoints()


async def test_no_log_tells_what_is_sent(pbx: AriPbx, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await pbx.write("auth", "studio-1", AUTH)
        await pbx.read("auth", "studio-1")
    assert "s3cret" not in caplog.text


async def test_before_the_first_connection_it_says_so() -> None:
    with pytest.raises(AsteriskError, match="not begun"):
        await AriPbx(lambda: None).endpoints()


# -- after every connection ---------------------------------------------------------------------------------


async def test_every_connection_is_told_and_delays_no_call(asterisk: FakeAsterisk) -> None:
    told: asyncio.Queue[bool] = asyncio.Queue()
    calls: asyncio.Queue[object] = asyncio.Queue()
    may_end = asyncio.Event()

    async def connected() -> None:
        told.put_nowait(app.connected)
        await may_end.wait()

    app = AriApp(AriSettings(asterisk.url, asterisk.username, asterisk.password), calls.put_nowait, connected)
    running = asyncio.create_task(app.run())
    async with asyncio.timeout(5):
        assert await told.get()
        asterisk.enter("caller")
        await calls.get()
        await app.pbx.write("aor", "studio-1", (("contact", "sip:pbx"),))
        asterisk.abort()
        assert await told.get()
    may_end.set()
    await app.close()
    await running


async def test_what_fails_after_a_connection_costs_no_call(asterisk: FakeAsterisk) -> None:
    calls: asyncio.Queue[object] = asyncio.Queue()

    async def connected() -> None:
        raise RuntimeError("out of order")

    app = AriApp(AriSettings(asterisk.url, asterisk.username, asterisk.password), calls.put_nowait, connected)
    with capture_logs() as logs:
        running = asyncio.create_task(app.run())
        async with asyncio.timeout(5):
            await asterisk.wait_until(lambda: asterisk.listeners == 1)
            asterisk.enter("caller")
            await calls.get()
    assert [line["event"] for line in logs if line["log_level"] == "error"] == [
        "not everything was done after the connection to Asterisk"
    ]
    await app.close()
    await running
