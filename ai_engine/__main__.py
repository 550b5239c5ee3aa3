"""The command line: run the engine, check its configuration, export the schema."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ai_engine.app import AgentMaker, App, ApplicationTaken, engine_version
from ai_engine.app.check import Trial, check_providers, providers_in_use
from ai_engine.app.check_voice import read_sentence
from ai_engine.config import EngineConfig, load
from ai_engine.config.overrides import gather
from ai_engine.config.schema import text as schema_text
from ai_engine.errors import ConfigError
from ai_engine.observe.logs import LogPipe, start_logging
from ai_engine.web import commands as call_agent

new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
with suppress(ImportError):  # not built for every platform
    import uvloop

    new_event_loop = uvloop.new_event_loop

_REALTIME_PRIORITY = 1
"""As ``asterisk -p`` does, where we may (root, or a limit of ``rtprio``): a frame is due every 20 ms whatever else this
machine does. All our threads have it, or one without would hold the interpreter lock when it is put aside. A loop that
hangs is ended by the watchdog, and the kernel keeps a share for others."""

_DEFAULT_CONFIG = Path("config/ai-agent.yaml")

_OF_PROVIDERS = ("json", "say", "wav", "timeout")
"""Options of ``check`` that mean nothing without ``--providers``."""

_MOST_SECONDS = 600.0


def main(arguments: Sequence[str] | None = None) -> int:
    """0 after a clean stop, 1 when Asterisk gave our place to another engine, 2 when the settings are wrong.

    Of ``check --providers``: 1 when a provider is not fit for calls. Of those who ask for calls: as their help says.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    tried = getattr(options, "providers", None)
    if options.command == "schema":
        return _schema(options.check)
    if (
        options.command == "check"
        and tried is None
        and any(getattr(options, name) is not None for name in _OF_PROVIDERS)
    ):
        parser.error(f"{', '.join(f'--{name}' for name in _OF_PROVIDERS)} go with --providers")
    try:
        if options.command in call_agent.COMMANDS:
            given = gather(os.environ, options.env_file)  # noqa: TID251  as below
            return call_agent.run(options, {name: one.value for name, one in given.items()}, engine_version())
        config = load(options.config, os.environ, options.env_file, tried or ())  # noqa: TID251  the one place
        if tried is not None:
            return _check_providers(config, tried, options)
        if options.command == "check":
            print(f"{options.config}: good ({len(config.agents)} agents)")
            return 0
        return serve(config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2


def serve(config: EngineConfig, agents: Mapping[str, AgentMaker] | None = None) -> int:
    """Hold calls until SIGTERM; 1 when Asterisk gave our place to another engine. Raises ConfigError.

    ``agents`` by the name of their provider, in place of our own.
    """
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_REALTIME_PRIORITY))
    pipe = start_logging(config.logging.level, config.logging.format)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_run(config, pipe, agents))
    except ApplicationTaken:
        return 1
    finally:
        pipe.stop()
    return 0


async def _run(config: EngineConfig, pipe: LogPipe, agents: Mapping[str, AgentMaker] | None) -> None:
    await App(config, lambda: pipe.dropped, agents).run()


def _check_providers(config: EngineConfig, names: Sequence[str], options: argparse.Namespace) -> int:
    """1 when one of them is not fit for calls. Raises ConfigError."""
    # What a serving engine never shows should not be loaded by it.
    from ai_engine.app.check_report import show, show_json  # noqa: PLC0415

    given = {"typed": options.say, "seconds": options.timeout}
    spoken = None if options.wav is None else read_sentence(options.wav)
    trial = Trial(spoken=spoken, **{name: value for name, value in given.items() if value is not None})
    pipe = start_logging("warning", config.logging.format)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            outcomes = runner.run(check_providers(config, dict.fromkeys(names) or providers_in_use(config), trial))
    finally:
        pipe.stop()
    (show_json if options.json else show)(outcomes)
    return 0 if all(outcome.ok for outcome in outcomes) else 1


def _schema(check: Path | None) -> int:
    if check is None:
        print(schema_text(), end="")
        return 0
    if check.exists() and check.read_text() == schema_text():
        return 0
    print(f"{check} is stale: run 'make schema'", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ai_engine",
        description="The Offhook voice engine: answers what Asterisk hands over, listens, and speaks.",
        epilog="""examples:
  python -m ai_engine                          run with config/ai-agent.yaml and .env
  python -m ai_engine check                    say what is wrong with the configuration, if anything
  python -m ai_engine check --providers        try every provider, as a call would
  python -m ai_engine schema > schema.json     JSON Schema of the configuration, for editors
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=engine_version())
    parser.add_argument("--config", type=Path, default=_DEFAULT_CONFIG, metavar="FILE", help="default %(default)s")
    parser.add_argument(
        "--env-file", type=lambda name: Path(name) if name else None, default=Path(".env"), metavar="FILE",
        help="secrets and overrides, default %(default)s; '' for none",
    )  # fmt: skip
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    commands.add_parser("run", help="serve calls until SIGTERM (the default)")
    _add_check(commands)
    call_agent.add_commands(commands)
    schema = commands.add_parser("schema", help="print the JSON Schema of the configuration")
    schema.add_argument("--check", type=Path, metavar="FILE", help="exit 1 when FILE is stale, print nothing")
    return parser


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < (seconds := float(text)) <= _MOST_SECONDS:
            return seconds
    raise argparse.ArgumentTypeError(f"must be a number of seconds, {_MOST_SECONDS:g} at most")


def _add_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    check = commands.add_parser(
        "check",
        help="read the configuration, name every problem, and end",
        description="""Reads the configuration and names every problem.

With --providers it opens a session with each of them, as a call would, and has it greet and answer: a key that
is refused, a model that is no more or a voice nobody knows is seen before a caller hears it. The vendors bill
this like any short call.""",
        epilog="""examples:
  python -m ai_engine check                               the configuration only
  python -m ai_engine check --providers                   every provider an agent may be run by
  python -m ai_engine check --providers openai --json     one of them, for a script
  python -m ai_engine check --providers --wav hello.wav   a spoken turn, too

It ends with 0 when all is well, 1 when a provider is not fit for calls, 2 when the configuration is wrong.
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument(
        "--providers", nargs="*", metavar="NAME", help="try these providers; without a name, all that are in use"
    )
    check.add_argument("--json", action="store_true", default=None, help="print an object for each, a line each")
    check.add_argument("--say", metavar="TEXT", help=f"the typed turn, {Trial().typed!r}; '' for none")
    check.add_argument(
        "--wav", type=Path, metavar="FILE",
        help="a sentence to say as the caller, in real time: WAV of 16 bits. What is measured begins at its last voice,"
        " without the time the engine waits there (vad.end_silence_ms)",
    )  # fmt: skip
    check.add_argument(
        "--timeout", type=_seconds, metavar="SECONDS",
        help=f"how long opening a session, or waiting for sound, may take, {Trial().seconds:g}",
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
