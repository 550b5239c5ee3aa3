"""The server's settings: command line first, then the environment, then the defaults."""

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local_ai_server import backends
from local_ai_server.errors import SettingsError
from local_ai_server.llm.endpoint import Endpoint
from local_ai_server.models import MODELS, NEEDS

_EXAMPLES = """\
Every flag may be given as an environment variable instead: LOCAL_AI_HOST, LOCAL_AI_PORT, LOCAL_AI_WORKERS,
LOCAL_AI_MAX_SESSIONS, LOCAL_AI_STT, LOCAL_AI_LLM, LOCAL_AI_TTS, LOCAL_AI_MODELS, LOCAL_AI_DEVICE, LOCAL_AI_LLM_URL,
LOCAL_AI_LLM_MODEL, LOCAL_AI_BUSY_SECONDS. A flag wins over its variable. LOCAL_AI_LLM_KEY (for --llm-url) and
LOCAL_AI_ADMIN_TOKEN (who has it may swap models, from anywhere; without it only this machine may) have no flags, since
others see a command line.

A backend that has its model built in is named alone (pocketsphinx); one that loads a model of yours is named with it
(whisper:base.en, the folder models/stt/base.en), or alone where there is only one. scripts/fetch_models brings models.

  python -m local_ai_server                        listen on 127.0.0.1:8765
  python -m local_ai_server --port 9000 --workers 4
  LOCAL_AI_STT=pocketsphinx-lm python -m local_ai_server
  python -m local_ai_server --stt whisper:base.en --models /srv/models --device cuda
  python -m local_ai_server --llm openai --llm-url http://127.0.0.1:11434/v1 --llm-model llama3.2
  curl http://127.0.0.1:8765/health                how it is doing
  python -m local_ai_server swap --stt whisper:base.en
                                                   other models in the server that runs, while calls run (swap --help)

Ctrl-C or SIGTERM ends it. The wire is described in docs/local_ai_protocol.md.
"""
_SWAP_HELP = """\
The running server checks the files first, and refuses with what is missing. A model that does not load leaves all as it
was. Meanwhile old and new models are in memory together. Running calls change over between two turns; those for whom
the sound's rate would change keep the old models to their end. Models named in the server's own flags come back when
it is started again: change them there too.

LOCAL_AI_HOST and LOCAL_AI_PORT say where it is, too. Where the server has a LOCAL_AI_ADMIN_TOKEN, it must be in this
command's environment; where it has none, the command must run on the server's machine.

  python -m local_ai_server swap --stt whisper:base.en
  python -m local_ai_server swap --tts kokoro:v1.0 --llm llama:qwen2.5-1.5b-instruct-q4_k_m
  curl -X POST 'http://127.0.0.1:8765/models?stt=whisper:base.en'      the same without Python

Status: 0 swapped, 1 refused or failed, 2 not there.
"""
_BACKENDS = {"stt": "speech to text", "llm": "dialog", "tts": "voice where none is named"}


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
    models: Path = MODELS
    """``<models>/<kind>/<name>/`` is a model's folder; relative to where the server is started."""
    device: str = "auto"
    """``auto``, ``cpu`` or ``cuda``: where the models that can use either are to run."""
    endpoint: Endpoint = Endpoint()
    """Where the dialog ``openai`` asks."""
    busy_seconds: float = 2.0
    """A new call whose first job would wait longer than this, about, is told `busy`."""
    admin_token: str = field(default="", repr=False)
    """Who swaps models must have it; empty: must be on this machine."""
    start_seconds: float = 5.0
    """A client must send ``start`` within this time."""
    send_seconds: float = 5.0
    """A client that does not read for so long, with its buffers full, is shut out."""


@dataclass(frozen=True)
class Wish:
    """What models an operator wants in a server that runs, and where it is."""

    to: Mapping[str, str]
    """Backends by kind."""
    address: str
    """``host:port``."""
    token: str = field(default="", repr=False)


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

    models = value("models", MODELS, lambda text, _: Path(text))
    llm = value("llm", "intents", _backend("llm", models))
    endpoint = Endpoint(
        value("llm_url", "", _url),
        value("llm_model", "", lambda text, _: text),
        environment.get("LOCAL_AI_LLM_KEY", "").strip(),
    )
    _check_endpoint(llm, endpoint)
    return Settings(
        host=value("host", Settings.host, lambda text, _: text),
        port=value("port", 8765, _number(0, 65535)),
        workers=value("workers", default_workers(), _number(1, 256)),
        max_sessions=value("max_sessions", 64, _number(1, 100_000)),
        stt=value("stt", "pocketsphinx", _backend("stt", models)),
        llm=llm,
        tts=value("tts", "flite", _backend("tts", models)),
        models=models,
        device=value("device", "auto", _one_of(backends.DEVICES)),
        endpoint=endpoint,
        busy_seconds=value("busy_seconds", Settings.busy_seconds, _seconds),
        admin_token=environment.get("LOCAL_AI_ADMIN_TOKEN", "").strip(),
    )


