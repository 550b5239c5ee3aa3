"""Who may ask for calls, over real HTTP."""

import asyncio
from collections.abc import Mapping

import httpx
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from ai_engine.web.doorkeeper import Doorkeeper
from ai_engine.web.problems import Problem
from tests.fakes.front_door import TOKEN, front_door
from tests.waiting import until

REQUEST = {"to": "+14155550123", "prompt": "Say hello."}
OPEN = [("GET", "/calls"), ("GET", "/calls/x"), ("POST", "/calls"), ("POST", "/calls/x/cancel"), ("POST", "/mcp")]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def ask(url: str, method: str, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    body = REQUEST if method == "POST" else None
    async with httpx.AsyncClient(base_url=url, trust_env=False) as http:
        return await http.request(method, path, json=body, headers=headers)


async def test_nobody_passes_without_a_token() -> None:
    async with front_door(tokens=[TOKEN]) as door:
        for method, path in OPEN:
            response = await ask(door.url, method, path)
            assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Bearer realm="offhook"')
            assert "CALL_AGENT_TOKEN" in response.json()["detail"]
        assert door.desk.asked == []


async def test_who_may_not_ask_is_told_before_the_body_is_looked_at() -> None:
    async with front_door(tokens=[TOKEN]) as door, httpx.AsyncClient(trust_env=False) as http:
        assert (await http.post(f"{door.url}/calls", content=b"nonsense")).status_code == 401


@pytest.mark.parametrize("token", [TOKEN, "another-token-of-the-engine"])
async def test_every_token_of_several_is_good(token: str) -> None:
    async with front_door(tokens=[TOKEN, "another-token-of-the-engine"]) as door:
        for scheme in ("Bearer", "bearer"):
            headers = {"Authorization": f"{scheme} {token}"}
            assert (await ask(door.url, "POST", "/calls", headers)).status_code == 202


@pytest.mark.parametrize("token", ["guess-7", TOKEN + "x", TOKEN[:-1], TOKEN.upper()])
async def test_a_wrong_token(token: str) -> None:
    with capture_logs() as logs:
        async with front_door(tokens=[TOKEN]) as door:
            response = await ask(door.url, "POST", "/calls", {"Authorization": f"Bearer {token}"})
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith('Bearer realm="offhook"')
            assert door.server.turned_away == {"wrong_token": 1}
            assert door.desk.asked == []
    assert [entry["reason"] for entry in logs] == ["wrong token"]
    assert token not in repr(logs)


@pytest.mark.parametrize("given", ["Basic dXNlcjpwYXNz", TOKEN, f"Bearer{TOKEN}"])
async def test_what_is_no_bearer_token(given: str) -> None:
    async with front_door(tokens=[TOKEN]) as door:
        assert (await ask(door.url, "GET", "/calls", {"Authorization": given})).status_code == 401


async def test_an_empty_token_is_none() -> None:
    async with front_door(tokens=[""]) as door:
        assert (await ask(door.url, "GET", "/calls")).status_code == 200
    async with front_door(tokens=["", TOKEN]) as door:
        assert (await ask(door.url, "GET", "/calls", {"Authorization": "Bearer"})).status_code == 401


async def test_guessing_is_slow_and_shuts_nobody_out_for_long() -> None:
    keeper = Doorkeeper([SecretStr(TOKEN)], penance_seconds=60)
    guesses = [asyncio.create_task(keeper.admit(_scope("10.0.0.9", bearer("wrong")))) for _ in range(20)]
    await until(lambda: sum(guess.done() for guess in guesses) == 12)
    assert {_status(guess) for guess in guesses if guess.done()} == {429}
    with pytest.raises(Problem) as met:  # not even looked at, so that nobody learns whether it is right
        await keeper.admit(_scope("10.0.0.9", bearer(TOKEN)))
    assert (met.value.status, met.value.headers) == (429, {"Retry-After": "1"})
    await keeper.admit(_scope("10.0.0.10", bearer(TOKEN)))
    keeper.close()
    await asyncio.wait(guesses)
    assert sorted(_status(guess) for guess in guesses) == [401] * 8 + [429] * 12
    await keeper.admit(_scope("10.0.0.9", bearer(TOKEN)))
    assert keeper.turned_away == {"wrong_token": 8, "too_many": 13}


async def test_a_stale_token_shuts_nobody_else_out() -> None:
    keeper = Doorkeeper([SecretStr(TOKEN)], penance_seconds=60)
    stale = asyncio.create_task(keeper.admit(_scope("127.0.0.1", bearer("wrong"))))
    await until(lambda: keeper.turned_away["wrong_token"])
    await keeper.admit(_scope("127.0.0.1", bearer(TOKEN)))
    keeper.close()
    await asyncio.wait([stale])
    assert _status(stale) == 401


@pytest.mark.parametrize(
    ("peer", "told", "another", "shut_out"),
    [
        ("127.0.0.1", "203.0.113.1", "203.0.113.2", False),  # through a tunnel: two people
        ("127.0.0.1", "203.0.113.1", "203.0.113.1", True),
        ("10.0.0.1", "203.0.113.1", "203.0.113.2", False),  # through a trusted proxy
        ("10.0.0.1", "::ffff:203.0.113.1", "::ffff:203.0.113.2", False),  # one socket for both kinds
        ("10.0.0.1", "spoofed, 203.0.113.1", "other, 203.0.113.1", True),  # what the proxy itself saw counts
        ("10.9.9.9", "203.0.113.1", "203.0.113.2", True),  # who is not trusted may say what they like
        ("10.0.0.1", "nonsense", "rubbish", True),
    ],
)
async def test_whose_guesses_they_are(peer: str, told: str, another: str, shut_out: bool) -> None:
    keeper = Doorkeeper([SecretStr(TOKEN)], ["10.0.0.1/32"], penance_seconds=60)
    headers = {**bearer("wrong"), "X-Forwarded-For": told}
    guesses = [asyncio.create_task(keeper.admit(_scope(peer, headers))) for _ in range(8)]
    await until(lambda: keeper.turned_away["wrong_token"] == 8)
    right = keeper.admit(_scope(peer, {**bearer(TOKEN), "X-Forwarded-For": another}))
    if shut_out:
        with pytest.raises(Problem):
            await right
    else:
        await right
    keeper.close()
    await asyncio.wait(guesses)
    assert all(guess.exception() for guess in guesses)


async def test_one_network_of_ipv6_is_one_customer() -> None:
    keeper = Doorkeeper([SecretStr(TOKEN)], penance_seconds=60)
    guesses = [asyncio.create_task(keeper.admit(_scope(f"2001:db8::{n:x}", bearer("wrong")))) for n in range(9)]
    await until(lambda: keeper.turned_away["too_many"] == 1)
    keeper.close()
    await asyncio.wait(guesses)
    assert all(guess.exception() for guess in guesses)


async def test_without_tokens_this_machine_may_ask() -> None:
    async with front_door() as door:
        port = door.url.rpartition(":")[2]
        for host in (f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}", "localhost"):
            assert (await ask(door.url, "POST", "/calls", {"Host": host})).status_code == 202
        same = {"Host": "localhost:1", "Origin": "http://localhost:1"}
        assert (await ask(door.url, "POST", "/calls", same)).status_code == 202


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "attacker.example"},
        {"Host": "127.0.0.1.attacker.example"},
        {"Host": "localhost.attacker.example:4545"},
        {"Host": "[::1"},
        {"Host": "user@attacker.example"},
        {"Origin": "https://attacker.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"X-Forwarded-For": "127.0.0.1"},
        {"X-Forwarded-Host": "localhost"},
        {"Forwarded": "for=127.0.0.1"},
    ],
)
async def test_without_tokens_others_may_not(headers: dict[str, str]) -> None:
    async with front_door() as door:
        for method, path in OPEN:
            response = await ask(door.url, method, path, headers)
            assert response.status_code == 403
            assert "CALL_AGENT_TOKEN" in response.json()["detail"]
        assert door.server.turned_away == {"not_local": len(OPEN)}
        assert door.desk.asked == []


