"""What Twilio's webhooks are answered, genuine or not."""

import asyncio
import json
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import APIRouter
from twilio.request_validator import RequestValidator
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ai_engine.jobs.settings import Server
from ai_engine.telephony.twilio import TwilioTelephony
from ai_engine.telephony.twilio_twiml import HANG_UP
from tests.fakes.twilio_fake import ACCOUNT, TOKEN
from tests.telephony.twilio_parts import PUBLIC, Book, Door, Stage, attempt, serving, settings, stage
from tests.waiting import until

SID = "CA" + "5" * 32
QUERY = "?provider=twilio&callId=c0ffee&attempt=1"
FORM = "application/x-www-form-urlencoded"


async def post(
    it: Stage,
    path: str,
    form: dict[str, str] | bytes,
    *,
    token: str = TOKEN,
    public: str = PUBLIC,
    headers: dict[str, str] | None = None,
) -> httpx.Response:
    pairs = form if isinstance(form, dict) else {}
    signature = RequestValidator(token).compute_signature(public + path, pairs)
    body = urlencode(form).encode() if isinstance(form, dict) else form
    async with httpx.AsyncClient() as client:
        return await client.post(
            it.url + path,
            content=body,
            headers={"X-Twilio-Signature": signature, "Content-Type": FORM} | (headers or {}),
        )


def news(status: str, sequence: int, sid: str = SID) -> dict[str, str]:
    return {"CallSid": sid, "CallStatus": status, "SequenceNumber": str(sequence)}


# -- /voice --------------------------------------------------------------------------------------------------


async def test_who_answers_is_connected() -> None:
    async with stage() as it:
        one = it.book.add(attempt())
        answer = await post(it, f"/voice{QUERY}", {"CallSid": SID, "CallStatus": "in-progress", "Empty": ""})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/xml; charset=utf-8")
        assert answer.text == it.telephony.build_voice_response(one, it.book.urls)
        assert it.book.statuses == ["in_progress"]


@pytest.mark.parametrize("path", ["/voice", "/status"])
async def test_what_is_not_signed_is_turned_away(path: str) -> None:
    async with stage() as it:
        it.book.add(attempt())
        forged = await post(it, path + QUERY, news("busy", 1), token="guessed")
        async with httpx.AsyncClient() as client:
            unsigned = await client.post(f"{it.url}{path}{QUERY}", data=news("busy", 1))
        assert (forged.status_code, unsigned.status_code) == (401, 401)
        assert "token-of" not in forged.text + unsigned.text
        assert it.book.news == []
        assert it.telephony.counters["invalid_signatures"] == 2


async def test_where_signatures_are_not_checked_anybody_may_call() -> None:
    async with stage(validate_signature=False) as it:
        it.book.add(attempt())
        for _ in range(2):
            answer = await post(it, f"/status{QUERY}", news("ringing", 1), token="guessed")
            assert answer.status_code == 200
        assert it.book.statuses == ["dialing"]
        assert it.telephony.counters["replays"] == 1


async def test_without_a_public_address_there_is_nothing_to_connect_with() -> None:
    async with stage() as it:
        it.book.add(attempt())
        it.book.public = ""
        assert (await post(it, f"/voice{QUERY}", {"CallSid": SID})).status_code == 500
        assert (await post(it, f"/status{QUERY}", news("busy", 1))).status_code == 401


async def test_a_call_that_is_not_ours_is_hung_up() -> None:
    async with stage() as it:
        it.book.add(attempt())
        for query in ("?callId=another&attempt=1", "?callId=c0ffee&attempt=2", "", "?callId="):
            answer = await post(it, f"/voice{query}", {"CallSid": SID})
            assert (answer.status_code, answer.text) == (200, HANG_UP)
        assert it.book.news == []


async def test_a_second_call_of_the_same_attempt_is_hung_up() -> None:
    async with stage() as it:
        it.book.add(attempt())
        await post(it, f"/voice{QUERY}", {"CallSid": SID})
        answer = await post(it, f"/voice{QUERY}", {"CallSid": "CA" + "6" * 32})
        assert answer.text == HANG_UP
        assert it.telephony.counters["foreign"] == 1
        assert it.book.statuses == ["in_progress"]


