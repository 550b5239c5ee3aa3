"""The compose files and Dockerfiles as far as they can be judged without an engine (`make test-containers` has one).

Compose itself, 1.29.2 and 2.40, accepts both files; the keys it was asked about are listed here, so that one which an
old compose has never heard of does not slip in.
"""

import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

from ai_engine.config.call_agent import SECRETS as CALL_AGENT_SECRETS
from ai_engine.config.overrides import OVERRIDES, SECRETS

CHECKOUT = Path(__file__).resolve().parents[2]
OURS = ("ai-engine", "local-ai-server")
ALL = (*OURS, "asterisk")
DOCKERFILES = ("ai_engine/Dockerfile", "local_ai_server/Dockerfile", "asterisk/Dockerfile")

SERVICE_KEYS = {
    "build", "cap_drop", "command", "depends_on", "environment", "extra_hosts", "healthcheck", "image", "network_mode",
    "ports", "profiles", "read_only", "restart", "security_opt", "stop_grace_period", "stop_signal", "tmpfs", "user",
    "volumes",
}  # fmt: skip
"""Accepted by compose 1.29.2 and 2.40 alike."""

STUDIO_KEYS = {"OFFHOOK_STUDIO_KEY", "OFFHOOK_STUDIO_PASSPHRASE"}
KEYS = {"DEEPGRAM_API_KEY", "OPENAI_API_KEY", "CALL_AGENT_CONFIG", *CALL_AGENT_SECRETS, *STUDIO_KEYS}
"""Of the providers, as their sections name them unless told otherwise."""

CONTAINER_PATHS = {
    "MEDIA_DIRECTORY",
    "RECORDING_DIRECTORY",
    "CALL_AGENT_STORE",
    "STUDIO_AGENTS",
    "STUDIO_DIRECTORY",
}
"""Fixed inside a container, whatever .env says of the machine around it."""


def read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHECKOUT / name).read_text())
    return found


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = read("docker-compose.yml")["services"]
    return found


@pytest.fixture
def dev() -> dict[str, Any]:
    found: dict[str, Any] = read("docker-compose.dev.yml")["services"]
    return found


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.dev.yml"])
def test_nothing_that_an_old_compose_refuses(name: str) -> None:
    document = read(name)
    assert {key for key in document if not key.startswith("x-")} <= {"services", "volumes"}
    for service in document["services"].values():
        assert set(service) <= SERVICE_KEYS


@pytest.mark.parametrize("name", ["docker-compose.yml", "docker-compose.dev.yml"])
def test_no_variable_within_a_variable_which_an_old_compose_does_not_see(name: str) -> None:
    assert not re.search(r"\$\{[^}]*\$\{", (CHECKOUT / name).read_text())


def test_the_asterisk_comes_only_when_asked_for(services: dict[str, Any]) -> None:
    assert set(services) == set(ALL)
    assert services["asterisk"]["profiles"] == ["trial"]
    assert not any("profiles" in services[name] for name in OURS)


@pytest.mark.parametrize("name", ALL)
def test_each_service_is_confined_and_comes_back(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["restart"] == "unless-stopped"
    assert service["network_mode"] == "host"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert "privileged" not in service


@pytest.mark.parametrize(
    ("name", "asks"),
    [
        ("ai-engine", "http://127.0.0.1:${HEALTH_PORT:-15000}/ready"),
        ("local-ai-server", "http://127.0.0.1:${LOCAL_AI_PORT:-8765}/ready"),
        ("asterisk", "core waitfullybooted"),
    ],
)
def test_each_service_is_asked_how_it_is(services: dict[str, Any], name: str, asks: str) -> None:
    check = services[name]["healthcheck"]
    # A list would be handed to Podman's engine word by word, quoted words broken up.
    assert isinstance(check["test"], str)
    assert asks in check["test"]
    assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize(("name", "variable"), [("ai-engine", "HEALTH_PORT"), ("local-ai-server", "LOCAL_AI_PORT")])
def test_no_proxy_is_asked_for_it(services: dict[str, Any], name: str, variable: str) -> None:
    class Ready(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever).start()
        environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
            "http_proxy": "http://127.0.0.1:9",
            variable: str(server.server_port),  # compose writes variables as the shell does
        }
        check = services[name]["healthcheck"]["test"]
        done = subprocess.run(["sh", "-c", check], env=environment, capture_output=True, text=True, timeout=30)
        server.shutdown()
    assert done.returncode == 0, done.stderr


