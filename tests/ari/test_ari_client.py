"""Requests as Asterisk receives them, and its refusals as we report them."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from urllib.parse import quote
from uuid import UUID

import aiohttp
import pytest

from ai_engine.ari.client import Ari
from ai_engine.ari.declarations import declarations
from ai_engine.ari.transport import AriSettings, AriTransport
from ai_engine.errors import AsteriskError
from ai_engine.protocol.ari import Bridge, Channel
from ai_engine.session.ports import Leg
from tests.fakes.fake_asterisk import VERSION, FakeAsterisk, Recorded


@pytest.fixture
async def asterisk() -> AsyncIterator[FakeAsterisk]:
    async with FakeAsterisk() as fake:
        yield fake


@pytest.fixture
async def ari(asterisk: FakeAsterisk) -> AsyncIterator[Ari]:
    opened = await Ari.open(AriSettings(asterisk.url, asterisk.username, asterisk.password))
    yield opened
    await opened.close()


# -- where and as whom --------------------------------------------------------------------------------------


async def test_a_password_of_any_characters_works_and_never_stands_in_a_url() -> None:
    password = "p&a+s%s#w@r?d=/ ü"
    async with FakeAsterisk(password=password) as asterisk:
        ari = await Ari.open(AriSettings(asterisk.url, asterisk.username, password))
        assert await ari.version() == VERSION
        socket = await ari.event_socket()
        await socket.close()
        await ari.close()
    assert len(asterisk.requests) == 2
    for request in asterisk.requests:
        assert "api_key" not in request.raw_path
        assert quote("p&a+s", safe="") not in request.raw_path


@pytest.mark.parametrize(
    "template", ["http://LOCALHOST:{}", "http://127.0.0.1:{}/", "http://127.0.0.1:{}/ari", "http://127.0.0.1:{}/ari/"]
)
async def test_any_spelling_of_the_address_works(asterisk: FakeAsterisk, template: str) -> None:
    ari = await Ari.open(AriSettings(template.format(asterisk.port), asterisk.username, asterisk.password))
    assert await ari.version() == VERSION
    socket = await ari.event_socket()
    await socket.close()
    await ari.close()


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8088", "ftp://pbx", "http://", "http://me:secret@pbx:8088", "http://pbx:8088?api_key=a:b"]
)
def test_an_address_that_cannot_work_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="ARI url must"):
        AriSettings(url)


@pytest.mark.parametrize(
    ("base", "located"),
    [
        ("https://pbx.example/tel", "https://pbx.example/tel/ari/channels/a%20b%2Bc"),
        ("http://[::1]:8088", "http://[::1]:8088/ari/channels/a%20b%2Bc"),
    ],
)
async def test_scheme_prefix_and_ipv6_of_the_address_are_kept(base: str, located: str) -> None:
    transport = AriTransport(AriSettings(base))
    assert str(transport._locate("/ari/channels/a+b%2Bc")) == located
    await transport.close()


async def test_no_request_goes_where_a_redirect_points(asterisk: FakeAsterisk, ari: Ari) -> None:
    asterisk.refuse("GET", "/info", 302)
    with pytest.raises(AsteriskError) as caught:
        await ari.version()
    assert caught.value.status == 302


def test_settings_do_not_show_the_password() -> None:
    assert "hunter2" not in repr(AriSettings(password="hunter2"))


async def test_nothing_is_fetched_before_the_first_request(asterisk: FakeAsterisk, ari: Ari) -> None:
    assert asterisk.requests == []
    await ari.version()
    assert len(asterisk.requests) == 1


def test_declarations_are_fresh_each_time() -> None:
    # The Swagger client writes into what it is given.
    declarations()["apis"].clear()
    assert declarations()["apis"]


# -- what is asked ------------------------------------------------------------------------------------------


async def test_a_channel_id_of_any_characters_stays_one_path_segment(asterisk: FakeAsterisk, ari: Ari) -> None:
    odd = "Local/7 +%&#?ü"
    asterisk.enter(odd)
    await ari.answer(odd)
    assert asterisk.channels[odd].state == "Up"
    assert "+" not in asterisk.requests[-1].raw_path


async def test_a_variable_of_any_characters_arrives_as_it_is(asterisk: FakeAsterisk, ari: Ari) -> None:
    asterisk.enter("c")
    await ari.set_variable("c", "TIMEOUT(absolute)", "1 + 1 & 50% #ü")
    assert await ari.variable("c", "TIMEOUT(absolute)") == "1 + 1 & 50% #ü"


async def test_truth_values_are_sent_as_asterisk_writes_them(asterisk: FakeAsterisk) -> None:
    transport = AriTransport(AriSettings(asterisk.url, asterisk.username, asterisk.password))
    await transport.request("GET", "/ari/asterisk/info", params={"yes": True, "no": False, "n": 1})
    assert asterisk.requests[-1].query == {"yes": "true", "no": "false", "n": "1"}
    await transport.close()


LEG = Leg(UUID(int=7), "slin16", "127.0.0.1:8090", "audiosocket", "tcp", data=str(UUID(int=7)))


async def test_a_media_leg_is_asked_for_as_it_describes_itself(asterisk: FakeAsterisk, ari: Ari) -> None:
    assert await ari.external_media("leg", LEG) == {}
    assert asterisk.requests[-1].query == {
        "app": asterisk.app,
        "channelId": "leg",
        "external_host": "127.0.0.1:8090",
        "encapsulation": "audiosocket",
        "transport": "tcp",
        "connection_type": "client",
        "format": "slin16",
        "data": str(UUID(int=7)),
    }


async def test_the_variables_of_a_media_leg_are_answered(asterisk: FakeAsterisk, ari: Ari) -> None:
    socket = replace(
        LEG,
        external_host="INCOMING",
        encapsulation="none",
        transport="websocket",
        connection_type="server",
        data="",
        transport_data="f(json)",
    )
    assert await ari.external_media("a", socket) == {"MEDIA_WEBSOCKET_CONNECTION_ID": "ws-a"}
    query = asterisk.requests[-1].query
    assert (query["connection_type"], query["transport_data"]) == ("server", "f(json)")
    assert "data" not in query
    rtp = replace(LEG, encapsulation="rtp", transport="udp", data="")
    assert await ari.external_media("b", rtp) == {
        "UNICASTRTP_LOCAL_ADDRESS": "127.0.0.1",
        "UNICASTRTP_LOCAL_PORT": "10000",
    }
    assert "transport_data" not in asterisk.requests[-1].query


@pytest.mark.parametrize("variables", [b"7", b"[]", b'{"A": 1}', b"null"])
async def test_variables_that_are_none_are_an_error(asterisk: FakeAsterisk, ari: Ari, variables: bytes) -> None:
    asterisk.refuse("POST", "externalMedia", 200, b'{"id": "leg", "channelvars": ' + variables + b"}")
    with pytest.raises(AsteriskError, match="not what ARI describes"):
        await ari.external_media("leg", LEG)


async def test_an_asterisk_that_tells_no_variables_of_a_leg_has_none(asterisk: FakeAsterisk, ari: Ari) -> None:
    asterisk.refuse("POST", "externalMedia", 200, b'{"id": "leg"}')
    assert await ari.external_media("leg", LEG) == {}


@pytest.mark.parametrize(("whispering", "whisper"), [(True, "out"), (False, "none")])
async def test_a_snoop_hears_and_may_whisper(asterisk: FakeAsterisk, ari: Ari, whispering: bool, whisper: str) -> None:
    asterisk.enter("c")
    await ari.snoop("c", "s", whispering=whispering)
    assert asterisk.requests[-1].path == "/ari/channels/c/snoop/s"
    assert asterisk.requests[-1].query == {"spy": "in", "whisper": whisper, "app": asterisk.app}


async def test_playbacks_are_begun_paused_and_ended(asterisk: FakeAsterisk, ari: Ari) -> None:
    asterisk.enter("c")
    await ari.play("c", "p 1", "sound:/tmp/a+b c")
    assert asterisk.playbacks["p 1"].media == "sound:/tmp/a+b c"
    await ari.control_playback("p 1", "pause")
    assert asterisk.playbacks["p 1"].paused
    assert await ari.is_playing("p 1")
    await ari.stop_playback("p 1")
    assert not await ari.is_playing("p 1")
    with pytest.raises(AsteriskError) as caught:
        await ari.stop_playback("p 1")
    assert caught.value.status == 404


async def test_a_variable_set_at_once_arrives_as_it_is(asterisk: FakeAsterisk, ari: Ari) -> None:
    asterisk.enter("c")
    await ari.set_variable_at_once("c", "TIMEOUT(absolute)", "15")
    await ari.set_variable_at_once("c", "STATE", "a=(b), c+d & 50% #ü")
    assert asterisk.channels["c"].variables == {"TIMEOUT(absolute)": "15", "STATE": "a=(b), c+d & 50% #ü"}


async def test_only_running_modules_count(asterisk: FakeAsterisk, ari: Ari) -> None:
    asterisk.refuse(
        "GET", "/modules", 200, b'[{"name": "a.so", "status": "Running"}, {"name": "b.so", "status": "Not Running"}]'
    )
    assert await ari.running_modules() == {"a.so"}


async def test_resources_are_read(asterisk: FakeAsterisk, ari: Ari) -> None:
    asterisk.enter("c", "agent=x")
    await ari.create_bridge("b")
    await ari.add_channel("b", "c")
    caller = Channel("c", "Fake/c", "Ring", "1000", "100", "Stasis", "asterisk-ai-voice-agent,agent=x")
    assert await ari.channel("c") == caller
    assert await ari.channels() == [caller]
    assert await ari.bridges() == [Bridge("b", asterisk.app)]
    assert await ari.application_channels() == {"c"}
    assert asterisk.bridges["b"].channels == ["c"]
    assert await ari.running_modules() == asterisk.modules
    await ari.continue_in_dialplan("c", "offhook", "human")
    assert asterisk.requests[-1].query == {"context": "offhook", "extension": "human", "priority": "1"}
    await ari.hang_up("c")
    await ari.destroy_bridge("b")
    assert not asterisk.channels
    assert not asterisk.bridges


# -- how it fails -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 412, 413, 422, 500, 503])
async def test_a_refusal_is_one_error_with_asterisks_words(asterisk: FakeAsterisk, ari: Ari, status: int) -> None:
    asterisk.enter("c")
    asterisk.refuse("POST", "/variable", status, "No such luck")
    with pytest.raises(AsteriskError) as caught:
        await ari.set_variable("c", "SECRET", "hunter2")
    assert caught.value.status == status
    assert str(caught.value) == f"POST /ari/channels/c/variable: {status} No such luck"


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"\xff\xfe"])
async def test_a_refusal_that_is_not_aris_is_still_one_error(asterisk: FakeAsterisk, ari: Ari, body: bytes) -> None:
    asterisk.refuse("GET", "/info", 503, body)
    with pytest.raises(AsteriskError, match="503 Service Unavailable"):
        await ari.version()


@pytest.mark.parametrize("body", [b"<html>", b"\xff\xfe", b"[]", b"{}", b"7", b""])
async def test_an_answer_that_is_not_aris_is_an_error(asterisk: FakeAsterisk, ari: Ari, body: bytes) -> None:
    asterisk.refuse("GET", "/info", 200, body)
    with pytest.raises(AsteriskError, match="asterisk.getInfo"):
        await ari.version()


async def test_a_slow_asterisk_is_given_up_in_time(asterisk: FakeAsterisk) -> None:
    forever = asyncio.Event()

    async def never(_: Recorded) -> None:
        await forever.wait()

    asterisk.before_answering = never
    ari = await Ari.open(AriSettings(asterisk.url, asterisk.username, asterisk.password, request_seconds=0.1))
    with pytest.raises(AsteriskError, match="no answer in time") as caught:
        await ari.set_variable("c", "SECRET", "hunter2")
    assert "hunter2" not in str(caught.value)
    with pytest.raises(AsteriskError):
        await ari.event_socket()
    forever.set()
    await ari.close()


async def test_an_absent_asterisk_is_an_error_without_status(asterisk: FakeAsterisk, ari: Ari) -> None:
    await asterisk.stop()
    with pytest.raises(AsteriskError) as caught:
        await ari.set_variable("c", "SECRET", "hunter2")
    assert caught.value.status == 0
    assert "hunter2" not in str(caught.value)


async def test_a_refused_event_socket_tells_the_status(asterisk: FakeAsterisk) -> None:
    ari = await Ari.open(AriSettings(asterisk.url, asterisk.username, "wrong"))
    with pytest.raises(AsteriskError) as caught:
        await ari.event_socket()
    assert caught.value.status == 401
    assert "wrong" not in str(caught.value)
    await ari.close()


async def test_a_request_after_close_is_an_error_of_the_same_kind(asterisk: FakeAsterisk, ari: Ari) -> None:
    await ari.close()
    with pytest.raises(AsteriskError, match="closed"):
        await ari.version()
    with pytest.raises(AsteriskError, match="closed"):
        await ari.event_socket()


async def test_frames_of_any_size_are_read(asterisk: FakeAsterisk, ari: Ari) -> None:
    socket = await ari.event_socket()
    await asterisk.wait_until(lambda: asterisk.listeners == 1)
    asterisk.send_frame(json.dumps({"type": "Big", "data": "x" * 5_000_000}))
    message = await socket.receive(timeout=5)
    assert message.type is aiohttp.WSMsgType.TEXT
    await socket.close()
