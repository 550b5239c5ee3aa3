"""The command line: run the engine, check its configuration, export the schema."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ai_engine.app import AgentMaker, App, ApplicationTaken, engine_version
from ai_engine.config import EngineConfig, load
from ai_engine.config.schema import text as schema_text
from ai_engine.errors import ConfigError
from ai_engine.observe.logs import LogPipe, start_logging

new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
with suppress(ImportError):  # not built for every platform
    import uvloop

    new_event_loop = uvloop.new_event_loop

_REALTIME_PRIORITY = 1
"""As ``asterisk -p`` does, where we may (root, or a limit of ``rtprio``): a frame is due every 20 ms whatever else this
machine does. All our threads have it, or one without would hold the interpreter lock when it is put aside. A loop that
hangs is ended by the watchdog, and the kernel keeps a share for others."""

_DEFAULT_CONFIG = Path("config/ai-agent.yaml")


def main(arguments: Sequence[str] | None = None) -> int:
    """0 after a clean stop, 1 when Asterisk gave our place to another engine, 2 when the settings are wrong."""
    options = _parser().parse_args(arguments)
    if options.command == "schema":
        return _schema(options.check)
    try:
        config = load(options.config, os.environ, options.env_file)  # noqa: TID251  the one place
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
    commands.add_parser("check", help="read the configuration, name every problem, and end")
    schema = commands.add_parser("schema", help="print the JSON Schema of the configuration")
    schema.add_argument("--check", type=Path, metavar="FILE", help="exit 1 when FILE is stale, print nothing")
    return parser


if __name__ == "__main__":
    sys.exit(main())
