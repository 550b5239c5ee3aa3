"""An appointment made over a real SIP call, by voice and without a language model."""

import asyncio
from pathlib import Path

import pytest

from scripts.trial import booking, conversation
from scripts.trial.asterisk import Trial
from scripts.trial.demo import line_of
from scripts.trial.programs import Programs, free_port

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(180)]


async def test_a_time_is_taken_and_another_one_booked(asterisk: Trial, tmp_path: Path) -> None:
    config = booking.write_config(tmp_path, {"server": {"port": free_port()}})
    await booking.take(tmp_path, booking.taken_time())
    lines = [await asyncio.to_thread(line_of, item, "rms") for item in booking.SCRIPT]
    async with Programs(asterisk, tmp_path / "run", config=config) as programs:
        await conversation.place(asterisk, tmp_path / "talk", lines, booking.EXTENSION)
        outcome = await booking.outcome(tmp_path, await programs.recorded())
    failed = [check.what for check in outcome.checks(was_taken=True) if not check.good]
    assert not failed, outcome
