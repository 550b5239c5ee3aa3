"""The program as an operator runs it."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.local_ai_server.eventually import eventually

COMMAND = (sys.executable, "-m", "local_ai_server", "--port", "0", "--workers", "2")


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """The program and the line in which it says that it listens."""
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    try:
        async with asyncio.timeout(20):
            line = (await process.stdout.readline()).decode()
        yield process, line
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


def children(pid: int) -> list[int]:
    """The child processes of ``pid``, whichever of its threads started them."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for each in lists for child in each.read_text().split()]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


async def test_it_says_where_it_listens_and_stops_on_sigterm() -> None:
    async with running(*COMMAND) as (process, line):
        assert "local_ai_server listening" in line
        for word in ("127.0.0.1:", "stt=pocketsphinx", "llm=intents", "tts=flite"):
            assert word in line
        workers = children(process.pid)
        assert len(workers) >= 2
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(10):
            assert await process.wait() == 0
        await eventually(lambda: not any(map(is_alive, workers)))


async def test_workers_die_with_a_killed_parent() -> None:
    async with running(*COMMAND) as (process, _):
        workers = children(process.pid)
        assert len(workers) >= 2
        os.kill(process.pid, signal.SIGKILL)
        await eventually(lambda: not any(map(is_alive, workers)))


async def failing(*arguments: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        _, said = await process.communicate()
    return process.returncode, said.decode()


async def test_a_port_in_use_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said = await failing("--port", str(port))
    assert status == 2
    assert said.startswith(f"local_ai_server: cannot listen on 127.0.0.1:{port}: ")
    assert "Traceback" not in said


async def test_an_unknown_backend_is_refused() -> None:
    status, said = await failing("--stt", "kaldi")
    assert status == 2
    assert said.startswith("local_ai_server: --stt: there is no backend 'kaldi'; known are pocketsphinx, ")
