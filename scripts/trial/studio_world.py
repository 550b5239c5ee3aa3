"""An engine, its Asterisk, a carrier and a telephone behind it, all real, to be looked after with `studio`.

async with StudioWorld(trial, folder) as world:
    world.import_number()                       # `studio number import …`, as somebody would type it
    done = await world.studio("list", "--json") # Done: status, stdout, stderr; raises TrialError where it must not fail
    await world.phone.wait_for("CALL_INCOMING") # telephone 1000 of the carrier, reached by world.phone_number
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from scripts.trial import booking
from scripts.trial.asterisk import Trial
from scripts.trial.carrier import Carrier
from scripts.trial.phone import BaresipPhone
from scripts.trial.programs import Programs, free_port
from scripts.trial.rootfs import CHECKOUT, TrialError

NUMBER = "+15550100199"
"""Ours, at the carrier."""
PHONE_NUMBER = "+15557650002"
"""Of the telephone that is called through the carrier."""
_STUDIO_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Done:
    """A command of `studio` that has ended."""

    arguments: Sequence[str]
    status: int
    stdout: str
    stderr: str

    def json(self) -> Any:
        """Raises TrialError when it is none."""
        try:
            return json.loads(self.stdout)
        except ValueError as error:
            raise TrialError(
                f"studio {' '.join(self.arguments)} printed no JSON: {self.stdout or self.stderr}"
            ) from error


def write_config(
    trial: Trial, folder: Path, port: int, *, shared_folder: bool = True, trunks: Mapping[str, Any] | None = None
) -> Path:
    """The shipped configuration with a call desk at ``port``, its ``trunks``, and studio; kept in ``folder``.

    Raises TrialError.
    """
    path = booking.write_config(folder, {"server": {"port": port}, "asterisk": {"trunks": trunks or {}}})
    section: Mapping[str, Any] = {
        "directory": str(folder / "studio"),
        "agents": str(folder / "agents"),
        "media_address": trial.bind,
        **({"pjsip_directory": str(trial.trunks)} if shared_folder else {}),
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n{yaml.safe_dump({'studio': section})}")
    return path


class StudioWorld:
    """Opened and closed once."""

    def __init__(self, trial: Trial, folder: Path, *, carrier: str = "carrier", shared_folder: bool = True) -> None:
        """``carrier``: the name of its instance. ``shared_folder``: trunks reach Asterisk as a file, else over ARI."""
        self.trial = trial
        self.folder = folder
        self.carrier = Carrier(trial, carrier)
        self.port = free_port()
        self._shared_folder = shared_folder
        self._opened = AsyncExitStack()
        self.programs: Programs
        self.phone: BaresipPhone

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as opened:
            self.config = write_config(self.trial, self.folder, self.port, shared_folder=self._shared_folder)
            await opened.enter_async_context(self.carrier)
            self.phone = await opened.enter_async_context(BaresipPhone(self.carrier.trial, self.folder / "phone"))
            self.carrier.route(PHONE_NUMBER, self.phone.sip_uri)
            settings = {"LOG_FORMAT": "json"}
            self.programs = await opened.enter_async_context(
                Programs(self.trial, self.folder, settings, config=self.config)
            )
            self._opened = opened.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._opened.aclose()
        if self._shared_folder:  # what an interrupted story leaves there would be in the way of the next one
            (self.trial.trunks / "offhook-studio.conf").unlink(missing_ok=True)
            await asyncio.to_thread(self.trial.cli, "module reload res_pjsip.so")

    async def studio(self, *arguments: str, typed: str = "", status: int | None = 0) -> Done:
        """Run `studio`, with ``typed`` on its standard input; raises TrialError when it ends with another status than
        ``status``; None: with any."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "ai_engine.studio", "--config", str(self.config), "--env-file", "", *arguments),
            cwd=CHECKOUT,
            env={
                **os.environ,
                "COLUMNS": "100",
                "NO_COLOR": "1",
                "RECORDING_DIRECTORY": str(self.programs.directory / "calls"),
            },
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(_STUDIO_SECONDS):
            out, errors = await process.communicate(typed.encode())
        done = Done(arguments, process.returncode or 0, out.decode(), errors.decode())
        if status is not None and done.status != status:
            raise TrialError(f"studio {' '.join(arguments)} ended with {done.status}: {done.stderr}{done.stdout}")
        return done

    async def import_number(self, *more: str, status: int | None = 0) -> Done:
        """``NUMBER``, with the password on standard input."""
        trunk = ("--trunk-address", f"{self.carrier.address}:{self.carrier.port}")
        login = ("--sip-username", self.carrier.username, "--sip-password", "-")
        return await self.studio(
            "number", "import", "--number", NUMBER, *trunk, *login, *more, typed=self.carrier.password, status=status
        )

    async def running(self) -> list[dict[str, Any]]:
        """What `studio list --json` says."""
        found: list[dict[str, Any]] = (await self.studio("list", "--json")).json()
        return found
