"""Twilio's voice: the REST API of calls, its webhooks, and the telephone at the other end of a media stream.

    twilio = TwilioServer(reach={"https://voice.example.com": "http://127.0.0.1:4545"})
    async with twilio.listening():
        ...  # settings: api_base_url=twilio.url, account_sid=ACCOUNT, auth_token=TOKEN, from_number=FROM
        call = await twilio.next_call()
        await call.streaming.wait()
        call.say(ulaw)
        call.hang_up()
    assert twilio.violations == []

What a call comes to is a ``Script``, the next of ``twilio.scripts``, or an answered one. Webhooks are signed by the
official library for the address that we were given, and sent to wherever ``reach`` says that this is. What goes beyond
the documentation: all runs at ``pace`` seconds per 20 ms, and calls are never billed.

Checked against the official ``twilio`` client in ``tests/telephony/test_twilio_fake.py``.
"""

import asyncio
import json
import re
import secrets
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode
from xml.etree import ElementTree

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from twilio.request_validator import RequestValidator
from yarl import URL

ACCOUNT = "AC" + "a1" * 16
TOKEN = "the-auth-token-of-the-fake"
FROM = "+15005550006"

FRAME = 160
"""Bytes of mu-law in 20 ms."""
SILENCE = b"\xff"

_ENDS = ("completed", "busy", "no-answer", "failed", "canceled")
_EVENTS = {"initiated", "ringing", "answered", "completed"}
_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_TRIES = 3
_LONGEST_TWIML = 4000
"""Characters that an update takes."""


@dataclass(frozen=True, slots=True)
class Script:
    """What one call comes to."""

    ends: str = "completed"
    """``completed``: it is answered; ``busy``, ``no-answer``, ``failed``, ``canceled``: it is not."""
    answered_by: str = "human"
    """Where detection is asked for: ``human``, ``machine_start``, ``machine_end_beep``, ``fax``, ``unknown``."""
    sip: str = ""
    """``SipResponseCode`` of a call that is not answered."""
    says: bytes = b""
    """Mu-law that the telephone says as soon as it is connected."""
    rings: bool = True
    """False: it goes on only when ``FakeCall.pick_up`` is called."""
    late: frozenset[str] = frozenset()
    """Statuses whose callbacks are held back until the call is over: ``initiated``, ``ringing``, ``in-progress``."""
    lingers: bool = False
    """Once its stream has ended, it goes on until somebody ends it."""
    copies: int = 1
    """How often each status callback is sent."""


@dataclass(slots=True)
class Fault:
    """Instead of dialling: an error of the API; ``status`` 0 dials, and loses the answer."""

    status: int
    code: int = 0
    message: str = "broken"


@dataclass(slots=True)
class Webhook:
    """One request that was made, and what came of it."""

    url: str
    form: dict[str, str]
    status: int = 0
    body: str = ""


