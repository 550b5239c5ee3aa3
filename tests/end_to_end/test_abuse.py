"""Those who should not come in, at every door of the real engine, while a call in progress goes on to its booking.

Each is refused, counted where `/health` shows it, and logged without a secret.
"""

import asyncio
import json
import re
import socket
from base64 import b64encode
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from ai_engine.audio.g711 import pcm_to_ulaw
from scripts.trial.asterisk import Trial
from tests.end_to_end.call_agent_world import BOOKING, REQUEST, World, world
from tests.end_to_end.test_five_steps import check_all, converse
from tests.fakes.stream_caller import read_wav
from tests.fakes.twilio_fake import ACCOUNT, FROM, TOKEN, FakeCall, Script, TwilioServer, Webhook

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(180)]

PUBLIC = "https://calls.example"
PATIENT = "I have a lot to say before I come to the point, so please be patient with me. " * 6
"""Longer than what fits between an engine and a peer who does not read."""
PENDING = 4
"""Streams of one address that may wait."""

_MSS, _WINDOW = 536, 2048
"""A peer with so little room leaves the kernel none to put what it does not read."""


@dataclass
class Attack:
    """What an attacker has: the engine's address, what Twilio says, and no secret."""

    there: World
    twilio: TwilioServer
    call: FakeCall
    http: httpx.AsyncClient

    @property
    def stream_url(self) -> str:
        return f"{self.there.url.replace('http', 'ws')}/voice/stream"

    async def post(self, hook: Webhook, signature: str | None, **changes: str) -> int:
        """A webhook of before, changed, to the same address; the HTTP status."""
        address = urlsplit(hook.url)
        headers = {} if signature is None else {"X-Twilio-Signature": signature}
        form = {**hook.form, **changes}
        path = f"{address.path}?{address.query}"
        return (await self.http.post(path, data=form, headers=headers)).status_code

    def signed(self, hook: Webhook, **changes: str) -> str:
        """As Twilio would: what is signed with it is no forgery."""
        return str(self.twilio.signer.compute_signature(hook.url, {**hook.form, **changes}))

    def stream(self, *, signed: bool = True) -> connect:
        """The handshake's signature is the same for each stream: somebody may have read it."""
        signature = self.twilio.signer.compute_signature(f"{PUBLIC.replace('http', 'ws')}/voice/stream", {})
        return connect(
            self.stream_url, additional_headers={"X-Twilio-Signature": signature} if signed else {}, proxy=None
        )


def start(call_id: str, token: str, call_sid: str = "CA" + "0" * 32) -> str:
    begun = {
        "accountSid": ACCOUNT,
        "callSid": call_sid,
        "streamSid": "MZ" + "0" * 32,
        "tracks": ["inbound"],
        "customParameters": {"callId": call_id, "token": token},
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
    }
    return json.dumps({"event": "start", "sequenceNumber": "1", "streamSid": "MZ" + "0" * 32, "start": begun})


async def closed(stream: ClientConnection) -> int | None:
    """The code with which it is closed by the engine."""
    with suppress(ConnectionClosed):
        async with asyncio.timeout(10):
            while True:
                await stream.recv()
    return stream.close_code


async def webhooks(attack: Attack, others: FakeCall) -> None:
    """Forged, replayed, of another call."""
    begun, voice = _hook(attack.twilio, "/status", attack.call), _hook(attack.twilio, "/voice", attack.call)
    for hook in (begun, voice):
        assert await attack.post(hook, None) == 401
        assert await attack.post(hook, "AAAAAAAAAAAAAAAAAAAAAAAAAAA=") == 401
        assert await attack.post(hook, RequestValidator("guessed").compute_signature(hook.url, hook.form)) == 401
        assert await attack.post(hook, attack.signed(hook), CallStatus="completed") == 401, "a changed field"
    assert await attack.post(begun, attack.signed(begun)) == 200, "replayed"
    over = {"CallStatus": "completed", "SequenceNumber": "9", "CallSid": others.sid}
    assert await attack.post(begun, attack.signed(begun, **over), **over) == 200, "of another call"
    later = Webhook(begun.url.replace("attempt=1", "attempt=2"), {**begun.form, **over})
    assert await attack.post(later, attack.signed(later)) == 200, "of an attempt that is not"
    nobody = Webhook(re.sub("callId=[^&]*", "callId=nobody", voice.url), voice.form)
    assert await attack.post(nobody, attack.signed(nobody)) == 200


def _hook(twilio: TwilioServer, path: str, call: FakeCall) -> Webhook:
    return next(hook for hook in twilio.webhooks if path in hook.url and hook.form["CallSid"] == call.sid)


async def bodies(attack: Attack) -> None:
    """Larger than anybody needs."""

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield b"x" * 16384

    for path in ("/voice", "/status", "/calls", "/mcp"):
        assert (await attack.http.post(path, content=b"x" * 300_000)).status_code == 413
        assert (await attack.http.post(path, content=endless())).status_code == 413


