"""The three questions an operator or a container asks, over real HTTP."""

import asyncio
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from ai_engine.observe.health import HealthServer, Heartbeat
from ai_engine.observe.office import Office

UP: dict[str, Any] = {"ari": {"up": True}, "audiosocket": {"up": True}, "calls": 2}
Ask = Callable[[str], tuple[int, dict[str, Any]]]


@pytest.fixture
def office() -> Iterator[Office]:
    office = Office()
    yield office
    office.close()


def get(port: int, path: str) -> tuple[int, dict[str, Any]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.fixture
def serve(office: Office) -> Iterator[Callable[..., Ask]]:
    servers: list[HealthServer] = []

    def begin(
        snapshot: Callable[[], dict[str, Any]],
        heartbeat: Heartbeat | None = None,
        stuck: float = 5.0,
        ready: Callable[[], dict[str, Any]] | None = None,
    ) -> Ask:
        server = HealthServer(
            *("127.0.0.1", 0, snapshot, ready or snapshot, heartbeat or Heartbeat()),
            version="1.2.3",
            stuck_seconds=stuck,
        )
        servers.append(server)
        office.submit(server.start()).result(5)
        return lambda path: get(server.port, path)

    yield begin
    for server in servers:
        office.submit(server.stop()).result(5)


def test_all_is_well(serve: Callable[..., Ask]) -> None:
    ask = serve(lambda: UP)
    assert ask("/live") == (200, {"live": True, "reasons": []})
    assert ask("/ready") == (200, {"ready": True, "reasons": []})
    status, state = ask("/health")
    assert status == 200
    assert (state["status"], state["version"], state["calls"]) == ("ok", "1.2.3", 2)
    assert state["uptime_seconds"] >= 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ari": {"up": False, "error": "connection refused"}}, "ari: connection refused"),
        ({"audiosocket": {"up": False}}, "audiosocket: down"),
        ({"ari": {}}, "ari: down"),
    ],
)
def test_not_ready_says_why(serve: Callable[..., Ask], change: dict[str, Any], reason: str) -> None:
    ask = serve(lambda: UP | change)
    assert ask("/live")[0] == 200
    assert ask("/ready") == (503, {"ready": False, "reasons": [reason]})
    status, state = ask("/health")
    assert (status, state["status"], state["reasons"]) == (503, "degraded", [reason])


def test_provider_down_does_not_stop_calls_from_coming(serve: Callable[..., Ask]) -> None:
    ask = serve(lambda: UP | {"provider": {"up": False}})
    assert ask("/ready")[0] == 200
    assert ask("/health")[1]["provider"] == {"up": False}


def test_stuck_call_loop_is_not_alive(serve: Callable[..., Ask]) -> None:
    heartbeat = Heartbeat()
    ask = serve(lambda: UP, heartbeat, stuck=0.05)
    deadline = time.monotonic() + 5
    while (answer := ask("/live"))[0] == 200 and time.monotonic() < deadline:
        pass
    assert answer[0] == 503
    assert "the call loop has not turned" in answer[1]["reasons"][0]
    assert ask("/ready")[0] == 503


async def test_heart_beats_with_its_loop() -> None:
    heartbeat = Heartbeat()
    blocked = time.monotonic() + 0.1
    while time.monotonic() < blocked:  # the loop is stuck
        pass
    assert heartbeat.age >= 0.1
    task = asyncio.create_task(heartbeat.run(60))
    await asyncio.sleep(0)  # the loop turns
    assert heartbeat.age < 0.1
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def test_live_and_ready_answer_while_a_snapshot_hangs(serve: Callable[..., Ask]) -> None:
    asked, go_on = threading.Event(), threading.Event()

    def hang() -> dict[str, Any]:
        asked.set()
        assert go_on.wait(10)
        return UP

    ask = serve(hang, ready=lambda: UP)
    other = threading.Thread(target=ask, args=("/health",))
    other.start()
    assert asked.wait(5)
    assert ask("/live")[0] == 200
    assert ask("/ready")[0] == 200
    go_on.set()
    other.join(5)


def test_port_that_is_taken(office: Office) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = HealthServer("127.0.0.1", taken.getsockname()[1], lambda: UP, lambda: UP, Heartbeat())
        with pytest.raises(OSError, match="in use"):
            office.submit(server.start()).result(5)
