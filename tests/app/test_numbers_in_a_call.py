"""Who gets a caller that dialled one of our numbers, and what an agent in its own words is told."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ai_engine.app.calls import CallFactory
from ai_engine.app.live_config import LiveConfig
from ai_engine.app.numbers import Numbers
from ai_engine.app.outbound import Outbound
from ai_engine.app.sound import Sound
from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.stasis import AriApp
from ai_engine.ari.transport import AriSettings
from ai_engine.config import load
from ai_engine.jobs.ports import Assignment
from ai_engine.protocol.abilities import Abilities
from ai_engine.session.call_session import CallSession
from ai_engine.session.ports import Briefing
from ai_engine.session.registry import Registry
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.store import NumberStore
from tests.fakes.fake_asterisk import FakeAsterisk
from tests.waiting import until

SECRETS = {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish", "OPENAI_API_KEY": "sk-1"}
SALES = "+15550100"
QUIET = "+15550199"
CONFIG: dict[str, Any] = {
    "default_agent": "reception",
    "agents": {
        "reception": {"greeting": "Reception."},
        "sales": {"greeting": "Hello {customer}, you reached {did}.", "prompt": "Sell {product}.", "provider": "local"},
    },
    "call_agent": {"telephony": {"provider": "asterisk"}, "openai": {}},
    "studio": {"context": "our-numbers"},
}


@dataclass
class Hall:
    """Where callers arrive."""

    asterisk: FakeAsterisk
    factory: CallFactory
    arrived: "asyncio.Queue[AriCallControl]"

    async def caller(self, *arguments: str) -> AriCallControl:
        self.asterisk.enter("caller", *arguments)
        async with asyncio.timeout(5):
            return await self.arrived.get()

    async def session(self, control: AriCallControl) -> CallSession:
        return await self.factory.make(control)

    async def briefing(self, *arguments: str, assignment: Assignment | None = None) -> Briefing:
        control = await self.caller(*arguments)
        control.assignment = assignment
        return (await self.session(control))._briefing


@pytest.fixture
async def hall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Hall]:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(json.dumps(CONFIG))
    config = load(tmp_path / "config.yaml", SECRETS, None)
    assert config.call_agent is not None
    store = NumberStore(tmp_path, {})
    store.add(SipNumber(number=SALES, address="sip.example", inbound_agent="sales"))
    store.add(SipNumber(number=QUIET, address="sip.example"))
    numbers = Numbers(store)
    numbers.refresh()
    outbound = Outbound(config, config.call_agent, "test", numbers)
    factory = CallFactory(LiveConfig(config), Sound(config, Abilities, lambda _: None), [], {}, outbound)
    arrived: asyncio.Queue[AriCallControl] = asyncio.Queue()
    async with FakeAsterisk() as asterisk:
        app = AriApp(AriSettings(asterisk.url, asterisk.username, asterisk.password), arrived.put_nowait)
        running = asyncio.create_task(app.run())
        await until(lambda: app.connected)
        yield Hall(asterisk, factory, arrived)
        await app.close()
        await running
    factory.close()


async def test_whoever_dials_a_number_gets_its_agent(hall: Hall) -> None:
    briefing = await hall.briefing(f"number={QUIET}", "did=0015550100")
    assert (briefing.agent_name, briefing.dialled, briefing.facts["did"]) == ("sales", SALES, SALES)
    assert briefing.greeting == f"Hello {{customer}}, you reached {SALES}."


async def test_the_dialplan_may_name_another_agent(hall: Hall) -> None:
    briefing = await hall.briefing("agent=reception", f"number={SALES}", f"did={SALES}")
    assert briefing.agent_name == "reception"


async def test_a_dialplan_that_knows_of_no_numbers_is_as_it_was(hall: Hall) -> None:
    briefing = await hall.briefing("did=300")
    assert (briefing.agent_name, briefing.dialled) == ("reception", "300")


@pytest.mark.parametrize("arguments", [(f"number={SALES}", "did=+15550123"), (f"number={QUIET}", "did="), ("number=",)])
async def test_a_number_nobody_answers_is_refused_in_the_dialplan(hall: Hall, arguments: tuple[str, ...]) -> None:
    registry = Registry(hall.factory.make, hall.factory.settings)
    registry.admit(await hall.caller(*arguments))
    await until(lambda: registry.totals.get("not_for_us") == 1)
    await hall.asterisk.wait_until(lambda: "/ari/channels/caller/continue" in hall.asterisk.paths("POST"))
    [sent_on] = [seen for seen in hall.asterisk.requests if seen.path.endswith("/continue")]
    assert sent_on.query == {"context": "our-numbers", "extension": "unknown", "priority": "1"}
    assert not [path for path in hall.asterisk.paths("POST") if path.endswith("/answer")]
    assert registry.totals["failed"] == 0


async def test_an_agent_in_its_own_words(hall: Hall) -> None:
    errand = Assignment(
        "c1",
        1,
        "sales",
        facts={"customer": "{product}", "product": "tractors"},
        greeting="I am a machine.",
        own_words=True,
        instructions="You have called somebody.",
    )
    briefing = await hall.briefing(assignment=errand)
    assert briefing.greeting == "I am a machine. Hello {product}, you reached {did}."
    assert briefing.prompt == "Sell tractors.\nYou have called somebody."


@pytest.mark.parametrize(("own_words", "provider"), [(True, "local"), (False, "call_agent_openai")])
async def test_an_agent_in_its_own_words_is_run_by_its_own_provider(hall: Hall, own_words: bool, provider: str) -> None:
    control = await hall.caller()
    control.assignment = Assignment("c1", 1, "sales", own_words=own_words)
    assert (await hall.session(control))._candidates[0].name == provider
