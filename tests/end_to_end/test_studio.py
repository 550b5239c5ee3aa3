"""A number, an agent and calls both ways, looked after with the real `studio` command, as `make demo-studio` shows."""

import asyncio
import os
import sys
from contextlib import closing
from pathlib import Path

import pytest
from rich.console import Console

from scripts.trial.asterisk import Trial
from scripts.trial.demo_studio import tell
from scripts.trial.rootfs import CHECKOUT
from scripts.trial.studio_world import PHONE_NUMBER, StudioWorld
from tests.studio.tui.fakes.terminal import Terminal

pytestmark = [pytest.mark.asterisk, pytest.mark.phone, pytest.mark.timeout(180)]


@pytest.mark.parametrize("shared_folder", [True, False], ids=["file", "ari"])
async def test_a_number_from_its_import_to_its_removal(asterisk: Trial, tmp_path: Path, shared_folder: bool) -> None:
    carrier = f"test-carrier-{os.getpid()}"
    story = await tell(asterisk, tmp_path, Console(), shared_folder=shared_folder, carrier=carrier)
    assert [check.what for check in story.checks if not check.good] == []
    assert len(story.checks) == 14, "a step was left out"


async def test_the_terminal_studio_on_a_live_call(asterisk: Trial, tmp_path: Path) -> None:
    """Somebody opens `studio` while an agent talks to a phone: sees the words as they are spoken, and hangs up."""
    async with StudioWorld(asterisk, tmp_path, carrier=f"test-carrier-{os.getpid()}", shared_folder=False) as world:
        await world.import_number("--register", "--inbound-agent", "reception")
        await world.studio("call", "reception", PHONE_NUMBER)
        await world.phone.wait_for("CALL_INCOMING", 30)
        command = [sys.executable, "-m", "ai_engine.studio", "--config", str(world.config), "--env-file", ""]
        with closing(Terminal(command, {}, CHECKOUT)) as terminal:
            await asyncio.to_thread(terminal.expect, "ringing", 30)
            terminal.press("\r")  # open it
            await asyncio.to_thread(terminal.expect, "floor")
            await world.phone.answer()
            await asyncio.to_thread(terminal.expect, "agent:", 30)
            terminal.press("h")
            await asyncio.to_thread(terminal.expect, "Hang up on")
            terminal.press("y")
            await asyncio.to_thread(terminal.expect, "Hung up on +")
            await world.phone.wait_for("CALL_CLOSED")
            terminal.press("q")
            assert await asyncio.to_thread(terminal.ended) == 0
        assert world.carrier.password.encode() not in terminal.seen
