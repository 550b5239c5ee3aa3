"""A container renders the same configuration as the bare machine."""

import os
import subprocess
from pathlib import Path

import pytest

from scripts.trial.asterisk import TEMPLATES, Ports, Trial, render

VALUES = {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "s3cret", "OFFHOOK_PHONE_PASSWORD": "ph0ne"}


def _container_start(run_dir: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [TEMPLATES / "container-start", "render"],
        env={"PATH": os.environ["PATH"], "OFFHOOK_ASTERISK_RUN": str(run_dir), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def _files(run_dir: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in (run_dir / "etc").glob("*.conf")}


@pytest.mark.asterisk
def test_both_ways_give_the_same_files(asterisk: Trial, tmp_path: Path) -> None:
    bind = Ports().bind
    trial = Trial("", 0, str(tmp_path), bind, 5160, 8188, 20000, 20999, "offhook", "s3cret", "1000", "ph0ne", 5161)
    render(trial, {})
    bare = _files(tmp_path)
    certificate = (tmp_path / "tls/cert.pem").read_text(encoding="ascii")
    assert _container_start(tmp_path, VALUES).returncode == 0
    contained = _files(tmp_path)
    assert (tmp_path / "tls/cert.pem").read_text(encoding="ascii") == certificate
    # Where the modules lie is looked up on the spot; this machine has none outside the root directory.
    assert [line for line in bare.pop("asterisk.conf").splitlines() if "astmoddir" not in line] == [
        line for line in contained.pop("asterisk.conf").splitlines() if "astmoddir" not in line
    ]
    assert contained == bare


@pytest.mark.asterisk
def test_a_container_makes_its_own_certificate(tmp_path: Path) -> None:
    assert _container_start(tmp_path, VALUES).returncode == 0
    assert (tmp_path / "tls/cert.pem").read_text(encoding="ascii").startswith("-----BEGIN CERTIFICATE-----")
    assert (tmp_path / "tls/key.pem").stat().st_mode & 0o777 == 0o600


def test_a_container_without_a_password_does_not_start(tmp_path: Path) -> None:
    done = _container_start(tmp_path, {})
    assert done.returncode
    assert "set ASTERISK_ARI_PASSWORD" in done.stderr