def test_the_media_directory_is_memory_that_engine_and_asterisk_share(services: dict[str, Any]) -> None:
    for name in ("ai-engine", "asterisk"):
        assert "media:/mnt/asterisk_media" in services[name]["volumes"]
    volume = read("docker-compose.yml")["volumes"]["media"]
    assert volume["driver_opts"]["type"] == "tmpfs"
    # Podman reads these two as its own and then no longer recognises the volume as the one it made.
    assert not re.search(r"\b(size|[ug]id)=", volume["driver_opts"]["o"])


def test_recordings_outlive_the_container(services: dict[str, Any]) -> None:
    target = services["ai-engine"]["environment"]["RECORDING_DIRECTORY"]
    (mounted,) = [entry for entry in services["ai-engine"]["volumes"] if entry.startswith("recordings:")]
    assert target.startswith(mounted.split(":")[1] + "/")
    assert "recordings" in read("docker-compose.yml")["volumes"]


def test_every_setting_of_the_engine_passes_through(services: dict[str, Any]) -> None:
    given = services["ai-engine"]["environment"]
    assert set(given) == set(OVERRIDES) | set(SECRETS) | KEYS
    assert {name for name, value in given.items() if value is None} == (set(OVERRIDES) - CONTAINER_PATHS) | KEYS


def test_every_setting_of_the_local_server_passes_through(services: dict[str, Any]) -> None:
    known = set(re.findall(r"LOCAL_AI_[A-Z]+(?:_[A-Z]+)*", (CHECKOUT / "local_ai_server/config.py").read_text()))
    assert set(services["local-ai-server"]["environment"]) == known


def test_no_secret_is_written_down_and_a_missing_one_is_named(services: dict[str, Any]) -> None:
    for name in ("ai-engine", "asterisk"):
        assert services[name]["environment"]["ASTERISK_ARI_PASSWORD"].startswith("${ASTERISK_ARI_PASSWORD:?")
    assert "ASTERISK_ARI_PASSWORD" not in services["local-ai-server"]["environment"]


def test_the_dev_file_maps_ports_to_loopback_and_runs_the_checkout(dev: dict[str, Any]) -> None:
    mapped = dev["network"]["ports"]
    assert {re.findall(r":-(\d+)", port)[0] for port in mapped} == {"8090", "8765", "15000", "4545"}
    assert all(port.startswith("127.0.0.1:") for port in mapped)
    for name, package in zip(OURS, ("ai_engine", "local_ai_server"), strict=True):
        assert dev[name]["network_mode"] == "service:network"
        assert f"./{package}:/opt/offhook/{package}:ro" in dev[name]["volumes"]


@pytest.mark.parametrize(("name", "kind"), [(DOCKERFILES[0], "engine"), (DOCKERFILES[1], "local")])
def test_the_images_install_as_make_does(name: str, kind: str) -> None:
    text = (CHECKOUT / name).read_text()
    assert text.count("FROM ") == 1
    assert "\nFROM debian:bookworm-slim\n" in text
    assert "\nCOPY requirements.lock " in text
    assert re.search(rf"^RUN scripts/setup ({kind}|\"\$LOCAL_AI_BACKENDS\")\s", text, re.MULTILINE)
    assert "ARG LOCAL_AI_BACKENDS" not in text or "\nARG LOCAL_AI_BACKENDS=local\n" in text
    assert "pip install" not in text


@pytest.mark.parametrize("name", DOCKERFILES)
def test_no_image_runs_as_root(name: str) -> None:
    users = re.findall(r"^USER (\S+)$", (CHECKOUT / name).read_text(), re.MULTILINE)
    assert users == ["offhook"]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_an_image_copies_is_let_through(name: str) -> None:
    let_through = {line[1:] for line in (CHECKOUT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = set(re.findall(r"^COPY (\S+)", (CHECKOUT / name).read_text(), re.MULTILINE))
    assert copied
    assert copied <= let_through
    assert all((CHECKOUT / path).exists() for path in copied)


def test_no_secret_enters_a_build() -> None:
    assert (CHECKOUT / ".dockerignore").read_text().splitlines()[1] == "*"


@pytest.mark.parametrize("name", [*DOCKERFILES, "docker-compose.yml", "docker-compose.dev.yml"])
def test_no_registry_is_named(name: str) -> None:
    for image in re.findall(r"^(?:FROM|\s+image:) (\S+)", (CHECKOUT / name).read_text(), re.MULTILINE):
        assert "/" not in image