@pytest.mark.parametrize("peer", ["10.0.0.1", "2001:db8::1", "::ffff:10.0.0.1", ""])
async def test_without_tokens_another_machine_may_not(peer: str) -> None:
    with pytest.raises(Problem) as met:
        await Doorkeeper([]).admit(_scope(peer, {"Host": "localhost"}))
    assert met.value.status == 403


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
async def test_names_of_this_machine(peer: str) -> None:
    await Doorkeeper([]).admit(_scope(peer, {"Host": "localhost"}))


async def test_health_tells_strangers_little() -> None:
    async with front_door(tokens=[TOKEN], snapshot={"calls": {"queued": 3}}) as door:
        assert (await ask(door.url, "GET", "/health")).json() == {"ok": True}
        known = (await ask(door.url, "GET", "/health", bearer(TOKEN))).json()
        assert known == {"ok": True, "calls": {"queued": 3}, "turned_away": {}}
        assert (await ask(door.url, "GET", "/health", bearer("wrong"))).status_code == 401
    async with front_door(snapshot={"calls": {"queued": 3}}) as door:
        assert (await ask(door.url, "GET", "/health")).json()["calls"] == {"queued": 3}
        outside = await ask(door.url, "GET", "/health", {"Host": "offhook.example"})
        assert (outside.status_code, outside.json()) == (200, {"ok": True})


async def test_a_token_that_is_easily_guessed_is_said_so() -> None:
    with capture_logs() as logs:
        Doorkeeper([SecretStr("1234")])
        Doorkeeper([SecretStr(TOKEN)])
    assert [entry["event"] for entry in logs] == ["a token is easily guessed"]
    assert "1234" not in repr(logs)


def _scope(peer: str, headers: Mapping[str, str]) -> dict[str, object]:
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {"type": "http", "path": "/calls", "client": (peer, 40000), "headers": raw}


def _status(guess: "asyncio.Task[None]") -> int:
    problem = guess.exception()
    assert isinstance(problem, Problem)
    return problem.status
