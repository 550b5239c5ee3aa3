"""A provider that failed comes back without a caller who tries it, and nobody waits for one that stalls."""

import asyncio
import gc
import os
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ai_engine.app.engine import App
from ai_engine.app.probes import Probes
from ai_engine.config import load
from ai_engine.errors import ProviderError
from ai_engine.session.ports import Briefing
from ai_engine.session.roster import Breaker, Candidate
from tests.fakes.call_parts import ScriptedAgent
from tests.fakes.tone_agent import Script, ToneAgent
from tests.fakes.virtual_time import run_virtual
from tests.waiting import until

SECONDS = 15.0
START_SECONDS = 1.5
DOWN = ProviderError("nobody is there")
BRIEFING = Briefing("probe", {"name": "a"}, "Hello.", "")


class Provider:
    """What is probed: up, or failing in the way of ``trouble``."""

    def __init__(self, name: str = "one", trouble: ProviderError | None = None) -> None:
        self.name = name
        self.trouble = trouble
        self.start_seconds = 0.0
        self.sessions: list[ScriptedAgent] = []
        self.breaker = Breaker()
        self.candidate = Candidate(name, self._make, self.breaker)

    def _make(self) -> ScriptedAgent:
        agent = ScriptedAgent()
        agent.fails_to_start = self.trouble
        agent.start_seconds = self.start_seconds
        self.sessions.append(agent)
        return agent


def probing(story: Callable[[Probes], Awaitable[None]], *providers: Provider) -> None:
    """Tell ``story`` while ``providers`` are probed, in virtual time; afterwards every session is closed."""

    async def run() -> None:
        clock = asyncio.get_running_loop().time
        candidates = [provider.candidate for provider in providers]
        probes = Probes(candidates, lambda _: BRIEFING, lambda _, text: text, SECONDS, START_SECONDS, clock)
        task = asyncio.create_task(probes.run())
        await story(probes)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()
        assert all(session.closed == 1 for provider in providers for session in provider.sessions)

    run_virtual(run())


def now() -> float:
    return asyncio.get_running_loop().time()


def test_everybody_is_tried_at_the_start_and_left_in_peace_when_they_are_up() -> None:
    one, two = Provider("one"), Provider("two")

    async def story(probes: Probes) -> None:
        assert probes.latest("one") is None
        await asyncio.sleep(100)
        latest = probes.latest("one")
        assert latest is not None
        assert (latest["ok"], latest["reason"]) == (True, "")
        assert latest["at"].endswith("+00:00")
        assert latest["ms"] >= 0

    with capture_logs() as logs:
        probing(story, one, two)
    assert logs == []
    for provider in (one, two):
        [session] = provider.sessions
        assert session.briefings == [BRIEFING]
        assert (session.told, session.heard) == ([], 0), "not a sound"


def test_who_fails_at_the_start_is_warned_of_and_tried_again() -> None:
    one = Provider(trouble=DOWN)

    async def story(probes: Probes) -> None:
        await asyncio.sleep(1.5 * SECONDS)
        assert not one.breaker.is_open(now()), "twice is not three times"
        await asyncio.sleep(1.5 * SECONDS)
        assert one.breaker.is_open(now()), "no caller has to find it out"
        latest = probes.latest("one")
        assert latest is not None
        assert (latest["ok"], latest["reason"]) == (False, "nobody is there")
        one.trouble = None
        await asyncio.sleep(1.3 * SECONDS)
        assert not one.breaker.is_open(now())
        await asyncio.sleep(3 * SECONDS)

    with capture_logs() as logs:
        probing(story, one)
    assert [line["event"] for line in logs] == ["provider opens no session", "provider opens sessions again"], (
        "once each, however often it is tried"
    )
    assert (logs[0]["log_level"], logs[0]["reason"]) == ("warning", "nobody is there")


def test_a_key_that_is_refused_keeps_callers_away_from_the_first_probe_on() -> None:
    one = Provider(trouble=ProviderError("401", 401))

    async def story(probes: Probes) -> None:
        await asyncio.sleep(0.1)
        for _ in range(600):
            assert one.breaker.is_open(now()), "not even between two probes is a caller let through"
            await asyncio.sleep(0.1)
        assert one.breaker.trips == 1

    probing(story, one)
    assert 4 <= len(one.sessions) <= 7


def test_who_was_left_alone_is_back_as_soon_as_a_probe_gets_through() -> None:
    one = Provider()

    async def story(probes: Probes) -> None:
        await asyncio.sleep(1)
        one.trouble = DOWN
        for _ in range(3):
            one.breaker.failed(now(), "gone")
        await asyncio.sleep(1.3 * SECONDS)
        assert one.breaker.is_open(now())
        one.trouble = None
        count = len(one.sessions)
        await asyncio.sleep(1.3 * SECONDS)
        assert len(one.sessions) > count
        assert not one.breaker.is_open(now())
        assert one.breaker.tripped, "it has answered nobody yet"

    probing(story, one)


