"""The operator's API, over real HTTP: what is asked for comes to the desk, and what is wrong is told."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openapi_spec_validator import validate

from ai_engine.jobs.request import CallRequest
from ai_engine.jobs.settings import Manners
from ai_engine.jobs.status import Status
from tests.fakes.call_desk import MemoryDesk
from tests.fakes.front_door import FrontDoor, front_door

BOOKING = {"to": "+14155550123", "goal": "a haircut", "durationMinutes": 30}
HINT = "open http://127.0.0.1/mock to start"


@pytest.fixture
async def door() -> AsyncIterator[FrontDoor]:
    async with front_door(MemoryDesk(Manners(allowed_prefixes=("+1",)), user_hint=HINT)) as door:
        yield door


@pytest.fixture
async def http(door: FrontDoor) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=door.url, trust_env=False) as http:
        yield http


def problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """Checks that it is one, of RFC 9457."""
    body: dict[str, Any] = response.json()
    assert (response.status_code, body["status"], body["type"]) == (status, status, f"urn:offhook:{kind}")
    assert response.headers["content-type"] == "application/problem+json"
    assert body["title"]
    assert body["detail"]
    return body


async def test_a_call_is_asked_for_and_followed(door: FrontDoor, http: httpx.AsyncClient) -> None:
    placed = await http.post("/calls", json={**BOOKING, "timezone": "Europe/Berlin", "calleeName": "Ada"})
    record = placed.json()
    assert (placed.status_code, placed.headers["location"]) == (202, f"/calls/{record['callId']}")
    assert (record["id"], record["status"], record["userHint"]) == (record["callId"], "queued", HINT)
    assert door.desk.asked == [
        CallRequest(
            to="+14155550123", goal="a haircut", duration_minutes=30, timezone="Europe/Berlin", callee_name="Ada"
        )
    ]

    door.desk.happen(record["id"], Status.DIALING, "dialing")
    shown = (await http.get(placed.headers["location"])).json()
    assert (shown["status"], shown["attempt"], shown["request"]["calleeName"]) == ("dialing", 1, "Ada")
    entries = (await http.get(f"{placed.headers['location']}/timeline")).json()["entries"]
    assert [entry["kind"] for entry in entries] == ["queued", "dialing"]


async def test_calls_are_listed_the_newest_first(door: FrontDoor, http: httpx.AsyncClient) -> None:
    ids = [(await http.post("/calls", json=BOOKING)).json()["callId"] for _ in range(3)]
    door.desk.happen(ids[1], Status.DIALING, "dialing")
    door.desk.settle(ids[1], Status.NO_ANSWER)

    async def listed(**params: str) -> list[str]:
        return [record["id"] for record in (await http.get("/calls", params=params)).json()["calls"]]

    assert await listed() == ids[::-1]
    assert await listed(limit="2") == [ids[2], ids[1]]
    assert await listed(status="no-answer") == [ids[1]]
    assert "there are queued" in problem(await http.get("/calls?status=lost"), 422, "bad-request")["detail"]
    assert "limit" in problem(await http.get("/calls?limit=0"), 422, "bad-request")["detail"]


async def test_a_call_is_canceled(http: httpx.AsyncClient) -> None:
    path = (await http.post("/calls", json=BOOKING)).headers["location"]
    assert (await http.post(f"{path}/cancel")).json()["status"] == "canceled"
    again = await http.post(f"{path}/cancel")
    assert (again.status_code, again.json()["status"]) == (200, "canceled")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/calls/x"), ("GET", "/calls/x/timeline"), ("POST", "/calls/x/cancel")]
)
async def test_a_call_that_is_none(http: httpx.AsyncClient, method: str, path: str) -> None:
    assert "GET /calls" in problem(await http.request(method, path), 404, "no-such-call")["detail"]


async def test_the_rules_of_the_house(http: httpx.AsyncClient) -> None:
    refused = await http.post("/calls", json={**BOOKING, "to": "+4930123456"})
    assert "allowed_prefixes" in problem(refused, 403, "call-refused")["detail"]


WRONG_KEYS: list[tuple[dict[str, Any], str, str]] = [
    ({"durationMinute": 30}, "/durationMinute", "did you mean durationMinutes?"),
    ({"zzz": 1}, "/zzz", "there are to, goal"),
    ({"to": None}, "/to", "valid string"),
    ({"to": "nobody"}, "/to", "write it like +14155550123"),
    ({"timezone": "Berlin"}, "/timezone", "write it like Europe/Berlin"),
    ({"workingHours": {"start": "9"}}, "/workingHours/start", "write it like 09:30"),
    ({"workingHours": {"begin": "9"}}, "/workingHours/begin", "no such key"),
    ({"durationMinutes": 0}, "/durationMinutes", "greater than 0"),
    ({"durationMinutes": None}, "", "durationMinutes is needed"),
    ({"prompt": "Talk."}, "", "either goal"),
    ({"metadata": {"deep": [[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}}, "/metadata", "deeper"),
]


async def test_a_wrong_key_is_named(door: FrontDoor, http: httpx.AsyncClient) -> None:
    for change, pointer, says in WRONG_KEYS:
        body = problem(await http.post("/calls", json={**BOOKING, **change}), 422, "bad-request")
        assert [one["pointer"] for one in body["errors"]] == [pointer]
        assert says in body["detail"]
        assert says in body["errors"][0]["detail"]
    assert door.desk.asked == []


async def test_a_message_does_not_say_all_that_was_sent(http: httpx.AsyncClient) -> None:
    response = await http.post("/calls", json={**BOOKING, "to": "x" * 100_000, "y" * 100_000: 1})
    assert len(response.content) < 3000


NO_REQUESTS = [
    (b"", 422),
    (b"{", 400),
    (b"nonsense", 400),
    (b"\xff\xfe", 400),
    (b"[" * 100_000, 400),
    (b'{"to":' * 20_000, 400),
    (b"[]", 422),
    (b"null", 422),
    (b'{"to": "+1", "prompt": "x", "metadata": {"a": NaN}}', 422),
    (b'{"to": "+1", "prompt": "x", "metadata": {"a": "\\ud800"}}', 422),
    (b'{"to": "+1", "prompt": "\\ud800"}', 422),
    (b'{"to": "+1", "prompt": "x", "metadata": {"a": ' + b"[" * 200 + b"]" * 200 + b"}}", 422),
    (b'{"to": "+1", "goal": "x", "durationMinutes": NaN}', 422),
    (b'{"to": "+1", "goal": "x", "durationMinutes": ' + b"9" * 5000 + b"}", 400),
]


async def test_a_body_that_is_no_request(door: FrontDoor, http: httpx.AsyncClient) -> None:
    for body, status in NO_REQUESTS:
        answer = await http.post("/calls", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == status, body[:100]
        problem(answer, status, "bad-request")
    assert door.desk.asked == []


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
async def test_a_body_that_is_not_said_to_be_json(http: httpx.AsyncClient, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    body = problem(
        await http.post("/calls", content=b'{"to": "+1", "prompt": "x"}', headers=headers), 415, "bad-request"
    )
    assert "application/json" in body["detail"]


async def test_another_method_and_another_path(http: httpx.AsyncClient) -> None:
    wrong = await http.put("/calls", json=BOOKING)
    assert wrong.headers["allow"] in problem(wrong, 405, "bad-request")["detail"]
    assert "/openapi.json" in problem(await http.get("/call"), 404, "bad-request")["detail"]
    assert (await http.get("/docs")).status_code == 404


async def test_a_request_that_is_sent_again(door: FrontDoor, http: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "tuesday"}
    first = await http.post("/calls", json=BOOKING, headers=key)
    again = await http.post("/calls", json=BOOKING, headers=key)
    in_body = await http.post("/calls", json={**BOOKING, "idempotencyKey": "tuesday"})
    assert [one.status_code for one in (first, again, in_body)] == [202, 200, 200]
    assert len({one.json()["callId"] for one in (first, again, in_body)}) == 1
    assert len((await http.get("/calls")).json()["calls"]) == 1


async def test_a_key_that_is_used_for_something_else(http: httpx.AsyncClient) -> None:
    key = {"Idempotency-Key": "tuesday"}
    first = (await http.post("/calls", json=BOOKING, headers=key)).json()["callId"]
    other = await http.post("/calls", json={**BOOKING, "to": "+14155550199"}, headers=key)
    detail = problem(other, 422, "key-reused")["detail"]
    assert first in detail
    assert "another to." in detail
    both = await http.post("/calls", json={**BOOKING, "idempotencyKey": "friday"}, headers=key)
    assert "differ" in problem(both, 422, "bad-request")["detail"]


async def test_without_a_key_every_request_is_a_call(http: httpx.AsyncClient) -> None:
    answers = [await http.post("/calls", json=BOOKING) for _ in range(2)]
    assert [one.status_code for one in answers] == [202, 202]
    assert len({one.json()["callId"] for one in answers}) == 2


async def test_a_desk_with_a_defect(monkeypatch: pytest.MonkeyPatch, door: FrontDoor, http: httpx.AsyncClient) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the database's own secret")

    monkeypatch.setattr(door.desk, "status", fail)
    response = await http.get("/calls/x")
    assert "secret" not in problem(response, 500, "failed")["detail"]


async def test_the_openapi_document(http: httpx.AsyncClient) -> None:
    document = (await http.get("/openapi.json")).json()
    validate(document)
    assert set(document["paths"]) == {
        "/health",
        "/calls",
        "/calls/{callId}",
        "/calls/{callId}/timeline",
        "/calls/{callId}/cancel",
    }
    place = document["paths"]["/calls"]["post"]
    assert place["summary"]
    assert "userHint" in place["description"]
    assert {"200", "202", "401", "403", "413", "415", "422", "429"} <= set(place["responses"])
    assert place["security"]
    request = document["components"]["schemas"]["CallRequest"]
    assert all(field.get("description") for field in request["properties"].values())
