"""An appointment made by voice, with the embedded models and no language model, over a real WebSocket."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from local_ai_server.workers import WorkerPool
from tests.local_ai_server.booking_agent import BOOKED, FREE, TAKEN, definition
from tests.local_ai_server.serving import Client, calling, kinds, serving, words

pytestmark = pytest.mark.asyncio(loop_scope="module")

START = {"tools": []}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[WorkerPool]:
    async with WorkerPool(1, "pocketsphinx", "flite") as pool:
        yield pool


@pytest_asyncio.fixture(loop_scope="module")
async def address(pool: WorkerPool) -> AsyncIterator[str]:
    async with serving(pool) as (_, address):
        yield address


async def asked(client: Client) -> dict[str, Any]:
    """The tool a reply asks for."""
    said = await client.until("reply_end")
    assert kinds(said)[-2:] == ["tool", "reply_end"]
    return said[-2]


async def told(client: Client, tool: dict[str, Any], result: dict[str, Any]) -> list[dict[str, Any]]:
    """What is said when ``tool`` came to ``result``."""
    await client.send("tool_result", id=tool["id"], result=result)
    return await client.until("reply_end")


async def test_a_taken_time_another_one_and_a_yes(address: str) -> None:
    async with calling(address, START, **definition()) as client:
        await client.turn(1, "can i come on tuesday at ten")
        tool = await asked(client)
        assert (tool["name"], tool["arguments"]) == ("calendar_check_slot", {"day": "tuesday", "time": "ten"})
        assert tool["goes_on"]
        said = await told(client, tool, TAKEN)
        assert "I can offer Tuesday at ten thirty, or Tuesday at eleven." in words(said, "clause")
        await client.turn(2, "the second one")
        tool = await asked(client)
        assert tool["arguments"] == {"start": "2026-03-10T11:00:00+01:00"}
        await told(client, tool, FREE)
        await client.turn(3, "yes please")
        tool = await asked(client)
        assert tool["name"] == "calendar_create_event"
        said = await told(client, tool, BOOKED)
    assert words(said, "clause").startswith("It is booked, Tuesday, March tenth, at ten.")
    assert (said[-2]["name"], said[-2]["goes_on"]) == ("hangup", False)


async def test_a_brief_yes_or_no_is_answered_only_where_it_means_something(address: str) -> None:
    async with calling(address, START, **definition()) as client:
        await client.turn(1, "no", brief=True)
        assert (await client.until("final"))[-1]["text"] == "no"
        assert [m["turn"] for m in await client.settled() if m["type"] == "reply"] == [None]
        await client.turn(2, "can i come on tuesday at ten")
        await told(client, await asked(client), FREE)
        await client.turn(3, "no", brief=True)
        assert "Which other day and time would suit you?" in words(await client.until("reply_end"), "clause")


async def test_what_came_of_it_is_told_after_a_cough(address: str) -> None:
    async with calling(address, START, **definition()) as client:
        await client.send("text", turn=1, text="can i come on tuesday at ten")
        tool = await asked(client)
        await client.send("turn_begin", turn=2)
        await client.send("tool_result", id=tool["id"], result=FREE)
        await client.send("turn_end", turn=2)
        assert words(await client.until("reply_end"), "clause").startswith("That is free.")


async def test_a_client_that_keeps_the_conversation_is_told_what_came_of_it(address: str) -> None:
    history = [["caller", "can i come on tuesday at ten"], ["tool", 'calendar_check_slot({}) -> {"available": true}']]
    async with calling(address, {"parts": ["llm"], **START}, **definition()) as client:
        await client.send("text", turn=1, text="", context={"history": history})
        assert words(await client.until("reply_end"), "token").startswith("That is free.")
