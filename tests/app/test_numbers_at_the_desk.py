"""A number that is imported while the engine runs is a way out, and one that is removed is none."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import httpx
import pytest

from ai_engine.app.numbers import Numbers
from ai_engine.app.outbound import Outbound
from ai_engine.ari.dialer import Dialer
from ai_engine.config import EngineConfig, load
from ai_engine.jobs.dialing import DialOrder
from ai_engine.transports.media_stream_door import MediaStreamDoor
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.store import NumberStore
from scripts.trial.programs import free_port
from tests.waiting import until

SECRETS = {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish"}
NUMBER = "+15550100"


class Telephones:
    """Implements ``DialerPort``: everything rings for ever."""

    def __init__(self) -> None:
        self.created: list[tuple[str, str, str]] = []
        self.orders: list[DialOrder] = []

    async def create(
        self, channel_id: str, dial_string: str, number: str, caller_id: str, headers: Mapping[str, str]
    ) -> None:
        self.created.append((dial_string, number, caller_id))

    async def dial(self, channel_id: str, order: DialOrder) -> None:
        self.orders.append(order)

    async def adopt(self, channel_id: str, order: DialOrder) -> None:
        raise AssertionError("nothing was dialled before")

    async def hang_up(self, channel_id: str) -> None:
        """Nobody talks."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> EngineConfig:
    monkeypatch.chdir(tmp_path)
    section = {"telephony": {"provider": "asterisk"}, "server": {"port": free_port()}, "manners": {"windows": []}}
    document = {"call_agent": section, "studio": {}, "agents": {"sales": {}}, "default_agent": "sales"}
    Path("config.yaml").write_text(json.dumps(document))
    return load(Path("config.yaml"), SECRETS, None)


async def test_a_number_comes_and_goes(config: EngineConfig, tmp_path: Path) -> None:
    assert config.call_agent is not None
    telephones, store = Telephones(), NumberStore(tmp_path, {})
    outbound = Outbound(config, config.call_agent, "test", Numbers(store))
    request = {"to": "+4930123456", "ownWords": True, "trunk": NUMBER, "ringSeconds": 7}
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{config.call_agent.server.port}") as http:
        try:
            await outbound.open(cast(Dialer, telephones), cast(MediaStreamDoor, None), list)
            refused = await http.post("/calls", json=request)
            assert (refused.status_code, refused.json()["detail"]) == (
                403,
                f"there is no trunk '{NUMBER}' (known: none)",
            )

            await asyncio.to_thread(store.add, SipNumber(number=NUMBER, address="sip.example"))
            await until(lambda: NUMBER in outbound.trunks())
            assert (await http.post("/calls", json=request)).status_code == 202
            await until(lambda: bool(telephones.orders))
            assert telephones.created == [(f"PJSIP/+4930123456@studio-{NUMBER[1:]}", "+4930123456", NUMBER)]
            [order] = telephones.orders
            assert (order.caller_id, order.ring_seconds, order.assignment.own_words) == (NUMBER, 7, True)

            await asyncio.to_thread(store.remove, NUMBER)
            await until(lambda: not outbound.trunks())
            assert (await http.post("/calls", json=request)).status_code == 403
        finally:
            await outbound.close()
