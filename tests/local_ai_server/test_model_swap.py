"""Other models in a server that runs, while calls run."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from websockets.datastructures import Headers
from websockets.http11 import Request

from local_ai_server import crews as crews_module
from local_ai_server import protocol
from local_ai_server.admin import Admin
from local_ai_server.agent import Agent
from local_ai_server.backends import Card
from local_ai_server.config import Settings, read_wish
from local_ai_server.crew import Crew
from local_ai_server.crews import Crews
from local_ai_server.errors import SettingsError
from local_ai_server.llm.base import Piece
from local_ai_server.llm.intents import Intents
from local_ai_server.tools import OWN, Tools
from local_ai_server.workers import WorkerPool
from tests.local_ai_server.demo_agent import AGENT
from tests.local_ai_server.serving import calling, http, listening, words
from tests.local_ai_server.test_local_app import COMMAND, children, is_alive, running
from tests.waiting import until

FOREIGN = "my dog ate the homework again"
"""Words a grammar of the agent's phrases does not hear, and a dictation does hear something in."""


class Slow(Intents):
    """Says ``one``, and ``two`` when it may."""

    def __init__(self) -> None:
        self.may = asyncio.Event()
        self.is_closed = False

    async def answer(
        self, agent: Agent, record: tuple[tuple[str, str], ...], tools: Tools = OWN
    ) -> AsyncGenerator[Piece, None]:
        assert not self.is_closed
        yield "One, "
        await self.may.wait()
        assert not self.is_closed
        yield "two."

    async def close(self) -> None:
        self.is_closed = True


@asynccontextmanager
async def served(model: Intents | None = None, **settings: Any) -> AsyncIterator[tuple[Crews, str]]:
    """A server with a pool of its own."""
    given = Settings(port=0, workers=1, **settings)
    pool = await WorkerPool(1, given.stt, given.tts, given.models).__aenter__()
    crews = Crews(given, Crew(protocol.Backends(given.stt, given.llm, given.tts), pool, model or Intents()))
    try:
        async with listening(given, crews) as (_, address):
            yield crews, address
    finally:
        await crews.close()


async def swap(address: str, query: str, **headers: str) -> tuple[int, dict[str, Any]]:
    return await http(address, f"/models?{query}", "POST", **headers)


async def loaded(crews: Crews) -> None:
    await until(lambda: crews.swap is not None and crews.swap.state != "loading")
    assert crews.swap
    assert crews.swap.state == "done", crews.swap.error


async def test_ears_are_swapped_between_two_turns_of_a_call() -> None:
    async with served() as (crews, address), calling(address) as client:
        old = crews.current
        workers = old.pool.process_ids()
        await client.turn(1, FOREIGN)
        assert (await client.until("final"))[-1]["text"] == ""
        await client.until("reply_end")
        status, begun = await swap(address, "stt=pocketsphinx-lm")
        assert (status, begun["state"], begun["to"]) == (202, "loading", {"stt": "pocketsphinx-lm"})
        await client.turn(2, "when are you open")  # the call goes on meanwhile
        assert words(await client.until("reply_end"), "clause") == AGENT["intents"]["hours"]["answer"]
        await loaded(crews)
        await until(lambda: old not in crews.retiring)
        await until(lambda: not any(map(is_alive, workers)))
        await client.turn(3, FOREIGN)
        assert (await client.until("final"))[-1]["text"] != ""
        _, health = await http(address, "/health")
        assert health["backends"] == {"stt": "pocketsphinx-lm", "llm": "intents", "tts": "flite"}
        assert health["models"]["stt"]["name"] == "pocketsphinx-lm"
        assert health["retiring"] == []
        assert (health["swap"]["state"], health["swap"]["moved"], health["swap"]["staying"]) == ("done", 1, 0)


async def test_a_reply_that_is_being_made_is_finished_by_the_old_model() -> None:
    slow = Slow()
    async with served(slow) as (crews, address), calling(address) as client:
        pool = crews.current.pool
        await client.send("text", turn=1, text="where are you")
        await client.until("token")
        await swap(address, "llm=intents")
        await loaded(crews)
        async with calling(address) as late:
            await late.send("text", turn=1, text="where are you")
            assert words(await late.until("reply_end"), "clause") == AGENT["intents"]["address"]["answer"]
        _, health = await http(address, "/health")
        assert [old["sessions"] for old in health["retiring"]] == [1]
        assert not slow.is_closed
        slow.may.set()
        assert (await client.until("reply_end"))[-1] == {"type": "reply_end", "reply": 1, "cancelled": False}
        await until(lambda: slow.is_closed)
        await client.send("text", turn=2, text="where are you")
        assert words(await client.until("reply_end"), "clause") == AGENT["intents"]["address"]["answer"]
        assert crews.current.pool is pool  # who hears and speaks is not loaded again