async def test_somebody_answers_although_we_hung_up() -> None:
    async with stage() as it:
        one = it.book.add(attempt())
        await it.telephony.end_call(one, "")
        assert (await post(it, f"/voice{QUERY}", {"CallSid": SID})).text == HANG_UP


async def test_a_store_that_fails_does_not_keep_a_caller_waiting() -> None:
    async with stage() as it:
        it.book.add(attempt())
        it.book.failing = 1
        answer = await post(it, f"/voice{QUERY}", {"CallSid": SID})
        assert "<Stream" in answer.text


async def test_another_providers_call() -> None:
    async with stage() as it:
        answer = await post(it, "/voice?provider=mock&callId=c0ffee", {"CallSid": SID})
        assert answer.status_code == 404


# -- /status -------------------------------------------------------------------------------------------------


async def test_a_call_that_is_not_known_is_answered_like_any() -> None:
    async with stage() as it:
        it.book.add(attempt(number=2))
        for query in ("?callId=nobody", "?callId=c0ffee&attempt=1", ""):
            assert (await post(it, f"/status{query}", news("completed", 3))).status_code == 200
        assert it.book.news == []
        assert it.telephony.counters["unknown_calls"] == 3


async def test_news_of_another_call_are_not_the_attempts() -> None:
    async with stage() as it:
        it.book.add(attempt())
        await post(it, f"/status{QUERY}", news("ringing", 1))
        assert (await post(it, f"/status{QUERY}", news("busy", 2, "CA" + "6" * 32))).status_code == 200
        assert (await post(it, f"/status{QUERY}", {"CallStatus": "busy"})).status_code == 200
        assert it.book.statuses == ["dialing"]
        assert it.telephony.counters["foreign"] == 2


async def test_a_retry_is_answered_and_not_taken_twice() -> None:
    async with stage() as it:
        it.book.add(attempt())
        for _ in range(3):
            assert (await post(it, f"/status{QUERY}", news("ringing", 1))).status_code == 200
        assert it.book.statuses == ["dialing"]
        assert it.telephony.counters["replays"] == 2


async def test_a_retry_of_what_could_not_be_kept_is_taken() -> None:
    async with stage() as it:
        it.book.add(attempt())
        it.book.failing = 1
        assert (await post(it, f"/status{QUERY}", news("ringing", 1))).status_code == 500
        assert (await post(it, f"/status{QUERY}", news("ringing", 1))).status_code == 200
        assert it.book.statuses == ["dialing"]


async def test_callbacks_that_come_at_once_are_taken_in_some_order_and_never_back() -> None:
    async with stage() as it:
        it.book.add(attempt())
        words = ["initiated", "ringing", "in-progress", "completed"]
        await asyncio.gather(*(post(it, f"/status{QUERY}", news(word, n)) for n, word in enumerate(words)))
        assert it.book.statuses[-1] == "completed"
        numbers = [progress.sequence or 0 for _, _, progress in it.book.news]
        assert numbers == sorted(numbers)


async def test_news_that_were_overtaken_are_not_taken() -> None:
    async with stage() as it:
        it.book.add(attempt())
        await post(it, f"/status{QUERY}", news("in-progress", 2))
        await post(it, f"/status{QUERY}", news("ringing", 1))
        assert it.book.statuses == ["in_progress"]
        assert it.telephony.counters["stale"] == 1


async def test_after_the_end_nothing_is_taken() -> None:
    async with stage() as it:
        it.book.forgets = False
        it.book.add(attempt())
        await post(it, f"/status{QUERY}", news("busy", 2))
        await post(it, f"/status{QUERY}", {"CallSid": SID, "AnsweredBy": "machine_start"})
        await post(it, f"/status{QUERY}", news("completed", 3))
        assert it.book.statuses == ["busy"]


