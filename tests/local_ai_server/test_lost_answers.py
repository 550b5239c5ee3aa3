"""What a caller hears of a language model that fails: the agent's fallback, and in the end a person."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator

import pytest
import pytest_asyncio

from local_ai_server import protocol
from local_ai_server.agent import Agent
from local_ai_server.crew import Crew
from local_ai_server.errors import JobFailed
from local_ai_server.llm.base import LanguageModel, Piece
from local_ai_server.llm.chat import Chat
from local_ai_server.llm.endpoint import Endpoint
from local_ai_server.llm.intents import Intents
from local_ai_server.session import Session
from local_ai_server.tools import OWN, Tools
from local_ai_server.workers import WorkerPool

pytestmark = pytest.mark.asyncio(loop_scope="module")

AGENT = Agent("demo", fallback="Please say that again.", fallback_limit=2)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def pool() -> AsyncIterator[WorkerPool]:
    async with WorkerPool(1, "pocketsphinx", "flite") as pool:
        yield pool


class Breaking(Intents):
    """Breaks off after what it has to say."""

    def __init__(self, *said: str) -> None:
        self._said = said

    async def answer(
        self, agent: Agent, record: tuple[tuple[str, str], ...], tools: Tools = OWN
    ) -> AsyncGenerator[Piece, None]:
        for piece in self._said:
            yield piece
        raise JobFailed("it stumbled")


async def replies(pool: WorkerPool, model: LanguageModel, count: int = 1) -> list[list[protocol.ServerMessage]]:
    """What is sent in answer to typed turns, reply by reply, without the sound."""
    sent: asyncio.Queue[protocol.ServerMessage | bytes] = asyncio.Queue()
    start = protocol.Start(protocol.VERSION, "call", AGENT)
    crew = Crew(protocol.Backends("pocketsphinx", "openai", "flite"), pool, model)
    crew.enter()
    session = Session(start, (16000, 16000), crew, sent.put)
    running = asyncio.create_task(session.run())
    made: list[list[protocol.ServerMessage]] = []
    async with asyncio.timeout(20):
        for turn in range(count):
            session.receive(protocol.Text(turn, "When are you open?"))
            made.append([])
            while not any(isinstance(message, protocol.ReplyEnd) for message in made[-1]):
                message = await sent.get()
                if not isinstance(message, bytes):
                    made[-1].append(message)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return made


def clauses(messages: list[protocol.ServerMessage]) -> list[str]:
    return [message.text for message in messages if isinstance(message, protocol.Clause)]


@pytest.mark.parametrize(
    ("said", "heard"),
    [
        ((), ["Please say that again."]),
        (("We are ", "open from"), ["We are open from\u2026", "Please say that again."]),
        (("We are open.",), ["We are open.", "Please say that again."]),
    ],
)
async def test_the_fallback_follows_what_was_said(pool: WorkerPool, said: tuple[str, ...], heard: list[str]) -> None:
    (messages,) = await replies(pool, Breaking(*said))
    assert clauses(messages) == heard
    assert protocol.Error("internal", "an answer was lost: it stumbled", fatal=False) in messages
    assert messages[-1] == protocol.ReplyEnd(1, False)


async def test_a_model_that_stays_away_is_a_reason_for_a_person(pool: WorkerPool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    chat = Chat(Endpoint(f"http://127.0.0.1:{port}/v1", "small"))
    await chat.start()
    first, second = await replies(pool, chat, count=2)
    await chat.close()
    assert clauses(first) == clauses(second)
    assert [message.name for message in second if isinstance(message, protocol.ToolAsked)] == ["transfer"]