async def test_a_voice_of_another_rate_is_for_new_calls() -> None:
    async with served() as (crews, address):
        async with calling(address) as client:
            old = crews.current
            await swap(address, "tts=espeak")
            await loaded(crews)
            await until(lambda: crews.swap and crews.swap.staying == 1)
            await client.send("greet")
            assert (await client.until("reply_end"))[-1]["cancelled"] is False
            assert crews.retiring == [old]
            async with calling(address) as new:
                assert (client.ready["output_rate"], new.ready["output_rate"]) == (16000, 22050)
        await until(lambda: not crews.retiring)
        assert old.pool.alive == 0


async def test_an_agent_the_new_models_cannot_serve_keeps_the_old_ones() -> None:
    async with served(stt="pocketsphinx-lm") as (crews, address):
        unheard = {"a": {"phrases": ["zzyzxy road"], "answer": "Yes."}}
        async with calling(address, intents=unheard) as client:
            await swap(address, "stt=pocketsphinx")
            await loaded(crews)
            await until(lambda: crews.swap and crews.swap.staying == 1)
            await client.turn(1, FOREIGN)
            assert (await client.until("final"))[-1]["text"] != ""
        await until(lambda: not crews.retiring)


async def test_a_call_that_ends_meanwhile_leaves_nothing_behind() -> None:
    async with served() as (crews, address):
        old = crews.current
        async with calling(address):
            await swap(address, "stt=pocketsphinx-lm")
        await loaded(crews)
        await until(lambda: not crews.retiring)
        assert (old.users, crews.current.users) == (0, 0)


async def test_a_server_that_ends_while_a_swap_loads_leaves_nothing_behind() -> None:
    async with served() as (crews, address):
        mine = crews.current.pool.process_ids()
        others = set(children(os.getpid())) - set(mine)
        await swap(address, "stt=pocketsphinx-lm&llm=intents")
        await until(lambda: set(children(os.getpid())) - others - set(mine))
    await until(lambda: not any(map(is_alive, set(children(os.getpid())) - others)))


async def test_a_model_that_does_not_load_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "stt" / "broken"
    folder.mkdir(parents=True)
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.json"):
        (folder / name).write_text("{}")
    async with served(models=tmp_path) as (crews, address), calling(address) as client:
        old = crews.current
        status, _ = await swap(address, "stt=whisper:broken")
        assert status == 202
        await until(lambda: crews.swap and crews.swap.state == "failed")
        assert crews.swap
        assert f"whisper cannot load the model in {folder}" in (crews.swap.error or "")
        assert crews.current is old
        assert crews.retiring == []
        await client.turn(1, "where are you")
        assert words(await client.until("reply_end"), "clause") == AGENT["intents"]["address"]["answer"]
        assert (await swap(address, "llm=intents"))[0] == 202


@pytest.mark.parametrize(
    ("query", "status", "why"),
    [
        ("stt=whisper:none", 422, "--stt: whisper:none lacks the file /nowhere/stt/none/model.bin"),
        ("stt=kaldi", 422, "--stt: there is no backend 'kaldi'"),
        ("llm=openai", 422, "--llm openai needs --llm-url"),
        ("", 400, "say what to load"),
        ("stt=", 400, "say what to load"),
        ("turn=smart", 400, "say what to load"),
        ("tts=flite&tts=espeak", 400, "say what to load, each once"),
    ],
)
async def test_what_cannot_be_is_refused_at_once(query: str, status: int, why: str) -> None:
    crews = Crews(Settings(models=Path("/nowhere")), idle_crew())
    async with listening(Settings(port=0), crews) as (_, address):
        answered, said = await swap(address, query)
    assert answered == status
    assert said["error"].startswith(why)
    assert crews.swap is None


