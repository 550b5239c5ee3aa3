"""Tools after a call: tried again when they fail, given up when the engine stops, and nobody waits for them."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from ai_engine.app.after_call import AfterCall
from ai_engine.call.events import AgentStarted
from ai_engine.remote.http import SharedHttp
from ai_engine.tools.http import HttpTool
from ai_engine.tools.http_settings import HttpToolSettings
from tests.fakes.tool_servers import HttpTarget, Reply
from tests.waiting import until

FACTS = {"agent": "a", "caller": "+15551234", "dialled": "100", "channel": "c1", "provider": "local"}
LINES = [{"speaker": "caller", "text": "Hi.", "at": 1.0}, {"speaker": "agent", "text": "Hello.", "at": 2.0}]


class Office:
    """``used`` is what came of each attempt."""

    def __init__(self, target: HttpTarget, http: SharedHttp) -> None:
        self.target = target
        self.used: list[bool] = []
        settings = HttpToolSettings(
            description="Report.",
            when="post_call",
            method="POST",
            url=f"{target.url}/report",
            body={
                "said": "{transcript}",
                "turns": "{turns}",
                "who": "{caller}",
                "took": "{duration_seconds}",
                "by": "{provider}",
            },
        )
        tool = HttpTool("report", settings, {}, http)
        self.after = AfterCall({"a": [tool]}, self._note, waits_seconds=(0.01, 0.01))

    def _note(self, name: str, result: Mapping[str, Any]) -> None:
        assert name == "report"
        self.used.append(result["ok"])

    def end_call(self, call_id: str = "call-1", agent: str = "a") -> None:
        self.after.call_started(call_id, {**FACTS, "agent": agent}, 10.0)
        self.after.transcript(call_id, LINES)
        self.after.call_ended(call_id, "caller_hung_up", 72.4)


@asynccontextmanager
async def office(*replies: Reply) -> AsyncIterator[Office]:
    http = SharedHttp()
    target = HttpTarget({"/report": list(replies)})
    async with target.listening():
        yield Office(target, http)
        await http.close()


async def test_what_is_told() -> None:
    async with office(Reply()) as tried:
        tried.end_call()
        assert tried.target.requests == [], "nobody waited"
        await until(lambda: tried.used == [True])
    assert tried.target.requests[0].json == {
        "said": "caller: Hi.\nagent: Hello.",
        "turns": [{"speaker": "caller", "text": "Hi."}, {"speaker": "agent", "text": "Hello."}],
        "who": "+15551234",
        "took": 62,
        "by": "local",
    }


async def test_the_provider_is_the_one_who_held_the_call_at_its_end() -> None:
    async with office(Reply()) as tried:
        tried.after.call_started("call-1", FACTS, 10.0)
        tried.after.happened("call-1", AgentStarted("spare"), 11.0)
        tried.after.happened("call-2", AgentStarted("nobody's"), 11.0)
        tried.after.call_ended("call-1", "caller_hung_up", 20.0)
        await until(lambda: tried.used == [True])
    assert tried.target.requests[0].json["by"] == "spare"


async def test_it_is_tried_three_times() -> None:
    async with office(Reply(503), Reply(503), Reply(), Reply(503)) as tried:
        tried.end_call()
        await until(lambda: tried.used == [False, False, True])
        tried.end_call("call-2")
        await until(lambda: tried.used[3:] == [False, False, False])
        await until(lambda: not tried.after.pending)
        assert len(tried.target.requests) == 6


async def test_other_agents_tell_nobody() -> None:
    async with office(Reply()) as tried:
        tried.end_call(agent="b")
        assert tried.after.pending == 0


async def test_the_engine_waits_a_little_when_it_stops() -> None:
    async with office(Reply(delay_seconds=0.1), Reply(delay_seconds=30)) as tried:
        tried.end_call()
        await tried.after.drain(5.0)
        assert tried.used == [True]
        tried.end_call("call-2")
        await until(lambda: len(tried.target.requests) == 2)
        await tried.after.drain(0.05)
        assert (tried.used, tried.after.pending) == ([True], 0)
        await tried.after.drain(5.0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
