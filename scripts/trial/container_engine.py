"""A container engine for `make test-containers`: the Docker that answers, else a Podman with a store of its own.

with container_engine(tell) as engine:             # Engine; a Podman is installed, started and ended again
    engine.compose(settings, "up", "-d")
    engine.run("inspect", container)
"""

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.trial.rootfs import CHECKOUT, Say, TrialError, as_root, step

CACHE = CHECKOUT / ".cache" / "containers"
LOG = CACHE / "engine.log"
"""What every command said, for when one fails."""

SOCKET_SECONDS = 15.0
STOP_SECONDS = 10.0

PODMAN_COMMANDS = {"podman": "podman", "runc": "runc", "docker-compose": "docker-compose", "mmdebstrap": "mmdebstrap"}
"""A command Podman's way needs -> the Debian package that has it."""


@dataclass(frozen=True, slots=True)
class Engine:
    """How to reach a container engine from the command line."""

    name: str
    environment: Mapping[str, str]
    client: tuple[str, ...]
    """``docker`` or ``podman``, which share their commands."""
    compose_client: tuple[str, ...]
    root: bool
    """Whether its commands must be run as root."""

    @property
    def is_podman(self) -> bool:
        return self.client == ("podman",)

    def run(self, *arguments: str) -> str:
        """One command of the engine, and what it printed; raises TrialError when it fails."""
        return self.run_bytes(*arguments).decode(errors="replace")

    def run_bytes(self, *arguments: str) -> bytes:
        """Like ``run``, for output that is no text."""
        return call(self._command(self.client, {}, arguments)).stdout

    def succeeds(self, *arguments: str, seconds: float | None = None) -> bool:
        """Whether a command ends well, within ``seconds`` if given."""
        return _succeeds(self._command(self.client, {}, arguments), seconds)

    def compose(self, settings: Mapping[str, str], *arguments: str) -> str:
        """One command of compose, with environment variables for the compose file; raises TrialError."""
        command = self._command(self.compose_client, settings, arguments)
        return call(command).stdout.decode(errors="replace")

    def _command(self, client: tuple[str, ...], settings: Mapping[str, str], arguments: tuple[str, ...]) -> list[str]:
        # sudo drops the environment, so it is said on the command line.
        assignments = [f"{name}={value}" for name, value in {**self.environment, **settings}.items()]
        command = ["env", *assignments, *client, *arguments]
        return as_root(command) if self.root else command


@contextmanager
def container_engine(tell: Say) -> Iterator[Engine]:
    """The Docker on this machine, else Podman as root, for as long as the block lasts. Raises TrialError."""
    CACHE.mkdir(parents=True, exist_ok=True)
    LOG.write_bytes(b"")
    if docker := _docker():
        yield docker
        return
    tell("  no Docker engine answers here: Podman takes its place")
    _install_podman(tell)
    podman = _podman()
    with _podman_service(podman, tell):
        yield podman


def _docker() -> Engine | None:
    if shutil.which("docker") is None or not _succeeds(["docker", "info"], SOCKET_SECONDS):
        return None
    plugin = _succeeds(["docker", "compose", "version"])
    if not plugin and shutil.which("docker-compose") is None:
        raise TrialError("Docker runs, but has no compose: install docker-compose-plugin or docker-compose")
    version = call(["docker", "version", "--format", "{{.Server.Version}}"]).stdout.decode().strip()
    return Engine(
        name=f"Docker {version}",
        environment={},
        client=("docker",),
        compose_client=("docker", "compose") if plugin else ("docker-compose",),
        root=False,
    )


def _install_podman(tell: Say) -> None:
    missing = [package for command, package in PODMAN_COMMANDS.items() if shutil.which(command) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise TrialError(f"neither a Docker engine nor apt-get is here: start Docker, or install {', '.join(missing)}")
    with step(tell, f"installed {', '.join(missing)}"):
        install = ["apt-get", "-q", "-y", "install", "--no-install-recommends", *missing]
        call(as_root(["apt-get", "-q", "update"]))
        call(as_root(["env", "DEBIAN_FRONTEND=noninteractive", *install]))


def _podman() -> Engine:
    version = call(["podman", "--version"]).stdout.decode().split()[-1]
    engine = Engine(
        name=f"Podman {version}",
        environment={
            "CONTAINERS_CONF": str(CACHE / "containers.conf"),
            "CONTAINERS_STORAGE_CONF": str(CACHE / "storage.conf"),
            "BUILDAH_ISOLATION": "chroot",  # a build needs no more, and many machines allow no more
            "DOCKER_HOST": f"unix://{_socket()}",
        },
        client=("podman",),
        compose_client=("docker-compose",),
        root=True,
    )
    # Without explicit limits each start fails in setrlimit; crun and systemd's cgroups are not to be had everywhere.
    (CACHE / "containers.conf").write_text(f"""\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
tmp_dir = "{CACHE}/tmp"
[network]
network_config_dir = "{CACHE}/networks"
""")
    (CACHE / "storage.conf").write_text(f"""\
[storage]
driver = "overlay"
graphroot = "{CACHE}/storage"
runroot = "{CACHE}/run"
[storage.options.overlay]
skip_mount_home = "true"
""")
    return engine


def _socket() -> Path:
    return CACHE / "podman.sock"


@contextmanager
def _podman_service(podman: Engine, tell: Say) -> Iterator[None]:
    """Podman's stand-in for the Docker engine, which compose talks to."""
    if _socket().exists():
        call(as_root(["rm", str(_socket())]))
    command = ["env", *(f"{name}={value}" for name, value in podman.environment.items())]
    command += ["podman", "system", "service", "--time=0", f"unix://{_socket()}"]
    with (CACHE / "service.log").open("wb") as log:
        service = subprocess.Popen(
            as_root(command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + SOCKET_SECONDS
        while not podman.succeeds("--remote", "--url", f"unix://{_socket()}", "version"):
            if time.monotonic() > deadline or service.poll() is not None:
                said = (CACHE / "service.log").read_text(errors="replace")
                raise TrialError(f"Podman's service does not answer ({CACHE / 'service.log'}):\n{said[-1000:]}")
            time.sleep(0.1)
        yield
    finally:
        call(as_root(["kill", str(service.pid)]))
        service.wait(STOP_SECONDS)


def _succeeds(command: list[str], seconds: float | None = None) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=seconds, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def call(command: list[str]) -> subprocess.CompletedProcess[bytes]:
    """Run a command, its messages going to the log; raises TrialError with its last words."""
    done = subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    # Settings are many, and some are passwords.
    shown = " ".join(word for word in command if not re.match(r"[A-Z_]+=", word))
    with LOG.open("ab") as log:
        log.write(f"$ {shown}\n".encode() + (done.stdout if done.returncode else b"") + done.stderr)
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).decode(errors="replace").splitlines()[-15:])
        raise TrialError(f"'{shown}' failed ({LOG}):\n{said}")
    return done
