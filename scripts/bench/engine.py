"""The process that is measured: the engine as it is, but for its agent, which takes no time. Started by ``launch``."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from ai_engine.app.commands import serve
from ai_engine.config import load
from scripts.bench.agent import BenchAgent
from scripts.trial.rootfs import CHECKOUT


def settings(changes: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What ``config/ai-agent.yaml`` says, changed by section; so that marks pass unharmed, too."""
    said: dict[str, Any] = yaml.safe_load((CHECKOUT / "config" / "ai-agent.yaml").read_text())
    own: dict[str, dict[str, Any]] = {
        "streaming": {"level_dbfs": None, "sample_rate_hz": 8000},
        "audiosocket": {"max_connections": 5000, "dialplan_first": True},
        "recording": {"enabled": False},
        "logging": {"level": "warning", "format": "json"},
        "no_input": {"seconds": 60},
    }
    for part in (own, changes):
        for section, values in part.items():
            said.setdefault(section, {}).update(values)
    return said


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM; 1 when Asterisk gave our place to another engine."""
    options = _parser().parse_args(arguments)
    os.sched_setaffinity(0, {options.core})
    return serve(load(options.config, os.environ), {"local": partial(BenchAgent, journal=options.journal)})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.engine", description=__doc__)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--journal", type=Path, help="where the agent writes when it was interrupted")
    return parser


if __name__ == "__main__":
    sys.exit(main())
