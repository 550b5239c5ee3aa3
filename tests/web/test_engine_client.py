"""The client of our own API, where what answers is no engine, or another one."""

from typing import Any

import pytest

from ai_engine.jobs.request import CallRequest
from ai_engine.web.client import EngineClient, EngineUnreachable
from tests.fakes.front_door import front_door
from tests.fakes.tool_servers import HttpTarget, Reply


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(body={"calls": [{"id": 7}]}), "another version"),
        (Reply(body={}), "another version"),
        (Reply(body=[]), "no engine"),
        (Reply(raw=b"<html>", content_type="text/html"), "no engine"),
        (Reply(404, {"error": "not found"}), "no engine"),
        (Reply(500, {"type": "urn:offhook:of-the-future", "detail": "?"}), "no engine"),
        (Reply(302, location="http://127.0.0.1:9/calls"), "no engine"),
    ],
)
async def test_what_answers_is_no_engine(reply: Reply, says: str) -> None:
    async with HttpTarget({"/calls": reply}).listening() as target, EngineClient(target.url) as engine:
        with pytest.raises(EngineUnreachable, match=says):
            await engine.calls()
        assert len(target.requests) == 1


async def test_it_does_not_wait_for_ever() -> None:
    slow = HttpTarget({"/calls": Reply(delay_seconds=60)})
    async with slow.listening() as target, EngineClient(target.url, timeout_seconds=0.05) as engine:
        with pytest.raises(EngineUnreachable, match="ReadTimeout"):
            await engine.calls()


async def test_the_environment_is_not_its_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    async with front_door() as door, EngineClient(door.url + "/") as engine:
        await engine.check()


async def test_all_of_a_request_arrives() -> None:
    fields: dict[str, Any] = {
        "to": "+1",
        "prompt": "Ask.",
        "metadata": {"a": None},
        "idempotencyKey": "k",
        "locale": "en",
    }
    request = CallRequest.model_validate(fields)
    async with front_door() as door, EngineClient(door.url) as engine:
        record = await engine.call_agent(request)
        assert door.desk.asked == [request]
        assert record == await engine.status(record.id)
        assert list(await engine.timeline(record.id)) == list(await door.desk.timeline(record.id))
        assert list(await engine.timeline("nobody")) == []