def idle_crew() -> Crew:
    """Of a pool that was never started."""
    return Crew(
        protocol.Backends("pocketsphinx", "intents", "flite"), WorkerPool(1, "pocketsphinx", "flite"), Intents()
    )


async def test_one_swap_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    may = asyncio.Event()

    async def load(settings: Settings) -> tuple[Intents, Card]:
        await may.wait()
        return Intents(), Card("intents", None, "cpu", (), 0.0)

    monkeypatch.setattr(crews_module, "load_model", load)
    crews = Crews(Settings(), idle_crew())
    async with listening(Settings(port=0), crews) as (_, address):
        assert (await swap(address, "llm=intents"))[0] == 202
        status, said = await swap(address, "stt=pocketsphinx-lm")
        assert (status, said["error"]) == (409, "another swap is loading; one at a time")
        assert (await http(address, "/health"))[1]["swap"]["state"] == "loading"
        may.set()
        await loaded(crews)
        assert (await swap(address, "llm=intents"))[0] == 202
    await crews.close()


async def test_who_may_swap() -> None:
    crews = Crews(Settings(), idle_crew())
    async with listening(Settings(port=0), crews) as (_, address):
        assert (await http(address, "/models"))[0] == 405
        status, said = await swap(address, "llm=intents", Origin="https://example.org")
        assert (status, said["error"]) == (
            403, "models are swapped from this machine only, unless LOCAL_AI_ADMIN_TOKEN is set"
        )  # fmt: skip
    async with listening(Settings(port=0, admin_token="s3cret"), crews) as (_, address):
        for headers in ({}, {"Authorization": "Bearer s3cre"}, {"Authorization": "s3cret"}):
            status, said = await swap(address, "llm=intents", **headers)
            assert (status, "s3cret" in said["error"]) == (403, False)
        assert crews.swap is None
        assert (await swap(address, "llm=intents", Authorization="Bearer s3cret"))[0] == 202
    await crews.close()


@pytest.mark.parametrize(
    ("peer", "status"), [("192.0.2.7", 403), ("2001:db8::1", 403), ("127.0.0.9", 400), ("::1", 400)]
)
def test_another_machine_may_not(peer: str, status: int) -> None:
    connection = SimpleNamespace(remote_address=(peer, 40000))
    answered, _ = Admin(Crews(Settings(), idle_crew()), "").answer(connection, Request("/models", Headers(), "POST"))
    assert answered == status


async def command(*arguments: str) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "local_ai_server", "swap", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "http_proxy": "http://127.0.0.1:9"},
    )  # fmt: skip
    async with asyncio.timeout(30):
        said, complained = await process.communicate()
    return process.returncode, said.decode(), complained.decode()


async def test_the_operators_command() -> None:
    async with running(*COMMAND) as (process, line):
        port = line.split("127.0.0.1:")[1].split()[0]
        before = children(process.pid)
        status, said, _ = await command("--port", port, "--stt", "pocketsphinx-lm")
        assert status == 0
        assert said.startswith("loading stt pocketsphinx-lm beside what serves now")
        assert "new calls have stt pocketsphinx-lm, llm intents, tts flite" in said
        assert set(children(process.pid)) != set(before)
        status, _, complained = await command("--port", port, "--stt", "whisper:none")
        assert status == 2
        assert complained.startswith("local_ai_server: --stt: whisper:none lacks the file ")
    status, _, complained = await command("--port", port, "--tts", "espeak")
    assert status == 1
    assert complained.startswith(f"local_ai_server: no server answers at 127.0.0.1:{port} ")
    assert "Traceback" not in complained


def test_what_the_command_understands() -> None:
    environment = {"LOCAL_AI_HOST": "0.0.0.0", "LOCAL_AI_PORT": "9000", "LOCAL_AI_ADMIN_TOKEN": "s3cret"}
    wish = read_wish(["--stt", "whisper:base.en", "--tts", "kokoro"], environment)
    assert (wish.to, wish.address, wish.token) == (
        {"stt": "whisper:base.en", "tts": "kokoro"}, "127.0.0.1:9000", "s3cret"
    )  # fmt: skip
    assert "s3cret" not in repr(wish)
    assert read_wish(["--llm", "intents", "--host", "::1", "--port", "1"], {}).address == "[::1]:1"
    with pytest.raises(SettingsError, match="say what to load"):
        read_wish([], {})