async def tokens(attack: Attack) -> None:
    """Missing, wrong, and many wrong ones at once."""
    for path in ("/calls", "/calls/anything", "/calls/anything/timeline"):
        assert (await attack.http.get(path)).status_code == 401
    assert (await attack.http.post("/mcp", json={})).status_code == 401
    assert (await attack.http.post("/calls", json={}, headers={"Authorization": "Basic eDp5"})).status_code == 401
    guesses = [attack.http.get("/calls", headers={"Authorization": f"Bearer guessed-{number}"}) for number in range(20)]
    statuses = [answer.status_code for answer in await asyncio.gather(*guesses)]
    assert statuses.count(401) == 8
    assert statuses.count(429) == 12
    assert (await attack.http.get("/health")).json() == {"ok": True}


async def streams(attack: Attack, call_id: str, used: str) -> None:
    """Without a signature, a token, a word; with garbage; and too many."""
    with pytest.raises(InvalidStatus) as met:
        await connect(attack.stream_url, proxy=None)
    assert met.value.response.status_code == 401
    for message, code in [
        (start(call_id, "guessed"), 1008),
        (start(call_id, ""), 1008),
        (start(call_id, used, attack.call.sid), 1008),  # somebody has read it, but it was shown already
        (start("guessed", used), 1008),
        ("this is no JSON", 1002),
        (json.dumps({"event": "media", "media": {"payload": "????"}}), 1002),
        (b"\x00\x01", 1003),
        ("x" * 300_000, 1009),
    ]:
        async with attack.stream() as stream:
            await stream.send(message)
            assert await closed(stream) == code, str(message)[:100]
    silent = [await attack.stream() for _ in range(PENDING)]
    with pytest.raises(InvalidStatus) as met:
        await attack.stream()
    assert met.value.response.status_code == 429
    assert [await closed(stream) for stream in silent] == [1008] * PENDING


async def read_nothing(attack: Attack, call_id: str, ringing: FakeCall) -> None:
    """A telephone that was really called talks, and takes in nothing of what it is told."""
    token = await _token(attack, ringing)
    host, port = attack.there.url.removeprefix("http://").split(":")
    line = socket.socket()
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, _MSS)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW)
    line.setblocking(False)
    await asyncio.get_running_loop().sock_connect(line, (host, int(port)))
    signature = attack.twilio.signer.compute_signature(f"{PUBLIC.replace('http', 'ws')}/voice/stream", {})
    async with connect(
        attack.stream_url, sock=line, additional_headers={"X-Twilio-Signature": signature}, ping_interval=None
    ) as stream:
        await stream.send(start(call_id, token, ringing.sid))
        stream.transport.pause_reading()
        sound = {"track": "inbound", "payload": b64encode(b"\xff" * 160).decode()}
        async with asyncio.timeout(60):
            while not (await told(attack.there))["streams"].get("slow_readers"):
                for _ in range(10):
                    await stream.send(json.dumps({"event": "media", "media": sound, "streamSid": "MZ" + "0" * 32}))
                await asyncio.sleep(0.2)
        stream.transport.abort()


async def _token(attack: Attack, ringing: FakeCall) -> str:
    """Out of what answers its ``/voice``."""
    hook = Webhook(ringing.field("Url"), {"CallSid": ringing.sid, "CallStatus": "in-progress", "AccountSid": ACCOUNT})
    address = urlsplit(hook.url)
    answer = await attack.http.post(
        f"{address.path}?{address.query}",
        content=urlencode(hook.form),
        headers={
            "X-Twilio-Signature": attack.signed(hook),
            "Content-Type": "application/x-www-form-urlencoded",
        },
    )
    return token_in(answer.text)


def token_in(twiml: str) -> str:
    found = re.search(r'name="token" value="([^"]+)"', twiml)
    assert found is not None, twiml
    return found[1]


async def told(there: World) -> dict[str, Any]:
    """What the engine's own page says of all this."""
    page: dict[str, Any] = (await asyncio.to_thread(there.programs.health))["call_agent"]
    return page


@asynccontextmanager
async def talking(call: FakeCall) -> AsyncIterator[None]:
    """Somebody has the telephone meanwhile, and agrees."""

    async def say(wav: Path) -> None:
        sound = pcm_to_ulaw(read_wav(wav))
        call.say(sound)
        await asyncio.sleep(len(sound) / 8000)

    conversation = asyncio.create_task(converse(lambda: len(call.heard), say, call.over, 60.0))
    try:
        yield
        await conversation
    finally:
        conversation.cancel()


