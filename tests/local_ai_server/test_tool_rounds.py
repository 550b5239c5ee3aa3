"""A model that uses tools: it asks, is told what came of it, and goes on."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from local_ai_server.agent import Agent
from local_ai_server.llm.base import Act, Piece
from local_ai_server.llm.intents import Intents
from local_ai_server.tools import OWN, Tools
from local_ai_server.workers import WorkerPool
from tests.local_ai_server.serving import Client, calling, kinds, serving, words

pytestmark = pytest.mark.asyncio(loop_scope="module")

LOOK_UP = {"name": "look_up", "description": "Looks things up.", "parameters": {"type": "object"}}
TOOLS = {"tools": [LOOK_UP]}
ASKED = {"type": "tool", "id": "tool-1", "name": "look_up", "arguments": {"what": "hours"}, "goes_on": True}


class Clerk(Intents):
    """Looks up whatever it is asked, and says what it was told."""

    def __init__(self) -> None:
        self.given: list[tuple[str, tuple[tuple[str, str], ...], Tools]] = []

    async def answer(
        self, agent: Agent, record: tuple[tuple[str, str], ...], tools: Tools = OWN
    ) -> AsyncGenerator[Piece, None]:
        self.given.append((agent.prompt, record, tools))
        if record[-1][0] == "tool" and "again" not in record[-1][1]:
            yield f"It says {record[-1][1]}"
        elif tools:
            yield "One moment."
            yield Act("look_up", {"what": "hours"})
        else:
            yield "I give up."


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[WorkerPool]:
    async with WorkerPool(1, "pocketsphinx", "flite") as pool:
        yield pool


async def asked(client: Client, turn: int = 1) -> str:
    """The id of the tool a typed turn is answered with."""
    await client.send("text", turn=turn, text="when are you open")
    said = await client.until("reply_end")
    assert kinds(said)[-2:] == ["tool", "reply_end"]
    return str(said[-2]["id"])


async def test_it_goes_on_when_it_knows_what_came_of_it(pool: WorkerPool) -> None:
    async with serving(pool, clerk := Clerk()) as (_, address), calling(address, TOOLS) as client:
        await client.send("text", turn=1, text="when are you open")
        said = await client.until("reply_end")
        assert {**ASKED, "reply": 1} in said
        await client.send("tool_result", id="tool-1", result={"ok": True, "open": "nine"})
        told = await client.until("reply_end")
        assert told[0] == {"type": "reply", "reply": 2, "turn": None}
        assert words(told, "token") == 'It says look_up({"what": "hours"}) -> {"ok": true, "open": "nine"}'
    _, record, tools = clerk.given[0]
    assert [tool.name for tool in tools] == ["look_up"]
    assert clerk.given[1][1][: len(record) + 1] == (*record, ("agent", "One moment."))


async def test_a_result_that_comes_into_the_callers_words_is_part_of_the_answer_to_them(pool: WorkerPool) -> None:
    async with serving(pool, clerk := Clerk()) as (_, address), calling(address, TOOLS) as client:
        id = await asked(client)
        await client.send("turn_begin", turn=2)
        await client.send("tool_result", id=id, result={"ok": True})
        await client.send("turn_end", turn=2)
        said = await client.until("reply_end")
        assert said[0]["type"] == "final"
        assert said[1] == {"type": "reply", "reply": 2, "turn": 2}
        assert words(said, "token").startswith("It says look_up")
        assert "tool" not in kinds(await client.settled())
    assert len(clerk.given) == 2


@pytest.mark.parametrize(("end", "fields"), [("turn_drop", {}), ("turn_end", {"brief": True})])
async def test_a_result_that_comes_into_what_was_nothing_is_told_after_it(
    pool: WorkerPool, end: str, fields: dict[str, Any]
) -> None:
    async with serving(pool, Clerk()) as (_, address), calling(address, TOOLS) as client:
        id = await asked(client)
        await client.send("turn_begin", turn=2)
        await client.send("tool_result", id=id, result={"ok": True})
        await client.send(end, turn=2, **fields)
        assert words(await client.until("reply_end"), "token").startswith("It says look_up")


async def test_the_question_is_not_asked_again_while_the_tool_is_used(pool: WorkerPool) -> None:
    async with serving(pool, clerk := Clerk()) as (_, address), calling(address, TOOLS) as client:
        id = await asked(client)
        await client.send("turn_begin", turn=2)
        await client.send("cancel", reply=1, heard_ms=0)
        await client.send("turn_drop", turn=2)
        assert words(await client.settled(), "clause") == "Settled."
        await client.send("tool_result", id=id, result={"ok": True})
        assert words(await client.until("reply_end"), "token").startswith("It says look_up")
    assert len(clerk.given) == 2


async def test_what_came_of_a_tool_nobody_asked_for_is_nothing(pool: WorkerPool) -> None:
    async with serving(pool, Clerk()) as (_, address), calling(address, TOOLS) as client:
        await client.send("tool_result", id="tool-9", result={"ok": True})
        assert words(await client.settled(), "clause") == "Settled."


async def test_a_model_that_never_has_enough_is_given_no_tools_in_the_end(pool: WorkerPool) -> None:
    async with serving(pool, clerk := Clerk()) as (_, address), calling(address, TOOLS) as client:
        id = await asked(client)
        for _ in range(20):
            await client.send("tool_result", id=id, result={"error": "try again"})
            said = await client.until("reply_end")
            if "tool" not in kinds(said):
                break
            id = said[-2]["id"]
        assert words(said, "token") == "I give up."
        assert len(clerk.given) == 9
        await asked(client, turn=2)


async def test_without_tools_of_its_own_a_client_has_the_two_it_always_had(pool: WorkerPool) -> None:
    async with serving(pool, clerk := Clerk()) as (_, address), calling(address) as client:
        await client.send("text", turn=1, text="hello")
        await client.until("reply_end")
    assert [tool.name for tool in clerk.given[0][2]] == ["hangup", "transfer"]


async def test_a_client_that_keeps_the_conversation_says_how_it_stands(pool: WorkerPool) -> None:
    use = 'look_up({"what": "hours"}) -> {"open": "ten"}'
    history = [["caller", "when are you open"], ["tool", use]]
    async with serving(pool, clerk := Clerk()) as (_, address), calling(address, {"parts": ["llm"]}) as client:
        await client.send("text", turn=1, text="", context={"prompt": "Be kind.", "history": history, "tools": []})
        assert words(await client.until("reply_end"), "token") == f"It says {use}"
        await client.send("text", turn=2, text="And on Sunday?", context={"history": [["agent", "Hello."]]})
        await client.until("reply_end")
    assert clerk.given[0] == ("Be kind.", tuple(map(tuple, history)), ())
    assert clerk.given[1] == ("Be kind.", (("agent", "Hello."), ("caller", "And on Sunday?")), ())


async def test_a_client_that_keeps_the_conversation_says_the_fallback_itself(pool: WorkerPool) -> None:
    async with serving(pool) as (_, address), calling(address, {"parts": ["llm"]}, fallback_limit=1) as client:
        await client.send("text", turn=1, text="banana", context={})
        assert kinds(await client.until("reply_end")) == ["reply", "reply_end"]
        await client.send("text", turn=2, text="banana")
        assert kinds(await client.until("reply_end")) == ["reply", "token", "tool", "reply_end"]


async def test_a_client_that_keeps_the_conversation_is_not_answered_by_and_by(pool: WorkerPool) -> None:
    async with serving(pool, Clerk()) as (_, address), calling(address, {"parts": ["llm"], "tools": []}) as client:
        context: dict[str, Any] = {"history": []}
        await client.send("text", turn=1, text="hello", context=context)
        await client.until("reply_end")
        await client.send("cancel", reply=1, heard_ms=0)
        await client.send("turn_drop", turn=1)
        await client.send("text", turn=2, text="hello again", context=context)
        assert (await client.until("reply_end"))[0] == {"type": "reply", "reply": 2, "turn": 2}


async def test_a_note_is_in_the_prompt_from_the_next_answer_on(pool: WorkerPool) -> None:
    async with serving(pool, clerk := Clerk()) as (_, address), calling(address, {"tools": []}) as client:
        await client.send("text", turn=1, text="when are you open")
        await client.until("reply_end")
        await client.send("note", text="They are a regular.")
        await client.send("text", turn=2, text="when are you open")
        await client.until("reply_end")
        before, after = (prompt for prompt, _, _ in clerk.given)
        assert after == f"{before}\n\nThey are a regular.".strip()
        assert [text for speaker, text in clerk.given[1][1] if speaker == "caller"] == ["when are you open"] * 2