def test_who_opens_sessions_and_stalls_is_believed_once() -> None:
    one = Provider()

    async def story(probes: Probes) -> None:
        await asyncio.sleep(1)
        let_through = []
        for _ in range(10):  # every caller who comes through is stalled
            while one.breaker.is_open(now()):  # noqa: ASYNC110 - time is what is waited for
                await asyncio.sleep(0.1)
            let_through.append(now())
            one.breaker.failed(now(), "no reply within 4 s")
        early = [after for before, after in pairwise(let_through[2:]) if after - before < 9.9]
        assert len(early) == 1, "all the other probes that worked let nobody through"

    probing(story, one)


def test_a_provider_that_hangs_is_given_up_and_does_not_hold_up_the_others() -> None:
    one, two = Provider("one"), Provider("two")
    one.start_seconds = 3600.0

    async def story(probes: Probes) -> None:
        await asyncio.sleep(START_SECONDS + 0.1)
        latest = probes.latest("one")
        assert latest is not None
        assert latest["reason"] == "it was not ready within 1.5 s"
        assert two.sessions[0].closed == 1
        await asyncio.sleep(0.6 * SECONDS)
        assert len(one.sessions) == 1, "one at a time"

    probing(story, one, two)


def test_a_mistake_in_one_does_not_end_the_probes_of_the_others() -> None:
    one, two = Provider("one"), Provider("two", DOWN)
    one.candidate = Candidate("one", lambda: object(), one.breaker)  # type: ignore[arg-type,return-value]

    async def story(probes: Probes) -> None:
        await asyncio.sleep(3 * SECONDS)
        latest = probes.latest("one")
        assert latest is not None
        assert "AttributeError" in latest["reason"]
        assert len(two.sessions) >= 3

    with capture_logs() as logs:
        probing(story, one, two)
    assert "probe failed" in [line["event"] for line in logs]


# -- in the engine ------------------------------------------------------------------------------------------


@pytest.fixture
def unfreeze() -> Iterator[None]:
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("unfreeze")
@pytest.mark.parametrize("seconds", [0.2, 0])
async def test_the_engine_starts_without_its_provider_and_sees_it_come(tmp_path: Path, seconds: float) -> None:
    server = ToneAgent(Script(()))
    async with server.listening(0) as port:
        pass
    file = tmp_path / "c.yaml"
    file.write_text(
        "default_agent: a\nagents: {a: {}}\nasterisk: {ari_port: 1}\naudiosocket: {port: 0}\n"
        f"recording: {{enabled: false}}\nhealth: {{port: 0, probe_seconds: {seconds}}}\n"
        f"providers: {{local: {{url: 'ws://127.0.0.1:{port}/v1'}}}}\n"
    )
    config = load(file, {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish"})
    app = App(config, lambda: 0)
    running = asyncio.create_task(app.run())
    await until(lambda: app.readiness()["audiosocket"]["up"])

    async def latest() -> Mapping[str, Any]:
        state = await asyncio.to_thread(app.snapshot)
        return state["providers"]["local"]["last_probe"] or {}

    async def comes(*, ok: bool) -> Mapping[str, Any]:
        async with asyncio.timeout(10):
            while (probe := await latest()).get("ok") is not ok:  # noqa: ASYNC110 - it is seen from outside
                await asyncio.sleep(0.02)
        return probe

    if seconds:
        assert "Connect call failed" in (await comes(ok=False))["reason"]
    async with server.listening(port):
        assert (await comes(ok=True))["reason"] == "" if seconds else await latest() == {}
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    assert bool(server.probes) == bool(seconds)
    assert server.sessions == []


def test_who_comes_later_is_probed_and_who_goes_is_not() -> None:
    stays, goes, comes = Provider("stays"), Provider("goes", DOWN), Provider("comes", DOWN)

    async def story(probes: Probes) -> None:
        await asyncio.sleep(1)
        probes.watch([stays.candidate, comes.candidate])
        before = len(goes.sessions)
        await asyncio.sleep(3 * SECONDS)
        assert (len(stays.sessions), before, len(goes.sessions)) == (1, 1, 1)
        assert len(comes.sessions) > 1
        assert (probes.latest("comes") or {})["reason"] == "nobody is there"
        changed = Provider("stays")
        probes.watch([changed.candidate])
        await asyncio.sleep(1)
        assert len(changed.sessions) == 1

    probing(story, stays, goes)