def check_counters(told: Mapping[str, Any]) -> None:
    network, streams, away = told["network"], told["streams"], told["turned_away"]
    assert (network["invalid_signatures"], network["replays"], network["foreign"], network["unknown_calls"]) == (
        8,
        1,
        1,
        2,
    )
    assert streams["invalid_signatures"] == 1
    assert streams["wrong_tokens"] == 3
    assert streams["unknown_calls"] == 1
    assert streams["protocol_errors"] == 3
    assert streams["gone_before_start"] == 1  # the message that was too long: the connection itself is closed
    assert streams["start_timeouts"] == PENDING
    assert streams["too_many_of_an_address"] == 1
    assert streams["slow_readers"] == 1
    assert streams["accepted"] == 2
    assert told["media"]["streams"] == 2
    assert not told["media"].keys() & {"faults", "floods", "stalled_sounds"}
    assert away["too_large"] == 8
    assert away["no_token"] == 5
    assert away["wrong_token"] == 8
    assert away["too_many"] == 12


async def test_over_twilio(asterisk: Trial, tmp_path: Path) -> None:
    twilio = TwilioServer(scripts=[Script(), Script(rings=False)])
    settings = {"TWILIO_AUTH_TOKEN": TOKEN, "CALL_AGENT_PUBLIC_URL": PUBLIC}
    scenario = replace(BOOKING, greeting=PATIENT)
    async with twilio.listening():
        section = {
            "telephony": {"provider": "twilio"},
            "twilio": {"account_sid": ACCOUNT, "from_number": FROM, "api_base_url": twilio.url, "calls": 2},
        }
        async with (
            world(asterisk, tmp_path, section, settings, scenario) as there,
            httpx.AsyncClient(base_url=there.url, trust_env=False) as http,
        ):
            twilio.reach = {PUBLIC: there.url}
            call_id = await there.call()
            call = await twilio.next_call()
            await asyncio.wait_for(call.streaming.wait(), 10)
            attack = Attack(there, twilio, call, http)
            used = token_in(_hook(twilio, "/voice", call).body)
            async with talking(call):
                other_id = await there.call(to="+15550101")
                other = await twilio.next_call()
                reading = asyncio.create_task(read_nothing(attack, other_id, other))
                await webhooks(attack, other)
                await bodies(attack)
                await tokens(attack)
                await streams(attack, call_id, used)
                await reading
                check_counters(await told(there))
                # Those who may ask for calls are told the same.
                check_counters((await there.api.get("/health")).json())
            await there.api.post(f"/calls/{other_id}/cancel")
            await there.settled(other_id)
            await check_all(there, call_id)
            check_logged(there)
            check_no_secrets(there, used)
            assert twilio.violations == []


async def test_without_tokens_from_elsewhere(asterisk: Trial, tmp_path: Path) -> None:
    """This machine may ask for calls, and no page that somebody opens on it, under whatever name it reaches us."""
    section, settings = {"telephony": {"provider": "mock"}}, {"CALL_AGENT_TOKEN": ""}
    async with (
        world(asterisk, tmp_path, section, settings) as there,
        httpx.AsyncClient(base_url=there.url, trust_env=False) as http,
    ):
        assert (await http.get("/calls")).json() == {"calls": []}
        for headers in (
            {"Host": "evil.example"},  # a name that was made to lead to us (DNS rebinding)
            {"Host": "localhost.evil.example"},
            {"Origin": "http://evil.example"},
            {"X-Forwarded-For": "127.0.0.1"},
        ):
            assert (await http.get("/calls", headers=headers)).status_code == 403
            assert (await http.post("/calls", json=REQUEST, headers=headers)).status_code == 403
            assert (await http.post("/mcp", json={}, headers=headers)).status_code == 403
            assert (await http.get("/health", headers=headers)).json() == {"ok": True}
        assert (await http.get("/calls")).json() == {"calls": []}
        assert (await told(there))["turned_away"] == {"not_local": 12}
        assert (await http.get("/health")).json()["turned_away"] == {"not_local": 12}


def check_logged(there: World) -> None:
    lines = (json.loads(line) for line in there.programs.engine.log_text().splitlines())
    events = Counter(line["event"] for line in lines if line["level"] == "warning")
    assert events["a request that Twilio did not sign"] == 8
    assert events["news of a call that is not the attempt's"] == 1
    assert events["request turned away"] == 8 + 5 + 8
    assert events["media socket refused"] == 2
    assert events["media socket shut out"] == 3 + 1 + 3 + PENDING
    assert events["media stream shut out"] == 1


def check_no_secrets(there: World, *more: str) -> None:
    """In nothing that is written but the store."""
    secrets = (TOKEN, "secret-of-callers", "test-key", "hook-token", "guessed", *more)
    written = [path for path in (there.directory / "run").rglob("*") if path.is_file()]
    assert any(path.name == "ai_engine.log" for path in written)
    for path in written:
        content = path.read_bytes()
        assert [secret for secret in secrets if secret.encode() in content] == [], path
