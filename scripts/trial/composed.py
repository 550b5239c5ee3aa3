"""The compose file brought up for real, under a name and on ports of its own."""

import io
import os
import subprocess
import sys
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scripts.trial.container_engine import Engine
from scripts.trial.instance import Trial
from scripts.trial.programs import free_port
from scripts.trial.rootfs import CHECKOUT, TrialError

PROJECT = "offhook-test"
SERVICES = ("asterisk", "local-ai-server", "ai-engine")
HEALTHY_SECONDS = 60.0


@dataclass(slots=True)
class Composed:
    """Every service of the compose file, the trial Asterisk included."""

    engine: Engine
    trial: Trial
    """The Asterisk in its container, as a phone sees it; it has no run directory out here."""
    settings: Mapping[str, str]
    """Environment variables for the compose file."""
    ids: dict[str, str] = field(default_factory=dict)
    """Service -> container, once it is up."""

    def compose(self, *arguments: str) -> str:
        """One command of compose about this project; raises TrialError."""
        file = str(CHECKOUT / "docker-compose.yml")
        return self.engine.compose(self.settings, "-p", PROJECT, "--profile", "trial", "-f", file, *arguments)

    def up(self) -> None:
        """Start all and wait until each is healthy; raises TrialError with the last words of one that is not."""
        self.compose("up", "-d")
        self.ids = {service: self.compose("ps", "-q", service).strip() for service in SERVICES}
        for service in SERVICES:
            self.wait_healthy(service)

    def restart(self, service: str) -> None:
        """Restart one alone and wait until it is healthy."""
        self.compose("restart", service)
        self.wait_healthy(service)

    def down(self) -> None:
        """Remove the containers and their volumes; the images stay, for the next time."""
        self.compose("down", "-v")

    def wait_healthy(self, service: str) -> None:
        """Raises TrialError when it does not become healthy in time."""
        deadline = time.monotonic() + HEALTHY_SECONDS
        while not self.is_healthy(service):
            if time.monotonic() > deadline:
                raise TrialError(f"{service} does not become healthy; its last words:\n{self.logs(service)[-2000:]}")
            time.sleep(0.3)

    def is_healthy(self, service: str) -> bool:
        """What the container's own health check says."""
        container = self.ids[service]
        if self.engine.is_podman:  # which needs systemd to run the checks by the clock
            return self.engine.succeeds("healthcheck", "run", container)
        return self.engine.run("inspect", "--format", "{{.State.Health.Status}}", container).strip() == "healthy"

    def logs(self, service: str) -> str:
        """What a service has written."""
        return self.compose("logs", "--no-color", service)

    def shell(self, service: str, script: str) -> str:
        """What a shell script prints inside a service's container."""
        return self.engine.run("exec", self.ids[service], "sh", "-c", script)

    def image_megabytes(self, service: str) -> float:
        """The size of a service's image, its base included."""
        image = self.engine.run("inspect", "--format", "{{.Image}}", self.ids[service]).strip()
        return int(self.engine.run("image", "inspect", "--format", "{{.Size}}", image)) / 1e6

    def calls(self, target: Path) -> list[Path]:
        """Copy the recordings below ``target``; returns the folders of finished calls, oldest first."""
        tar = self.engine.run_bytes("exec", self.ids["ai-engine"], "tar", "-c", "-C", "/opt/offhook/var", "calls")
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            archive.extractall(target, filter="data")
        return sorted(turns.parent for turns in target.glob("calls/*/turns.json"))


def composed(engine: Engine, trial: Trial) -> Composed:
    """Ready to be built and brought up, with ``trial`` saying where its Asterisk shall listen."""
    local_port = str(free_port())
    settings = {
        "ASTERISK_HOST": "127.0.0.1",
        "ASTERISK_ARI_PORT": str(trial.http_port),
        "ASTERISK_ARI_USERNAME": trial.username,
        "ASTERISK_ARI_PASSWORD": trial.password,
        "AUDIOSOCKET_PORT": str(free_port()),
        "HEALTH_PORT": str(free_port()),
        "LOCAL_AI_PORT": local_port,
        "LOCAL_AI_URL": f"ws://127.0.0.1:{local_port}/v1",
        "OFFHOOK_PHONE_PASSWORD": trial.phone_password,
        "OFFHOOK_RTP_FIRST": str(trial.rtp_first),
        "OFFHOOK_RTP_LAST": str(trial.rtp_last),
        "OFFHOOK_SIP_BIND": trial.bind,
        "OFFHOOK_SIP_PORT": str(trial.sip_port),
        "PIP_INDEX_URL": _package_index(),
    }
    return Composed(engine, trial, settings)


def _package_index() -> str:
    """The index that pip on this machine was told to use; empty for its usual one."""
    asked = [sys.executable, "-m", "pip", "config", "get", "global.index-url"]
    configured = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    return os.environ.get("PIP_INDEX_URL", configured)
