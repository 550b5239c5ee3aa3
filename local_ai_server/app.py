"""Puts the program together and runs it until it is told to stop."""

import asyncio
import logging
import signal
import sys

import structlog

from local_ai_server import swap
from local_ai_server.config import Settings, read_settings, read_wish
from local_ai_server.crews import Crews
from local_ai_server.errors import LocalAIError, SettingsError
from local_ai_server.server import LocalAIServer

_log = structlog.get_logger()


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until ``stop``. Raises SettingsError where the address cannot be had, JobFailed where no model loads."""
    if settings.stt == "pocketsphinx" and settings.llm != "intents":
        _log.warning("pocketsphinx hears the phrases of an agent's intents only; --stt names one that hears any words")
    crews = await Crews.load(settings)
    try:
        await _listen(settings, LocalAIServer(settings, crews), stop)
    finally:
        await crews.close()
    _log.info("local_ai_server stopped")


async def _listen(settings: Settings, server: LocalAIServer, stop: asyncio.Event) -> None:
    try:
        async with server.listening() as listening:
            host, port = listening.sockets[0].getsockname()[:2]
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


def main() -> int:
    """The program; its exit status."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.INFO))
    arguments = sys.argv[1:]
    try:
        if arguments[:1] == ["swap"]:
            swap.run(read_wish(arguments[1:]))
        else:
            asyncio.run(_run(read_settings(arguments)))
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