def read_wish(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Wish:
    """The arguments after ``swap``, and the environment. Raises SettingsError with a sentence."""
    environment = os.environ if environment is None else environment
    given = vars(_swap_parser().parse_args(arguments))
    to = {kind: given[kind] for kind in _BACKENDS if given[kind]}
    if not to:
        raise SettingsError("say what to load: --stt, --llm, --tts")
    host = given["host"] or environment.get("LOCAL_AI_HOST") or Settings.host
    port = _number(1, 65535)(given["port"] or environment.get("LOCAL_AI_PORT") or str(Settings.port), "--port")
    address = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return Wish(to, f"{address}:{port}", environment.get("LOCAL_AI_ADMIN_TOKEN", "").strip())


def check_backends(settings: Settings, kinds: Sequence[str]) -> None:
    """Nothing, where these of its backends could be loaded now. Raises SettingsError."""
    for kind in kinds:
        _backend(kind, settings.models)(getattr(settings, kind), f"--{kind}")
    _check_endpoint(settings.llm, settings.endpoint)


def _check_endpoint(llm: str, endpoint: Endpoint) -> None:
    if llm == "openai" and not (endpoint.url and endpoint.model):
        raise SettingsError("--llm openai needs --llm-url (such as http://127.0.0.1:11434/v1) and --llm-model")


def _number(least: int, most: int) -> Callable[[str, str], int]:
    def check(text: str, where: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise SettingsError(f"{where} must be a whole number from {least} to {most}, not {text!r}")
        return int(text)

    return check


def _seconds(text: str, where: str) -> float:
    if not re.fullmatch(r"\d{1,4}(\.\d{1,3})?", text, re.ASCII):
        raise SettingsError(f"{where} must be seconds such as 2 or 0.5, not {text!r}")
    return float(text)


def _url(text: str, where: str) -> str:
    if not re.fullmatch(r"https?://[^/\s@?#]+[^\s@?#]*", text):
        raise SettingsError(f"{where} must be a URL such as http://127.0.0.1:11434/v1, without a password")
    return text.rstrip("/")


def _one_of(known: Sequence[str]) -> Callable[[str, str], str]:
    def check(text: str, where: str) -> str:
        if text not in known:
            raise SettingsError(f"{where} must be one of {', '.join(known)}, not {text!r}")
        return text

    return check


def _backend(kind: str, models: Path) -> Callable[[str, str], str]:
    def check(text: str, where: str) -> str:
        try:
            backends.check(kind, text, models)
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}") from None
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
    parser.add_argument(
        "--busy-seconds",
        metavar="SECONDS",
        help=f"a new call that would wait longer for the workers is told `busy` ({Settings.busy_seconds:g})",
    )
    for kind, default in (("stt", Settings.stt), ("llm", Settings.llm), ("tts", Settings.tts)):
        parser.add_argument(f"--{kind}", metavar="NAME", help=f"{_BACKENDS[kind]}: {_choices(kind)} ({default})")
    parser.add_argument("--llm-url", metavar="URL", help="for --llm openai: the root of a server, up to its /v1")
    parser.add_argument("--llm-model", metavar="NAME", help="for --llm openai: the model it is to run")
    parser.add_argument("--models", metavar="DIR", help=f"where models lie, as DIR/stt/NAME/ ({MODELS})")
    parser.add_argument("--device", metavar="DEVICE", help=f"for models: {', '.join(backends.DEVICES)} (auto)")
    return parser


def _swap_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local_ai_server swap",
        description="Swap models in the server that runs. They are loaded beside the old ones; no call is dropped.",
        epilog=_SWAP_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for kind, what in _BACKENDS.items():
        parser.add_argument(f"--{kind}", metavar="NAME", help=f"{what}: {_choices(kind)}")
    parser.add_argument("--host", metavar="ADDRESS", help=f"where the server is ({Settings.host})")
    parser.add_argument("--port", metavar="PORT", help=f"its TCP port ({Settings.port})")
    return parser


def _choices(kind: str) -> str:
    return ", ".join(f"{each}:NAME" if (kind, each) in NEEDS else each for each in backends.KINDS[kind])
