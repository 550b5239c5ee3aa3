"""A number, an agent and calls both ways, looked after with the real `studio` command, as `make demo-studio` shows."""

import os
from pathlib import Path

import pytest
from rich.console import Console

from scripts.trial.asterisk import Trial
from scripts.trial.demo_studio import tell

pytestmark = [pytest.mark.asterisk, pytest.mark.phone, pytest.mark.timeout(180)]


@pytest.mark.parametrize("shared_folder", [True, False], ids=["file", "ari"])
async def test_a_number_from_its_import_to_its_removal(asterisk: Trial, tmp_path: Path, shared_folder: bool) -> None:
    carrier = f"test-carrier-{os.getpid()}"
    story = await tell(asterisk, tmp_path, Console(), shared_folder=shared_folder, carrier=carrier)
    assert [check.what for check in story.checks if not check.good] == []
    assert len(story.checks) == 14, "a step was left out"
