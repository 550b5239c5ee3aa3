"""The command line: serve calls, ask for calls, look at configuration and calendar."""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from ai_engine.errors import ConfigError
from ai_engine.version import engine_version
from ai_engine.web import commands as call_agent

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
    if (
        options.command == "check"
        and options.providers is None
        and any(getattr(options, name) is not None for name in _OF_PROVIDERS)
    ):
        parser.error(f"{', '.join(f'--{name}' for name in _OF_PROVIDERS)} go with --providers")
    try:
        return _run(options)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    # Loading the engine takes seconds, which whoever only asks one for a call should not wait for.
    if options.command in call_agent.COMMANDS:
        from ai_engine.config.overrides import gather  # noqa: PLC0415

        given = gather(os.environ, options.env_file)  # noqa: TID251  as below
        return call_agent.run(options, {name: one.value for name, one in given.items()}, engine_version())
    from ai_engine.app import commands  # noqa: PLC0415

    return commands.run(options, os.environ)  # noqa: TID251  the one place


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ai_engine",
        description="The Offhook voice engine: answers what Asterisk hands over, listens, and speaks.",
        epilog="""examples:
  python -m ai_engine                          run with config/ai-agent.yaml and .env
  python -m ai_engine check                    say what is wrong with the configuration, if anything
  python -m ai_engine check --providers        try every provider, as a call would
  python -m ai_engine config                   what was read, with defaults and overrides, as JSON
  python -m ai_engine call --to … --help       have an agent call somebody
  python -m ai_engine calendar list            the appointments that were made
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
    commands.add_parser("config", help="print all settings as JSON, secrets masked").add_argument(
        "--json", action="store_true", help="the only way there is"
    )
    call_agent.add_commands(commands)
    _add_calendar(commands)
    schema = commands.add_parser("schema", help="print the JSON Schema of the configuration")
    schema.add_argument(
        "--of", choices=("config", "agent", "convo"), default="config",
        help="of what: the configuration (the default), an agent's own file, or a convo.toml",
    )  # fmt: skip
    schema.add_argument("--check", type=Path, metavar="FILE", nargs="+", help="exit 1 when one is stale, print nothing")
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
    check.add_argument("--say", metavar="TEXT", help="the typed turn, 'Hello, can you hear me?'; '' for none")
    check.add_argument(
        "--wav", type=Path, metavar="FILE",
        help="a sentence to say as the caller, in real time: WAV of 16 bits. What is measured begins at its last voice,"
        " without the time the engine waits there (vad.end_silence_ms)",
    )  # fmt: skip
    check.add_argument(
        "--timeout", type=_seconds, metavar="SECONDS",
        help="how long opening a session, or waiting for sound, may take, 10",
    )  # fmt: skip


def _add_calendar(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    calendar = commands.add_parser(
        "calendar",
        help="the engine's own calendar: list appointments, or serve it alone",
        description="""The calendar in `call_agent.calendar.directory`, which a running engine may use meanwhile.""",
        epilog="""examples:
  python -m ai_engine calendar list                appointments to come
  python -m ai_engine calendar list --ics > a.ics  the same for another calendar program
  python -m ai_engine calendar serve               the bridge over HTTP, for a call agent elsewhere
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = calendar.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="print the appointments to come")
    listing.add_argument("--calendar", default="primary", metavar="ID", help="default %(default)s")
    listing.add_argument("--json", action="store_true", help="as the bridge answers")
    listing.add_argument("--ics", action="store_true", help="as iCalendar")
    actions.add_parser("serve", help="serve the bridge at call_agent.calendar.host and port, 9100 by custom")


if __name__ == "__main__":
    sys.exit(main())
