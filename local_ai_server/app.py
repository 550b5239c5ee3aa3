"""Puts the program together and runs it until it is told to stop."""

import asyncio
import logging
import signal
import sys
import time
from dataclasses import replace

import structlog

from local_ai_server import backends
from local_ai_server.config import Settings, read_settings
from local_ai_server.errors import LocalAIError, SettingsError
from local_ai_server.llm.base import LanguageModel
from local_ai_server.server import LocalAIServer
from local_ai_server.workers import WorkerPool

_log = structlog.get_logger()


async def serve(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until ``stop``. Raises SettingsError where the address cannot be had, JobFailed where no model loads."""
    if settings.stt == "pocketsphinx" and settings.llm != "intents":
        _log.warning("pocketsphinx hears the phrases of an agent's intents only; --stt names one that hears any words")
    model, card = await _load_dialog(settings)
    try:
        async with WorkerPool(settings.workers, settings.stt, settings.tts, settings.models, settings.device) as pool:
            await _listen(settings, LocalAIServer(settings, pool, model, card), stop)
    finally:
        await model.close()
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


async def _load_dialog(settings: Settings) -> tuple[LanguageModel, backends.Card]:
    known = backends.language_models(settings.endpoint)
    model, card = backends.load("llm", known, settings.llm, settings.models, settings.device)
    started = time.monotonic()
    await model.start()
    seconds = round(card.load_seconds + time.monotonic() - started, 3)
    device = model.device if isinstance(model, backends.Describable) else card.device
    return model, replace(card, device=device, load_seconds=seconds)


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
