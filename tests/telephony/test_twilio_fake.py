"""The fake Twilio, driven by the official client."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import pytest
from aiohttp import web
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.http.response import Response
from twilio.request_validator import RequestValidator
from twilio.rest import Client
from twilio.twiml.voice_response import VoiceResponse

from tests.fakes.twilio_fake import ACCOUNT, FROM, TOKEN, Fault, Script, TwilioServer
from tests.waiting import until

T = TypeVar("T")

VOICE = "https://voice.example.com/voice"
STATUS = "https://voice.example.com/status?callId=1"


class Elsewhere(TwilioHttpClient):
    """Asks the fake instead of Twilio."""

    def __init__(self, url: str) -> None:
        super().__init__(pool_connections=False)
        self._url = url

    def request(self, method: str, url: str, *args: Any, **more: Any) -> Response:
        return super().request(method, url.replace("https://api.twilio.com", self._url), *args, **more)


def client(server: TwilioServer, token: str = TOKEN) -> Client:
    return Client(ACCOUNT, token, http_client=Elsewhere(server.url))


async def aside(work: Callable[[], T]) -> T:
    """The official client blocks."""
    return await asyncio.to_thread(work)


async def test_create_fetch_list_and_update() -> None:
    server = TwilioServer(pace=0.002, scripts=[Script(rings=False), Script("busy"), Script(rings=False)])
    async with server.listening():
        api = client(server)
        made = await aside(
            lambda: api.calls.create(
                to="+14155550101", from_=FROM, url=VOICE, timeout=30, status_callback_event=["ringing"]
            )
        )
        assert (made.sid, made.status, made.direction) == (server.calls[0].sid, "queued", "outbound-api")
        assert made.date_created is not None
        assert server.calls[0].field("StatusCallbackEvent") == "ringing"
        other = await aside(lambda: api.calls.create(to="+14155550102", from_=FROM, url=VOICE))
        await server.calls[1].done()
        found = await aside(lambda: api.calls(other.sid).fetch())
        assert (found.status, found.to, found.end_time is not None) == ("busy", "+14155550102", True)
        third = await aside(lambda: api.calls.create(to="+14155550101", from_=FROM, url=VOICE))
        listed = await aside(lambda: api.calls.list(to="+14155550101", page_size=1))
        assert [call.sid for call in listed] == [third.sid, made.sid]
        assert [call.sid for call in await aside(lambda: api.calls.list(status="busy"))] == [other.sid]
        ended = await aside(lambda: api.calls(made.sid).update(status="canceled"))
        assert ended.status == "canceled"
        await server.calls[0].done()
        with pytest.raises(TwilioRestException) as over:
            await aside(lambda: api.calls(made.sid).update(status="completed"))
        assert over.value.code == 21220
        server.calls[2].end("completed")


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"to": "123"}, 400, 21211),
        ({"from_": "+15550000000"}, 400, 21210),
        ({"url": "nowhere"}, 400, 21205),
        ({"status_callback_event": ["exploded"]}, 400, 21626),
        ({"machine_detection": "Maybe"}, 400, 21265),
    ],
)
async def test_what_it_does_not_take(fields: Mapping[str, Any], status: int, code: int) -> None:
    async with TwilioServer().listening() as server:
        asked = {"to": "+14155550101", "from_": FROM, "url": VOICE} | dict(fields)
        with pytest.raises(TwilioRestException) as refused:
            await aside(lambda: client(server).calls.create(**asked))
        assert (refused.value.status, refused.value.code) == (status, code)
        assert server.calls == []


async def test_a_wrong_token_a_fault_and_a_call_that_is_not_there() -> None:
    async with TwilioServer(faults=[Fault(429, 20429, "Too Many Requests")]).listening() as server:
        for api, code in ((client(server, "wrong"), 20003), (client(server), 20429)):
            with pytest.raises(TwilioRestException) as refused:
                await aside(lambda api=api: api.calls.create(to="+14155550101", from_=FROM, url=VOICE))
            assert refused.value.code == code
        with pytest.raises(TwilioRestException) as missing:
            await aside(lambda: client(server).calls("CA" + "0" * 32).fetch())
        assert missing.value.status == 404


# -- webhooks ------------------------------------------------------------------------------------------------


class App:
    """Whoever is called: notes callbacks, and checks their signatures with the official library."""

    def __init__(self, twiml: str = "<Response><Hangup/></Response>") -> None:
        self.twiml = twiml
        self.heard: list[dict[str, str]] = []
        self.failing = 0

    async def answer(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        url = f"https://voice.example.com{request.raw_path}"
        assert RequestValidator(TOKEN).validate(url, form, request.headers["X-Twilio-Signature"])
        if self.failing:
            self.failing -= 1
            return web.Response(status=503)
        if request.path == "/voice":
            return web.Response(text=self.twiml, content_type="text/xml")
        self.heard.append(form)
        return web.Response()

    @property
    def words(self) -> list[str]:
        return [form.get("CallStatus", form.get("AnsweredBy", "")) for form in self.heard]


async def called(app: App, script: Script, work: Callable[[TwilioServer], Awaitable[None]], **more: Any) -> None:
    server = TwilioServer(pace=0.002, scripts=[script])
    application = web.Application()
    application.router.add_post("/{path:voice|status}", app.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    server.reach = {"https://voice.example.com": f"http://127.0.0.1:{runner.addresses[0][1]}"}
    try:
        async with server.listening():
            asked = {
                "to": "+14155550101",
                "from_": FROM,
                "url": VOICE,
                "status_callback": STATUS,
                "status_callback_event": ["initiated", "ringing", "answered", "completed"],
            } | more
            await aside(lambda: client(server).calls.create(**asked))
            await work(server)
    finally:
        await runner.cleanup()


async def over(server: TwilioServer) -> None:
    await server.calls[0].done()


@pytest.mark.parametrize("end", ["busy", "no-answer", "failed", "canceled"])
async def test_callbacks_of_a_call_that_nobody_answers(end: str) -> None:
    app = App()
    await called(app, Script(end, sip="486"), over)
    assert app.words == ["initiated", "ringing", end]
    assert [form["SequenceNumber"] for form in app.heard] == ["0", "1", "2"]
    assert app.heard[-1]["SipResponseCode"] == "486"


async def test_callbacks_of_a_call_that_is_hung_up_by_its_twiml() -> None:
    app = App()
    await called(app, Script(), over)
    assert app.words == ["initiated", "ringing", "in-progress", "completed"]


async def test_late_doubled_and_repeated_callbacks() -> None:
    app = App()
    app.failing = 1
    await called(app, Script("busy", late=frozenset({"ringing"}), copies=2), over)
    assert app.words == ["initiated", "initiated", "busy", "busy", "ringing"]


async def test_answering_machines() -> None:
    app = App()
    detection = {"machine_detection": "Enable", "async_amd": "true", "async_amd_status_callback": STATUS}
    await called(app, Script(answered_by="machine_start"), over, **detection)
    assert "machine_start" in app.words


async def test_a_call_in_progress_goes_on_with_a_person() -> None:
    dial = VoiceResponse()
    dial.dial("+14155550199", caller_id=FROM)
    app = App("<Response><Dial callerId='+15005550006'>+14155550111</Dial></Response>")

    async def work(server: TwilioServer) -> None:
        call = server.calls[0]
        await call.with_human.wait()
        assert call.connected_to == "+14155550111"
        api = client(server).calls(call.sid)
        redirected = await aside(lambda: api.update(twiml=dial, time_limit=3600))
        assert redirected.status == "in-progress"
        await until(lambda: call.connected_to == "+14155550199")
        assert call.field("TimeLimit") == "3600"
        call.hang_up()
        await call.done()
        with pytest.raises(TwilioRestException) as refused:
            await aside(lambda: api.update(twiml=dial))
        assert refused.value.code == 21220
        assert server.violations == []

    await called(app, Script(), work)
    assert app.words == ["initiated", "ringing", "in-progress", "completed"]
