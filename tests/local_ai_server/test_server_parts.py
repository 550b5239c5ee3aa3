"""A client that wants only ears, only words or only a voice of the server."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from local_ai_server.workers import WorkerPool
from tests.local_ai_server.demo_agent import AGENT
from tests.local_ai_server.serving import Client, calling, kinds, seconds, serving, words

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address() -> AsyncIterator[str]:
    async with WorkerPool(2, "pocketsphinx", "flite") as pool, serving(pool) as (_, address):
        yield address


def only(*parts: str) -> dict[str, Any]:
    return {"parts": list(parts)}


async def nothing_more(client: Client) -> list[str]:
    """What has come beside partials up to the answer to a question asked now."""
    await client.send("status")
    return [message["type"] for message in (await client.until("status"))[:-1] if message["type"] != "partial"]


async def test_ears_answer_with_a_transcript_and_nothing_more(address: str) -> None:
    async with calling(address, {**only("stt"), "rate": 8000}, voice="flite:nobody") as client:
        assert (client.ready["input_rate"], client.ready["output_rate"]) == (8000, 0)
        await client.send("turn_begin", turn=1)
        await client.send("turn_end", turn=1)
        assert (await client.until("final"))[-1] == {"type": "final", "turn": 1, "text": "", "confidence": 0.0}
    async with calling(address, only("stt")) as client:
        await client.turn(2, "when are you open")
        assert (await client.until("final"))[-1]["text"] == "when are you open"
        await client.turn(3, "goodbye", "awb", brief=True)
        assert (await client.until("final"))[-1]["text"] == "goodbye"
        await client.send("turn_begin", turn=4)
        await client.send("turn_drop", turn=4)
        assert await nothing_more(client) == []


async def test_words_alone_make_no_sound(address: str) -> None:
    async with calling(address, only("llm")) as client:
        assert (client.ready["input_rate"], client.ready["output_rate"]) == (0, 0)
        await client.send("text", turn=1, text="can i speak to a person")
        said = await client.until("reply_end")
        assert kinds(said) == ["reply", "token", "tool", "reply_end"]
        assert said[0] == {"type": "reply", "reply": 1, "turn": 1}
        assert words(said, "token") == AGENT["intents"]["human"]["answer"]


async def test_a_voice_alone_says_what_it_is_given(address: str) -> None:
    async with calling(address, only("tts")) as client:
        assert (client.ready["input_rate"], client.ready["output_rate"]) == (0, 16000)
        await client.send("say", text="Please hold the line. A colleague is coming.")
        said = await client.until("reply_end")
        assert kinds(said) == ["reply", "clause", "sound", "clause", "sound", "reply_end"]
        assert words(said, "clause") == "Please hold the line. A colleague is coming."


async def test_what_continues_keeps_the_pause_before_it(address: str) -> None:
    async with calling(address, only("tts")) as client:
        await client.send("say", text="Hello.")
        first = await client.until("reply_end")
        await client.send("say", text="Hello.", continues=True)
        assert seconds(await client.until("reply_end")) > seconds(first) + 0.05


async def test_ears_and_words_answer_a_turn_in_words(address: str) -> None:
    async with calling(address, only("stt", "llm")) as client:
        await client.turn(1, "when are you open")
        said = [message for message in await client.until("reply_end") if message["type"] != "partial"]
        assert kinds(said) == ["final", "reply", "token", "reply_end"]


@pytest.mark.parametrize(
    ("parts", "message", "missing"),
    [
        (["llm", "tts"], {"type": "turn_begin", "turn": 1}, "stt"),
        (["stt", "tts"], {"type": "text", "turn": 1, "text": "hello"}, "llm"),
        (["stt", "llm"], {"type": "say", "text": "hello"}, "tts"),
        (["stt"], {"type": "greet"}, "tts"),
        (["llm"], {"type": "nudge"}, "tts"),
    ],
)
async def test_what_needs_another_part_is_refused(
    address: str, parts: list[str], message: dict[str, Any], missing: str
) -> None:
    async with calling(address, only(*parts)) as client:
        await client.send(**message)
        error = await client.next()
        assert error["code"] == "bad_message"
        assert f"needs the part {missing}" in error["message"]
        assert await client.closed() == 1008
