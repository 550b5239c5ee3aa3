"""The package installs from a git URL and from a local path, and its command runs."""

import os
import subprocess
import sysconfig
import venv
from pathlib import Path

import pytest

from scripts.trial.rootfs import CHECKOUT


@pytest.mark.parametrize("source", [f"git+file://{CHECKOUT}", "-e"])
def test_it_installs_and_its_command_runs(tmp_path: Path, source: str) -> None:
    """What it depends on is taken from here: that it can be had is what scripts/setup shows."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    site = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    Path(site, "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    what = ["-e", str(_copy(tmp_path))] if source == "-e" else [source]
    _run(python, "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall", *what)
    offhook = tmp_path / "venv/bin/offhook"
    assert _run(offhook, "--version") == "0.1.0\n"
    assert "run" in _run(offhook, "--help")
    there = _run(
        python,
        "-c",
        "import ai_engine.telephony as t, ai_engine as e, pathlib as p;"
        "print(sorted(f.name for f in (p.Path(t.__file__).parent / 'mock_page').iterdir()),"
        "sorted(f.name for f in (p.Path(e.__file__).parent / 'prompts').iterdir()))",
    )
    assert "page.html" in there
    assert "transfer.wav" in there


def _copy(directory: Path) -> Path:
    """What git would give: building must leave nothing behind in the checkout."""
    target = directory / "offhook"
    _run("git", "clone", "-q", str(CHECKOUT), str(target))
    return target


def _run(*command: object) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, cwd="/", env=environment, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