class FakeCall:
    """One call, and whoever has the telephone."""

    def __init__(self, server: "TwilioServer", fields: Mapping[str, Sequence[str]], script: Script) -> None:
        self.sid = "CA" + secrets.token_hex(16)
        self.stream_sid = "MZ" + secrets.token_hex(16)
        self.fields = {name: list(values) for name, values in fields.items()}
        self.script = script
        self.status = "queued"
        self.answered_by: str | None = None
        self.created = datetime.now(UTC)
        self.started: datetime | None = None
        self.ended: datetime | None = None
        self.streaming = asyncio.Event()
        self.over = asyncio.Event()
        self.connected_to: str | None = None
        """The number that the callee was connected with: a person, who talks to them until somebody hangs up."""
        self.with_human = asyncio.Event()
        self.heard = bytearray()
        """What was played, without silence."""
        self.closed_with: int | None = None
        """The code with which the engine closed the stream."""
        self.refused: int | None = None
        """The HTTP status with which it refused the stream."""
        self.sent: list[dict[str, Any]] = []
        """All messages of the engine."""
        self._server = server
        self._redirected = asyncio.Event()
        self._twiml = ""
        self._going_on = asyncio.Event()
        self._hung_up = asyncio.Event()
        self._dropped = False
        self._to_say: deque[bytes] = deque()
        self._queue: deque[bytes | str] = deque()
        """Sound, and the names of marks."""
        self._sequence = 0
        self._chunk = 0
        self._news = 0
        self._late: list[tuple[str, dict[str, str]]] = []
        self._socket: aiohttp.ClientWebSocketResponse | None = None

    def field(self, name: str) -> str:
        return (self.fields.get(name) or [""])[0]

    # -- the person ---------------------------------------------------------------------------------------------

    def pick_up(self) -> None:
        self._going_on.set()

    def say(self, ulaw: bytes) -> None:
        padded = ulaw + SILENCE * (-len(ulaw) % FRAME)
        self._to_say.extend(padded[start : start + FRAME] for start in range(0, len(padded), FRAME))

    async def press(self, digit: str) -> None:
        await self._tell("dtmf", {"track": "inbound_track", "digit": digit})

    def hang_up(self) -> None:
        self._hung_up.set()

    def drop(self) -> None:
        """The stream's connection breaks, without a word."""
        self._dropped = True
        self._hung_up.set()

    async def send_raw(self, message: str | bytes) -> None:
        """What Twilio would never send."""
        assert self._socket is not None
        await (self._socket.send_str(message) if isinstance(message, str) else self._socket.send_bytes(message))

    # -- the network --------------------------------------------------------------------------------------------

    async def done(self, seconds: float = 5.0) -> None:
        """The call is over, and all was told. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            await self.over.wait()

    def end(self, status: str) -> None:
        """As the API has it: from outside."""
        if self.status not in _ENDS:
            self.status = status
            self._hung_up.set()
            self._going_on.set()

    def redirect(self, twiml: str) -> None:
        """As the API has it: what the call does now ends, and it goes on with ``twiml``."""
        self._twiml = twiml
        self._redirected.set()

    async def run(self) -> None:
        try:
            await self._report("initiated")
            await asyncio.sleep(self._server.pace)
            if self.status not in _ENDS:
                self.status = "ringing"
                await self._report("ringing")
            if not self.script.rings:
                await self._going_on.wait()
            await asyncio.sleep(self._server.pace)
            if self.status not in _ENDS and self.script.ends != "completed":
                self.status = self.script.ends
            if self.status not in _ENDS:
                await self._talk()
        finally:
            self.ended = datetime.now(UTC)
            await self._report(self.status, at_the_end=True)
            for url, form in self._late:
                await self._server.post(url, form)
            self.over.set()

    async def _talk(self) -> None:
        self.status, self.started = "in-progress", datetime.now(UTC)
        detecting = asyncio.create_task(self._detect())
        await self._report("in-progress")
        answer = await self._server.post(self.field("Url"), self._form())
        if answer.status == 200 and self.status not in _ENDS:
            await self._obey(answer.body)
        while self._redirected.is_set() and self.status not in _ENDS:
            self._redirected.clear()
            await self._obey(self._twiml)
        await detecting
        if self.status not in _ENDS:
            self.status = "completed"

    async def _detect(self) -> None:
        if not self.field("MachineDetection"):
            return
        await asyncio.sleep(self._server.pace)
        self.answered_by = self.script.answered_by
        url = self.field("AsyncAmdStatusCallback")
        if self.field("AsyncAmd") != "true" or not url:
            self._server.violations.append("MachineDetection without AsyncAmd makes the callee wait")
            return
        form = {"CallSid": self.sid, "AccountSid": self._server.account_sid, "AnsweredBy": self.script.answered_by}
        await self._server.post(url, {**form, "MachineDetectionDuration": "1200"})

    async def _obey(self, twiml: str) -> None:
        response = ElementTree.fromstring(twiml)
        if response.tag != "Response":
            self._server.violations.append(f"TwiML without Response: {twiml}")
        for verb in response:
            stream = verb.find("Stream") if verb.tag == "Connect" else None
            if stream is not None:
                await self._stream(stream)
                if self.script.lingers:
                    await self._until_left()
            elif verb.tag == "Dial":
                await self._dial(verb)
            elif verb.tag == "Hangup":
                return
            else:
                self._server.violations.append(f"a verb we do not play: {verb.tag}")

    async def _dial(self, dial: ElementTree.Element) -> None:
        number = dial.text or ""
        if not _E164.fullmatch(number) or len(dial):
            self._server.violations.append(f"Dial of what is no number: {ElementTree.tostring(dial)!r}")
        if dial.get("callerId") not in self._server.numbers:
            self._server.violations.append(f"Dial with a callerId that is not the account's: {dial.get('callerId')}")
        self.connected_to = number
        self.with_human.set()
        await self._until_left()

    async def _until_left(self) -> None:
        """Somebody hangs up, or the call is redirected."""
        waits = [asyncio.create_task(event.wait()) for event in (self._hung_up, self._redirected)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _stream(self, stream: ElementTree.Element) -> None:
        url = stream.get("url", "")
        if not url.startswith("wss://") or "?" in url:
            self._server.violations.append(f"a stream must have a wss URL without a query, not {url}")
        parameters = {str(p.get("name")): str(p.get("value")) for p in stream.iter("Parameter")}
        session = self._server.session
        signature = self._server.signer.compute_signature(url, {})
        try:
            socket = await session.ws_connect(
                self._server.real(url), headers={"X-Twilio-Signature": signature}, autoping=True
            )
        except aiohttp.WSServerHandshakeError as error:
            self.refused = error.status
            return
        self._socket = socket
        await socket.send_json({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        start = {
            "accountSid": self._server.account_sid,
            "callSid": self.sid,
            "streamSid": self.stream_sid,
            "tracks": ["inbound"],
            "customParameters": parameters,
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }
        await self._tell("start", start)
        self.say(self.script.says)
        self.streaming.set()
        await self._converse(socket)

    async def _converse(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        hearing = asyncio.create_task(self._read(socket))
        speaking = asyncio.create_task(self._speak())
        leaving = asyncio.create_task(self._until_left())
        await asyncio.wait({hearing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        speaking.cancel()
        await asyncio.gather(speaking, return_exceptions=True)
        if self._dropped:
            hearing.cancel()
            transport = socket._response.connection  # noqa: SLF001 - there is no other way to break it off
            if transport is not None and transport.transport is not None:
                transport.transport.abort()
            return
        if not socket.closed:
            with suppress(ConnectionError):
                await self._tell("stop", {"accountSid": self._server.account_sid, "callSid": self.sid})
        await socket.close()
        leaving.cancel()
        await asyncio.gather(hearing, return_exceptions=True)
        self.closed_with = self.closed_with or socket.close_code

    async def _speak(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += self._server.pace
            await asyncio.sleep(max(0.0, due - loop.time()))
            payload = self._to_say.popleft() if self._to_say else SILENCE * FRAME
            self._chunk += 1
            sound = {
                "track": "inbound",
                "chunk": str(self._chunk),
                "timestamp": str((self._chunk - 1) * 20),
                "payload": b64encode(payload).decode(),
            }
            with suppress(ConnectionError):
                await self._tell("media", sound)
                await self._play(FRAME)

    async def _play(self, count: int) -> None:
        while self._queue and (count or isinstance(self._queue[0], str)):
            first = self._queue.popleft()
            if isinstance(first, str):
                await self._tell("mark", {"name": first})
                continue
            self.heard += first[:count]
            if len(first) > count:
                self._queue.appendleft(first[count:])
            count = max(0, count - len(first))

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                self._server.violations.append(f"a message that is no text: {message.type}")
                continue
            await self._take(json.loads(message.data))
        self.closed_with = socket.close_code

    async def _take(self, said: dict[str, Any]) -> None:
        self.sent.append(said)
        if said.get("streamSid") != self.stream_sid:
            self._server.violations.append(f"a message for another stream: {said.get('streamSid')}")
        match said:
            case {"event": "media", "media": {"payload": str(payload), **more}} if not more:
                sound = b64decode(payload, validate=True)
                if sound.startswith(b"RIFF"):
                    self._server.violations.append("a WAV header in a payload")
                self._queue.append(sound)
            case {"event": "mark", "mark": {"name": str(name)}}:
                self._queue.append(name)
            case {"event": "clear"}:
                names = [item for item in self._queue if isinstance(item, str)]
                self._queue.clear()
                for name in names:
                    await self._tell("mark", {"name": name})
            case _:
                self._server.violations.append(f"a message that Twilio does not know: {said}")

    async def _tell(self, event: str, content: dict[str, Any]) -> None:
        assert self._socket is not None
        self._sequence += 1
        await self._socket.send_json(
            {"event": event, "sequenceNumber": str(self._sequence), event: content, "streamSid": self.stream_sid}
        )

    # -- webhooks -----------------------------------------------------------------------------------------------

    def _form(self, status: str = "") -> dict[str, str]:
        return {
            "AccountSid": self._server.account_sid,
            "ApiVersion": "2010-04-01",
            "CallSid": self.sid,
            "CallStatus": status or self.status,
            "Direction": "outbound-api",
            "From": self.field("From"),
            "To": self.field("To"),
            "Called": self.field("To"),
            "Caller": self.field("From"),
            "CalledCity": "",
        }

    async def _report(self, status: str, *, at_the_end: bool = False) -> None:
        event = "completed" if status in _ENDS else "answered" if status == "in-progress" else status
        number, self._news = self._news, self._news + 1
        if not self.field("StatusCallback") or event not in self.fields.get("StatusCallbackEvent", ["completed"]):
            return
        form = self._form(status) | {
            "SequenceNumber": str(number),
            "Timestamp": format_datetime(datetime.now(UTC)),
            "CallbackSource": "call-progress-events",
        }
        if status == "completed":
            form |= {"CallDuration": "3", "Duration": "1"}
        if at_the_end and self.script.sip:
            form["SipResponseCode"] = self.script.sip
        if self.answered_by:
            form["AnsweredBy"] = self.answered_by
        if status in self.script.late:
            self._late.append((self.field("StatusCallback"), form))
            return
        for _ in range(self.script.copies):
            await self._server.post(self.field("StatusCallback"), form)

    def as_json(self) -> dict[str, Any]:
        path = f"/2010-04-01/Accounts/{self._server.account_sid}/Calls/{self.sid}"
        duration = None if self.ended is None or self.started is None else str((self.ended - self.started).seconds)
        return {
            "sid": self.sid,
            "account_sid": self._server.account_sid,
            "annotation": None,
            "answered_by": self.answered_by,
            "api_version": "2010-04-01",
            "caller_name": None,
            "date_created": format_datetime(self.created),
            "date_updated": format_datetime(self.ended or self.started or self.created),
            "direction": "outbound-api",
            "duration": duration,
            "end_time": self.ended and format_datetime(self.ended),
            "forwarded_from": None,
            "from": self.field("From"),
            "from_formatted": self.field("From"),
            "group_sid": None,
            "parent_call_sid": None,
            "phone_number_sid": "PN" + "0" * 32,
            "price": None,
            "price_unit": "USD",
            "queue_time": "0",
            "start_time": self.started and format_datetime(self.started),
            "status": self.status,
            "subresource_uris": {"recordings": f"{path}/Recordings.json"},
            "to": self.field("To"),
            "to_formatted": self.field("To"),
            "trunk_sid": None,
            "uri": f"{path}.json",
        }


@dataclass
class TwilioServer:
    """Belongs to the running loop."""

    reach: Mapping[str, str] = field(default_factory=dict)
    """Where an address that we are given really is, by its beginning (``https://…``; ``wss`` goes along)."""
    account_sid: str = ACCOUNT
    auth_token: str = TOKEN
    numbers: tuple[str, ...] = (FROM,)
    pace: float = 0.02
    scripts: list[Script] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    calls: list[FakeCall] = field(default_factory=list)
    webhooks: list[Webhook] = field(default_factory=list)
    updates: list[tuple[str, str]] = field(default_factory=list)
    """Call and status, or TwiML, as clients asked for them."""
    holding: asyncio.Event | None = None
    """Answers to dials wait for it; the call goes on meanwhile."""
    violations: list[str] = field(default_factory=list)
    """What its clients did that Twilio would not take."""
    url: str = ""

    @property
    def signer(self) -> RequestValidator:
        return RequestValidator(self.auth_token)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["TwilioServer"]:
        app = web.Application()
        base = "/2010-04-01/Accounts/{account}/Calls"
        app.router.add_post(base + ".json", self._create)
        app.router.add_get(base + ".json", self._list)
        app.router.add_get(base + "/{sid}.json", self._fetch)
        app.router.add_post(base + "/{sid}.json", self._update)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self._fresh: asyncio.Queue[FakeCall] = asyncio.Queue()
        self._running: set[asyncio.Task[None]] = set()
        async with aiohttp.ClientSession() as self.session:
            try:
                yield self
            finally:
                for task in self._running:
                    task.cancel()
                await asyncio.gather(*self._running, return_exceptions=True)
                await runner.cleanup()

    async def settle(self) -> None:
        """Everybody hangs up."""
        for call in self.calls:
            call.end("completed")
            await call.done()

    async def next_call(self, seconds: float = 10.0) -> FakeCall:
        async with asyncio.timeout(seconds):
            return await self._fresh.get()

    def real(self, url: str) -> URL:
        for public, ours in self.reach.items():
            for one, other in ((public, ours), (_as_socket(public), _as_socket(ours))):
                if url.startswith(one):
                    return URL(other + url[len(one) :], encoded=True)
        return URL(url, encoded=True)

    async def post(self, url: str, form: dict[str, str]) -> Webhook:
        """A signed webhook; one that fails is sent again, as it was."""
        made = Webhook(url, form)
        signature = self.signer.compute_signature(url, form)
        headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8"}
        for _ in range(_TRIES):
            with suppress(aiohttp.ClientError):
                async with self.session.post(self.real(url), data=urlencode(form), headers=headers) as answer:
                    made.status, made.body = answer.status, await answer.text()
                    self.webhooks.append(made)
                    if answer.status < 500:
                        break
            made = Webhook(url, form)
        return made

    # -- the API ------------------------------------------------------------------------------------------------

    async def _create(self, request: web.Request) -> web.StreamResponse:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        fields = _fields(await request.text())
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and fault.status:
            return _error(fault.status, fault.code, fault.message)
        if (wrong := self._wrong(fields)) is not None:
            return wrong
        call = FakeCall(self, fields, self.scripts.pop(0) if self.scripts else Script())
        self.calls.append(call)
        self._fresh.put_nowait(call)
        answer = call.as_json()
        task = asyncio.create_task(call.run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        if self.holding is not None:
            await self.holding.wait()
        if fault is not None:
            assert request.transport is not None
            request.transport.close()
        return web.json_response(answer, status=201)

    def _wrong(self, fields: Mapping[str, Sequence[str]]) -> web.Response | None:
        to, caller = fields.get("To", [""])[0], fields.get("From", [""])[0]
        if not _E164.fullmatch(to):
            return _error(400, 21211, f"The phone number you are attempting to call, {to}, is not valid.")
        if caller not in self.numbers:
            return _error(400, 21210, f"The source phone number provided, {caller}, is not yet verified.")
        if not fields.get("Url", [""])[0].startswith("http"):
            return _error(400, 21205, "Url is not a valid URL")
        if strange := set(fields.get("StatusCallbackEvent", [])) - _EVENTS:
            return _error(400, 21626, f"Invalid value(s) for StatusCallbackEvents: {strange}")
        if fields.get("MachineDetection", ["Enable"])[0] not in ("Enable", "DetectMessageEnd"):
            return _error(400, 21265, "Invalid MachineDetection value")
        return None

    async def _list(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        query = request.query
        wanted = {"To": query.get("To"), "From": query.get("From")}
        found = [
            call
            for call in reversed(self.calls)
            if all(value in (None, call.field(name)) for name, value in wanted.items())
            and query.get("Status", call.status) == call.status
        ]
        size, page = int(query.get("PageSize", "50")), int(query.get("Page", "0"))
        part = found[page * size : (page + 1) * size]
        more = {**query, "Page": str(page + 1), "PageSize": str(size)}
        return web.json_response(
            {
                "calls": [call.as_json() for call in part],
                "page": page,
                "page_size": size,
                "start": page * size,
                "end": page * size + len(part) - 1,
                "uri": str(request.rel_url),
                "first_page_uri": str(request.rel_url.update_query(Page="0")),
                "previous_page_uri": None,
                "next_page_uri": f"{request.path}?{urlencode(more)}" if len(found) > (page + 1) * size else None,
            }
        )

    async def _fetch(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        call = self._call(request)
        return _error(404, 20404, f"The requested resource {request.path} was not found") if call is None else _ok(call)

    async def _update(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        call = self._call(request)
        if call is None:
            return _error(404, 20404, f"The requested resource {request.path} was not found")
        fields = _fields(await request.text())
        if "Twiml" in fields:
            return self._redirect(call, fields)
        status = fields.get("Status", [""])[0]
        self.updates.append((call.sid, status))
        if status not in ("completed", "canceled"):
            return _error(400, 21218, "Invalid Status")
        if call.status in _ENDS:
            return _error(400, 21220, "Unable to update record. Call is not in-progress. Cannot redirect.")
        if status == "completed" or call.status in ("queued", "ringing"):
            call.end(status)
        return _ok(call)

    def _redirect(self, call: FakeCall, fields: Mapping[str, Sequence[str]]) -> web.Response:
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None:
            return _error(fault.status, fault.code, fault.message)
        twiml, limit = fields["Twiml"][0], fields.get("TimeLimit", ["60"])[0]
        self.updates.append((call.sid, twiml))
        if set(fields) - {"Twiml", "TimeLimit"} or len(twiml) > _LONGEST_TWIML or not 0 < int(limit) <= 24 * 3600:
            return _error(400, 20001, "Invalid parameters")
        if call.status != "in-progress":
            return _error(400, 21220, "Unable to update record. Call is not in-progress. Cannot redirect.")
        call.fields["TimeLimit"] = [limit]
        call.redirect(twiml)
        return _ok(call)

    def _call(self, request: web.Request) -> FakeCall | None:
        return next((call for call in self.calls if call.sid == request.match_info["sid"]), None)

    def _refusal(self, request: web.Request) -> web.Response | None:
        expected = b64encode(f"{self.account_sid}:{self.auth_token}".encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            return _error(401, 20003, "Authenticate")
        if request.match_info["account"] != self.account_sid:
            return _error(404, 20404, f"The requested resource {request.path} was not found")
        return None


def _ok(call: FakeCall) -> web.Response:
    return web.json_response(call.as_json())


def _error(status: int, code: int, message: str) -> web.Response:
    told = {"code": code, "message": message, "more_info": f"https://www.twilio.com/docs/errors/{code}"}
    return web.json_response({**told, "status": status}, status=status, headers=CIMultiDict())


def _fields(body: str) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    for name, value in parse_qsl(body, keep_blank_values=True):
        fields.setdefault(name, []).append(value)
    return fields


def _as_socket(url: str) -> str:
    return url.replace("http", "ws", 1)
