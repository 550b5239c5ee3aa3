"""The llama backend with the real library, and a tiny model that always answers the same."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
from websockets.asyncio.client import connect

from local_ai_server.agent import Agent
from local_ai_server.errors import AgentError, JobFailed, SettingsError
from local_ai_server.llm.base import Act, Piece
from local_ai_server.llm.llama import MOST_WAITING, Llama
from local_ai_server.llm.llama_process import CONTEXT, LlamaModel
from tests.local_ai_server import tiny_llm
from tests.waiting import until

pytestmark = [pytest.mark.models, pytest.mark.asyncio(loop_scope="module")]

AGENT = Agent("demo", prompt="You work at the front desk.")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny_llm.llama(folder / "llm" / "tiny")
    return folder


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def llama(models: Path) -> AsyncIterator[Llama]:
    llama = Llama(models, "tiny", "cpu")
    await llama.start()
    yield llama
    await llama.close()


async def answer(llama: Llama, *said: str, agent: Agent = AGENT) -> list[Piece]:
    """To a record in which the caller speaks last, and every other time."""
    record = [(("caller", "agent")[i % 2], text) for i, text in enumerate(reversed(said))]
    return [piece async for piece in llama.answer(agent, tuple(reversed(record)))]


def spoken(pieces: list[Piece]) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))


async def idle(llama: Llama) -> None:
    await until(lambda: llama._process.idle == 1)


async def test_it_answers_token_by_token(llama: Llama) -> None:
    pieces = await answer(llama, "Hello.", "When are you open?")
    assert spoken(pieces) == tiny_llm.ANSWERS["?"]
    assert len(pieces) > 4


async def test_the_mark_it_writes_is_an_act(llama: Llama) -> None:
    pieces = await answer(llama, "That is all!")
    assert (spoken(pieces), pieces[-1]) == ("Bye.", Act("hangup"))


async def test_it_says_where_it_runs(llama: Llama) -> None:
    assert llama.device == "cpu"


async def test_an_answer_that_is_closed_frees_the_model(llama: Llama) -> None:
    async with aclosing(llama.answer(AGENT, (("caller", tiny_llm.ENDLESS),))) as pieces:
        await anext(pieces)
        assert llama._process.idle == 0
    await idle(llama)
    assert llama._process.replaced == 0


async def test_an_endless_answer_has_an_end(llama: Llama) -> None:
    assert 100 < len(spoken(await answer(llama, tiny_llm.ENDLESS))) <= 400


async def test_calls_take_turns(llama: Llama) -> None:
    order: list[int] = []

    async def call(number: int, answers: int) -> None:
        for _ in range(answers):
            await answer(llama, "Open?")
            order.append(number)

    async with asyncio.timeout(30):
        await asyncio.gather(*(call(number, 3) for number in range(4)))
    assert order == [0, 1, 2, 3] * 3


async def test_too_many_calls_are_told_so(llama: Llama) -> None:
    async with aclosing(llama.answer(AGENT, (("caller", tiny_llm.ENDLESS),))) as pieces:
        await anext(pieces)
        waiting = [asyncio.create_task(answer(llama, "Open?")) for _ in range(MOST_WAITING)]
        await until(lambda: llama._process.queue == MOST_WAITING)
        with pytest.raises(JobFailed, match="too many calls wait"):
            await answer(llama, "Open?")
    async with asyncio.timeout(30):
        assert [spoken(pieces) for pieces in await asyncio.gather(*waiting)] == [tiny_llm.ANSWERS["?"]] * MOST_WAITING


async def test_who_is_cancelled_while_he_waits_is_not_answered(llama: Llama) -> None:
    async with aclosing(llama.answer(AGENT, (("caller", tiny_llm.ENDLESS),))) as pieces:
        await anext(pieces)
        waiting = asyncio.create_task(answer(llama, "Open?"))
        await until(lambda: llama._process.queue == 1)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert llama._process.queue == 0
    await idle(llama)


async def test_patience_runs_out_behind_other_calls(models: Path) -> None:
    llama = Llama(models, None, "cpu", patience_seconds=0.1)
    await llama.start()
    os.kill(llama._process.process_ids()[0], signal.SIGSTOP)
    with pytest.raises(JobFailed, match=r"said nothing for 0\.1 s"):
        await answer(llama, "Open?")
    async with asyncio.timeout(10):
        await llama.close()


async def test_a_process_that_dies_loses_its_answer_alone(llama: Llama) -> None:
    async with aclosing(llama.answer(AGENT, (("caller", tiny_llm.ENDLESS),))) as pieces:
        await anext(pieces)
        os.kill(llama._process.process_ids()[0], signal.SIGKILL)
        with pytest.raises(JobFailed, match="died"):
            async for _ in pieces:
                pass
    async with asyncio.timeout(20):
        assert spoken(await answer(llama, "Open?")) == tiny_llm.ANSWERS["?"]


async def test_a_question_that_fits_no_context_is_lost(llama: Llama) -> None:
    await idle(llama)
    with pytest.raises(JobFailed, match="exceed context window of 4096"):
        await answer(llama, "x" * CONTEXT)
    assert spoken(await answer(llama, "Open?")) == tiny_llm.ANSWERS["?"]


async def test_a_file_that_is_no_model_is_refused_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "llm" / "broken"
    folder.mkdir(parents=True)
    (folder / "broken.gguf").write_bytes(b"GGUF and nothing more")
    llama = Llama(tmp_path, "broken", "cpu")
    with pytest.raises(JobFailed, match="llama cannot load the model in .*broken"):
        await llama.start()
    await llama.close()


async def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"llama:big lacks the file .*big.*\.gguf"):
        Llama(tmp_path, "big", "cpu")


@asynccontextmanager
async def program(models: Path) -> AsyncIterator[str]:
    """Where the program listens."""
    flags = ("--port", "0", "--workers", "1", "--llm", "llama:tiny", "--models", str(models), "--device", "cpu")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local_ai_server", *flags, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        found = None
        while found is None:
            found = re.search(r"127\.0\.0\.1:\d+", (await process.stdout.readuntil(b"\n")).decode())
        yield found[0]
    finally:
        process.terminate()
        await process.communicate()


async def test_the_program_answers_with_it(models: Path) -> None:
    async with asyncio.timeout(20), program(models) as address, connect(f"ws://{address}/v1") as wire:
        agent = {"name": "demo", "prompt": "Be brief."}
        await wire.send(json.dumps({"type": "start", "protocol": 1, "call_id": "1", "agent": agent, "history": []}))
        await wire.send(json.dumps({"type": "text", "turn": 1, "text": "That is all!"}))
        await wire.send(json.dumps({"type": "status"}))
        sent = [json.loads(await wire.recv())]
        while sent[-1]["type"] != "reply_end":
            data = await wire.recv()
            sent += [json.loads(data)] if isinstance(data, str) else []
    assert [message["text"] for message in sent if message["type"] == "clause"] == ["Bye."]
    assert [message["name"] for message in sent if message["type"] == "tool"] == ["hangup"]
    (card,) = (message["models"]["llm"] for message in sent if message["type"] == "status")
    assert (card["name"], card["device"], card["folder"]) == ("llama:tiny", "cpu", str(models / "llm" / "tiny"))
    assert card["load_seconds"] > 0


@pytest.fixture(scope="module")
def model(models: Path) -> LlamaModel:
    return LlamaModel(models / "llm" / "tiny" / "tiny.gguf", "cpu")


def completed(model: LlamaModel, record: tuple[tuple[str, str], ...]) -> tuple[str, list[int]]:
    """What it says, and how many entries it was left with each time it left some out."""
    chunks: list[dict[str, Any]] = []

    def emit(chunk: dict[str, Any]) -> bool:
        chunks.append(chunk)
        return True

    with structlog.testing.capture_logs() as logs:
        model.answer(emit, AGENT, record)
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    return "".join(delta.get("content", "") for delta in deltas), [log["turns_left"] for log in logs]


@pytest.mark.parametrize("words", [40, 400], ids=["no room for an answer", "more than the context"])
async def test_the_oldest_turns_are_left_out_of_a_long_call(model: LlamaModel, words: int) -> None:
    record = tuple((("caller", "agent")[i % 2], "word " * (words // 5)) for i in range(20))
    said, left = completed(model, (*record, ("caller", "Open?")))
    assert said == tiny_llm.ANSWERS["?"]
    assert left == ([11, 5, 3] if words == 40 else [11, 5, 3, 1])


async def test_a_short_call_is_left_whole(model: LlamaModel) -> None:
    assert completed(model, (("caller", "Hello."), ("agent", "Hello."), ("caller", "Open?"))) == (
        tiny_llm.ANSWERS["?"],
        [],
    )


async def test_a_template_that_refuses_is_no_reason_to_load_again(model: LlamaModel) -> None:
    with pytest.raises(AgentError, match="the user must speak last"):
        model.answer(lambda chunk: True, AGENT, (("caller", "Hello."), ("agent", "Hello.")))


async def test_a_gpu_that_is_not_there_is_refused(models: Path) -> None:
    with pytest.raises(SettingsError, match="without a GPU"):
        LlamaModel(models / "llm" / "tiny" / "tiny.gguf", "cuda")
