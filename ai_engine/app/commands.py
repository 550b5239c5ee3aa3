"""What the commands of the engine itself do: serve calls, check, show and describe the configuration."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from ai_engine.app.calls import AgentMaker
from ai_engine.app.check import Trial, check_providers, providers_in_use
from ai_engine.app.check_voice import read_sentence
from ai_engine.app.engine import App, ApplicationTaken
from ai_engine.app.live_config import with_agents
from ai_engine.config import EngineConfig, load
from ai_engine.config.call_agent import shown
from ai_engine.config.overrides import gather
from ai_engine.config.schema import kind_of
from ai_engine.config.schema import text as schema_text
from ai_engine.observe.logs import LogPipe, start_logging

new_event_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
with suppress(ImportError):  # not built for every platform
    import uvloop

    new_event_loop = uvloop.new_event_loop

_REALTIME_PRIORITY = 1
"""As ``asterisk -p`` does, where we may (root, or a limit of ``rtprio``): a frame is due every 20 ms whatever else this
machine does. All our threads have it, or one without would hold the interpreter lock when it is put aside. A loop that
hangs is ended by the watchdog, and the kernel keeps a share for others."""


def run(options: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """The exit status. Raises ConfigError."""
    if options.command == "schema":
        return _schema(options.of, options.check)
    tried = getattr(options, "providers", None)
    config = load(options.config, environ, options.env_file, tried or ())
    match options.command:
        case "check" if tried is not None:
            return _check_providers(with_agents(config), tried, options)
        case "check":
            agents = with_agents(config).agents
            for place, why in config.warnings():
                print(f"{options.config}: {'.'.join(map(str, place))}: {why}", file=sys.stderr)
            print(f"{options.config}: good ({len(agents)} agents)")
            return 0
        case "config":
            return _show(config)
        case "calendar":
            # What a serving engine never shows should not be loaded by it.
            from ai_engine.app.calendar_commands import run_calendar  # noqa: PLC0415

            return run_calendar(config, options)
    return serve(config, environ={name: one.value for name, one in gather(environ, options.env_file).items()})


def serve(
    config: EngineConfig,
    agents: Mapping[str, AgentMaker] | None = None,
    environ: Mapping[str, str] | None = None,
) -> int:
    """Hold calls until SIGTERM; 1 when Asterisk gave our place to another engine. Raises ConfigError.

    ``agents`` by the name of their provider, in place of our own; ``environ`` may name the key of the store of numbers.
    """
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_REALTIME_PRIORITY))
    pipe = start_logging(config.logging.level, config.logging.format)
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_run(config, pipe, agents, environ))
    except ApplicationTaken:
        return 1
    finally:
        pipe.stop()
    return 0


async def _run(
    config: EngineConfig,
    pipe: LogPipe,
    agents: Mapping[str, AgentMaker] | None,
    environ: Mapping[str, str] | None,
) -> None:
    await App(config, lambda: pipe.dropped, agents, environ, pipe.ring).run()


def _check_providers(config: EngineConfig, names: Sequence[str], options: argparse.Namespace) -> int:
    """1 when one of them is not fit for calls. Raises ConfigError."""
    # As above.
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


def _show(config: EngineConfig) -> int:
    """All that was read, with defaults and overrides; secrets are masked."""
    plain = config.model_dump(mode="json", exclude={"secrets", "call_agent"})
    if config.call_agent is not None:
        plain["call_agent"] = shown(config.call_agent)
    print(json.dumps(plain, indent=2))
    return 0


def _schema(kind: str, check: Sequence[Path] | None) -> int:
    if check is None:
        print(schema_text(kind), end="")
        return 0
    stale = [path for path in check if not path.exists() or path.read_text() != schema_text(kind_of(path))]
    for path in stale:
        print(f"{path} is stale: run 'make schema'", file=sys.stderr)
    return 1 if stale else 0
