"""A whole engine that places calls, as a process, and all that is around it: a model, a calendar, somebody who is told.

The model is a faithful fake of OpenAI Realtime that looks for a time, checks it, and books it when the callee agrees.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import yaml

from scripts.trial.asterisk import Trial
from scripts.trial.programs import Programs, free_port
from tests.fakes.hook_server import HookServer
from tests.fakes.openai_realtime import OpenAIRealtimeServer
from tests.fakes.scenario import Call, Scenario, Turn

ZONE = "Europe/Berlin"
NUMBER = "+15550100"
SECONDS = 40.0


def next_tuesday() -> datetime:
    """At ten, more than two days from now, without an offset: meant in ``ZONE``."""
    day = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=3)
    day += timedelta(days=(1 - day.weekday()) % 7)
    return day.replace(hour=10, minute=0, second=0, microsecond=0)


START = next_tuesday()
END = START + timedelta(minutes=30)

BOOKING = Scenario(
    "Hello, I am an automated assistant. I am calling about an appointment.",
    [
        Turn(
            "yes how can i help you",
            tools=[
                Call("calendar_find_slots", {}),
                Call("calendar_check_slot", {"start": START.isoformat(), "end": END.isoformat()}),
            ],
            then="Would Tuesday at ten be fine?",
        ),
        Turn(
            "yes tuesday at ten is fine",
            tools=[
                Call(
                    "calendar_create_event",
                    {"start": START.isoformat(), "end": END.isoformat(), "title": "Check-up"},
                )
            ],
            then="Thank you, it is booked. Goodbye.",
        ),
        Turn("goodbye", "Goodbye.", tools=[Call("hangup")]),
    ],
)
"""What the callee says is what the model hears, whatever it sounds like."""

REQUEST = {
    "to": NUMBER,
    "goal": "A check-up",
    "durationMinutes": 30,
    "timezone": ZONE,
    "windowStart": START.replace(hour=0).isoformat(),
    "windowEnd": (START.replace(hour=0) + timedelta(days=2)).isoformat(),
    "userName": "Ana",
    "calleeName": "Doctor Who",
}


@dataclass
class World:
    """All of it, running."""

    programs: Programs
    api: httpx.AsyncClient
    model: OpenAIRealtimeServer
    hook: HookServer
    directory: Path
    url: str

    async def call(self, **changes: Any) -> str:
        """Ask for the call; returns its id."""
        answer = await self.api.post("/calls", json={**REQUEST, **changes})
        assert answer.status_code == 202, answer.text
        call_id: str = answer.json()["callId"]
        return call_id

    async def record(self, call_id: str) -> dict[str, Any]:
        found: dict[str, Any] = (await self.api.get(f"/calls/{call_id}")).json()
        return found

    async def timeline(self, call_id: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.api.get(f"/calls/{call_id}/timeline")).json()["entries"]
        return found

    async def kinds(self, call_id: str) -> list[str]:
        """Of the timeline."""
        return [entry["kind"] for entry in await self.timeline(call_id)]

    async def until(
        self, call_id: str, wanted: Callable[[Mapping[str, Any]], bool], seconds: float = SECONDS
    ) -> dict[str, Any]:
        """The record, once it is as ``wanted``. Raises TimeoutError with what it is instead."""
        record = await self.record(call_id)
        try:
            async with asyncio.timeout(seconds):
                while not wanted(record):
                    await asyncio.sleep(0.1)
                    record = await self.record(call_id)
        except TimeoutError:
            raise TimeoutError(
                f"{record}\n{await self.kinds(call_id)}\n{self.programs.engine.log_text()[-6000:]}"
            ) from None
        return record

    async def until_told(self, call_id: str, kind: str) -> None:
        """Wait until the timeline has it."""
        async with asyncio.timeout(SECONDS):
            while kind not in await self.kinds(call_id):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)

    async def settled(self, call_id: str) -> dict[str, Any]:
        return await self.until(call_id, lambda record: "completedAt" in record)

    def appointments(self) -> list[Path]:
        """The .ics files of the calendar."""
        return sorted((self.directory / "calendar").rglob("*.ics"))


@asynccontextmanager
async def world(
    trial: Trial,
    directory: Path,
    call_agent: Mapping[str, Any],
    settings: Mapping[str, str] | None = None,
    scenario: Scenario = BOOKING,
    hook: HookServer | None = None,
    port: int = 0,
    sections: Mapping[str, Any] | None = None,
) -> AsyncIterator[World]:
    """``call_agent`` over a section that can be tested with, ``sections`` beside it; ``settings`` are environment
    variables."""
    port, hook = port or free_port(), hook or HookServer()
    model = OpenAIRealtimeServer(scenario)
    async with hook.listening(), model.listening():
        section = {
            "agent": "assistant",
            "server": {"port": port},
            "openai": {"base_url": model.url},
            "calendar": {"directory": str(directory / "calendar")},
            "notify": {"hooks_url": hook.url, "session_key": "main"},
            "defaults": {"timezone": ZONE},
            "retry": {"initial_delay_ms": 300},
            "manners": {"windows": []},
            "store": {"path": str(directory / "calls.sqlite")},
            **call_agent,
        }
        path = directory / "config.yaml"
        path.write_text(yaml.safe_dump({**configuration(section), **(sections or {})}))
        environment = {
            "OPENAI_API_KEY": "test-key",
            "NOTIFY_HOOKS_TOKEN": "hook-token",
            "CALL_AGENT_TOKEN": "secret-of-callers",
            "LOG_FORMAT": "json",
            **(settings or {}),
        }
        headers = {"Authorization": "Bearer secret-of-callers"}
        url = f"http://127.0.0.1:{port}"
        async with (
            Programs(trial, directory / "run", environment, with_local=False, config=path) as programs,
            httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as api,
        ):
            await open_for_calls(api)
            yield World(programs, api, model, hook, directory, url)
        assert model.violations == []


def configuration(section: Mapping[str, Any]) -> dict[str, Any]:
    """With an agent who calls and one who is called, both of whom think with the model."""
    return {
        "default_agent": "assistant",
        "downstream_mode": "stream",
        "streaming": {"level_dbfs": None},
        "call_agent": dict(section),
        "agents": {
            "assistant": {"prompt": "Be brief.", "tools": ["hangup", "transfer"]},
            "reception": {"prompt": "You are the receptionist.", "tools": ["hangup"]},
        },
        "default_provider": "openai_realtime",
        "providers": {"openai_realtime": {"url": section["openai"]["base_url"]}},
    }


async def open_for_calls(api: httpx.AsyncClient) -> None:
    """Wait until the desk answers."""
    async with asyncio.timeout(20):
        while True:
            try:
                if (await api.get("/health")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


def check_booked(found: Mapping[str, Any]) -> None:
    """The record of a call that has done what it should."""
    event = found["scheduledEvent"]
    assert (found["status"], found["outcome"]) == ("completed", "scheduled"), json.dumps(found, indent=1)
    assert datetime.fromisoformat(event["start"]).replace(tzinfo=None) == START
    assert datetime.fromisoformat(event["end"]).replace(tzinfo=None) == END
    assert event["timezone"] == ZONE
    assert event["summary"] == "Check-up"
