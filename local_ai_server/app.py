"""Puts the program together and runs it until it is told to stop."""

import asyncio
import logging
import signal
import sys

import structlog

from local_ai_server import backends
from local_ai_server.config import Settings, read_settings
from local_ai_server.errors import LocalAIError, SettingsError
from local_ai_server.server import LocalAIServer
from local_ai_server.workers import WorkerPool

_log = structlog.get_logger()


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until ``stop``. Raises SettingsError where the address cannot be had, JobFailed where no model loads."""
    model = backends.LLM[settings.llm]()
    async with WorkerPool(settings.workers, settings.stt, settings.tts) as pool:
        try:
            async with LocalAIServer(settings, pool, model).listening() as server:
                host, port = server.sockets[0].getsockname()[:2]
                _log.info(
                    "local_ai_server listening",
                    address=f"{host}:{port}",
                    stt=settings.stt,
                    llm=settings.llm,
                    tts=settings.tts,
                    workers=settings.workers,
                )
                await stop.wait()
        except OSError as error:
            raise SettingsError(f"cannot listen on {settings.host}:{settings.port}: {error.strerror}") from None
        finally:
            await model.close()
    _log.info("local_ai_server stopped")


def main() -> int:
    """The program; its exit status."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    try:
        asyncio.run(_run(read_settings(sys.argv[1:])))
    except LocalAIError as error:
        print(f"local_ai_server: {error}", file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    return 0


async def _run(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await serve(settings, stop)
