"""A folder with a configuration, and `studio` run in it."""

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import SecretStr

from ai_engine.host.registry import Entry, Registry, started_of
from ai_engine.studio.__main__ import main
from ai_engine.web.studio_api import Studio
from tests.fakes.call_desk import MemoryDesk
from tests.fakes.front_door import FrontDoor, front_door
from tests.fakes.switchboard import ScriptedSwitchboard

RUN = "the-token-of-this-run"
CONFIG = """\
default_agent: reception
agents:
  reception: {greeting: "Hello."}
recording: {directory: calls}
call_agent:
  telephony: {provider: asterisk}
studio: {directory: studio, agents: agents}
"""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(slots=True)
class House:
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    environ: dict[str, str] = field(default_factory=dict)

    def studio(self, *words: str, typed: str = "") -> Ended:
        """Run here, with ``typed`` on standard input."""
        out, err = io.StringIO(), io.StringIO()
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with redirect_stdout(out), redirect_stderr(err):
            status = main(words, self.environ)
        return Ended(status, out.getvalue(), err.getvalue())

    async def ask(self, *words: str) -> Ended:
        """The same while an engine runs in this process."""
        return await asyncio.to_thread(self.studio, *words)

    def import_number(self, number: str = "+15550199", *words: str, password: str = "pw-of-the-trunk") -> Ended:
        given = ("--number", number, "--trunk-address", "sip.example.com", "--sip-username", "ada")
        return self.studio("number", "import", *given, "--sip-password", "-", *words, typed=f"{password}\n")

    @asynccontextmanager
    async def engine(
        self, board: ScriptedSwitchboard, id: str = "host-1", desk: MemoryDesk | None = None
    ) -> AsyncIterator[FrontDoor]:
        """One that runs, and stands in the registry."""
        me = psutil.Process().pid
        registry = Registry(self.folder / "studio")
        async with front_door(desk, studio=Studio(board, SecretStr(RUN)), tokens=["another"]) as door:
            registry.enter(Entry(id, me, started_of(me), door.url, RUN, str(self.folder / "config/ai-agent.yaml")))
            try:
                yield door
            finally:
                registry.leave(id)