async def test_news_are_kept_one_after_another() -> None:
    async with stage() as it:
        it.book.add(attempt())
        it.book.slow = {0: 0.2}
        first = asyncio.create_task(post(it, f"/status{QUERY}", news("initiated", 0)))
        await until(lambda: it.telephony.known.of("c0ffee-1").lock.locked() or it.telephony.known.of("c0ffee-1").sid)
        await asyncio.gather(first, post(it, f"/status{QUERY}", news("in-progress", 1)))
        assert it.book.statuses == ["dialing", "in_progress"]


async def test_an_unknown_word_ends_nothing() -> None:
    async with stage() as it:
        it.book.add(attempt())
        assert (await post(it, f"/status{QUERY}", news("exploded", 1))).status_code == 200
        await post(it, f"/status{QUERY}", news("in-progress", 2))
        assert it.book.statuses == ["in_progress"]


# -- bodies --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/voice", "/status"])
async def test_a_body_has_an_end(path: str) -> None:
    async with stage(Server(body_bytes=1024)) as it:
        it.book.add(attempt())
        assert (await post(it, path + QUERY, {"a": "x" * 1024})).status_code == 413
        assert it.telephony.counters["too_large"] == 1


@pytest.mark.parametrize("body", [b"\xff\xfe", b"", b"a" * 2000, b"&&&===&", b"a=1&" * 1000])
async def test_bodies_that_are_no_form_of_twilios(body: bytes) -> None:
    async with stage() as it:
        it.book.add(attempt())
        assert (await post(it, f"/status{QUERY}", body)).status_code in (200, 401)
        assert it.book.news == []


async def test_what_a_trusted_proxy_says_is_the_address_that_was_signed() -> None:
    server = Server(trusted_proxies=("127.0.0.1/32",), allowed_hosts=("other.example.net",))
    forwarded = {"X-Forwarded-Host": "other.example.net", "X-Forwarded-Proto": "https"}
    async with stage(server) as it:
        it.book.add(attempt())
        body = news("ringing", 1)
        good = await post(it, f"/status{QUERY}", body, public="https://other.example.net", headers=forwarded)
        bad = await post(it, f"/status{QUERY}", body, public="https://evil.example.org",
                         headers=forwarded | {"X-Forwarded-Host": "evil.example.org"})  # fmt: skip
        assert (good.status_code, bad.status_code) == (200, 401)


async def test_only_post() -> None:
    telephony, router = TwilioTelephony(settings(), Server(), Door()), APIRouter()
    telephony.register_routes(router, Book().context())
    async with serving(router) as url, httpx.AsyncClient() as client:
        assert (await client.get(f"{url}/voice")).status_code == 405
        assert (await client.get(f"{url}/status")).status_code == 405
    await telephony.close()


# -- the stream ----------------------------------------------------------------------------------------------


async def stream(it: Stage, call_sid: str, account_sid: str, token: str = TOKEN) -> int:
    """The code with which a stream that knows the attempt's token is closed."""
    signature = RequestValidator(token).compute_signature("wss://voice.example.com/voice/stream", {})
    about = {"accountSid": account_sid, "callSid": call_sid, "streamSid": "MZ1",
             "customParameters": {"callId": "c0ffee", "token": "token-of-c0ffee-1"}}  # fmt: skip
    url = it.url.replace("http", "ws") + "/voice/stream"
    async with connect(url, additional_headers={"X-Twilio-Signature": signature}) as socket:
        await socket.send(json.dumps({"event": "start", "streamSid": "MZ1", "start": about}))
        await socket.send(json.dumps({"event": "stop", "streamSid": "MZ1", "stop": {}}))
        await socket.wait_closed()
    assert socket.close_code is not None
    return socket.close_code


async def test_a_stream_must_be_of_the_attempts_call_and_our_account() -> None:
    async with stage() as it:
        it.book.add(attempt())
        await post(it, f"/voice{QUERY}", {"CallSid": SID})
        assert await stream(it, "CA" + "6" * 32, ACCOUNT) == 1008
        assert await stream(it, SID, "AC" + "0" * 32) == 1008
        assert await stream(it, SID, ACCOUNT) == 1000
        with pytest.raises(InvalidStatus) as refused:
            await stream(it, SID, ACCOUNT, "guessed")
        assert refused.value.response.status_code == 401
