"""The server's settings: command line first, then the environment, then the defaults."""

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from local_ai_server import backends
from local_ai_server.errors import SettingsError

_EXAMPLES = """\
Every flag may be given as an environment variable instead: LOCAL_AI_HOST, LOCAL_AI_PORT, LOCAL_AI_WORKERS,
LOCAL_AI_MAX_SESSIONS, LOCAL_AI_STT, LOCAL_AI_LLM, LOCAL_AI_TTS. A flag wins over its variable.

  python -m local_ai_server                        listen on 127.0.0.1:8765
  python -m local_ai_server --port 9000 --workers 4
  LOCAL_AI_STT=pocketsphinx-lm python -m local_ai_server
  curl http://127.0.0.1:8765/health                how it is doing

Ctrl-C or SIGTERM ends it. The wire is described in docs/local_ai_protocol.md.
"""


@dataclass(frozen=True)
class Settings:
    """How the server is to run."""

    host: str = "127.0.0.1"
    port: int = 8765
    """0 takes any free port."""
    workers: int = 2
    """Processes that do the model work."""
    max_sessions: int = 64
    stt: str = "pocketsphinx"
    llm: str = "intents"
    tts: str = "flite"
    start_seconds: float = 5.0
    """A client must send ``start`` within this time."""
    send_seconds: float = 5.0
    """A client that does not read for so long, with its buffers full, is shut out."""


def default_workers() -> int:
    """One per core; two at least, so that a short clause need not wait for somebody's long turn."""
    return max(2, len(os.sched_getaffinity(0)))


def read_settings(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Settings:
    """Settings from the command line and the environment. Raises SettingsError with a sentence."""
    environment = os.environ if environment is None else environment
    given = vars(_parser().parse_args(arguments))

    def value(name: str, default: Any, check: Callable[[str, str], Any]) -> Any:
        variable = f"LOCAL_AI_{name.upper()}"
        if given[name] is not None:
            return check(given[name], f"--{name.replace('_', '-')}")
        return check(environment[variable], variable) if environment.get(variable) else default

    return Settings(
        host=value("host", Settings.host, lambda text, _: text),
        port=value("port", 8765, _number(0, 65535)),
        workers=value("workers", default_workers(), _number(1, 256)),
        max_sessions=value("max_sessions", 64, _number(1, 100_000)),
        stt=value("stt", "pocketsphinx", _one_of(backends.STT)),
        llm=value("llm", "intents", _one_of(backends.LLM)),
        tts=value("tts", "flite", _one_of(backends.TTS)),
    )


def _number(least: int, most: int) -> Callable[[str, str], int]:
    def check(text: str, where: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise SettingsError(f"{where} must be a whole number from {least} to {most}, not {text!r}")
        return int(text)

    return check


def _one_of(known: Mapping[str, object]) -> Callable[[str, str], str]:
    def check(text: str, where: str) -> str:
        if text not in known:
            raise SettingsError(f"{where}: there is no backend {text!r}; known are {', '.join(known)}")
        return text

    return check


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local_ai_server",
        description="Speech to text, dialog and text to speech for Offhook, over one WebSocket per call.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", metavar="ADDRESS", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", metavar="PORT", help="TCP port to listen on, 0 for any (8765)")
    parser.add_argument("--workers", metavar="N", help="processes for model work (one per core, at least 2)")
    parser.add_argument("--max-sessions", metavar="N", help="calls at once; more are told `busy` (64)")
    parser.add_argument("--stt", metavar="NAME", help=f"speech to text: {', '.join(backends.STT)} (pocketsphinx)")
    parser.add_argument("--llm", metavar="NAME", help=f"dialog: {', '.join(backends.LLM)} (intents)")
    parser.add_argument("--tts", metavar="NAME", help=f"voice where none is named: {', '.join(backends.TTS)} (flite)")
    return parser
