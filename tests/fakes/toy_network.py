"""A telephone network of a few lines, as somebody would write one against ``Telephony``: what becomes of each dial is
said beforehand."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ai_engine.jobs.ports import Attempt, AttemptLost, CannotCall, RouteContext, SignedRequest, Started, Urls
from ai_engine.jobs.status import Progress, Status

Script = Callable[[Attempt], list[Progress]]

BUSY = Progress(Status.BUSY, reason="486 Busy Here")
ANSWERED = Progress(Status.IN_PROGRESS)
DONE = Progress(Status.COMPLETED)


@dataclass
class ToyNetwork:
    """Implements ``Telephony``."""

    scripts: list[list[Progress] | CannotCall] = field(default_factory=list)
    """For each dial, in order: what is reported at once, or why it is refused. Beyond the last one it rings."""
    report: Callable[[str, int, Progress], None] = lambda *_: None
    id: str = "mock"
    prepared: list[str] = field(default_factory=list)
    dialed: list[str] = field(default_factory=list)
    watched: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)

    async def prepare_call(self, attempt: Attempt) -> str:
        self.prepared.append(attempt.key)
        return f"toy-{attempt.key}"

    async def start_call(self, attempt: Attempt, urls: Urls, *, again: bool) -> Started:
        if again and attempt.key not in self.dialed:
            raise AttemptLost("nothing of it is left")
        if not again:
            self.dialed.append(attempt.key)
            self.attempts.append(attempt)
        script = self.scripts[len(self.dialed) - 1] if len(self.dialed) <= len(self.scripts) else []
        if isinstance(script, CannotCall):
            raise script
        return Started(f"toy-{attempt.key}", user_hint=f"open {urls.local}/mock?callId={attempt.call_id} to start")

    async def watch_call(self, attempt: Attempt, provider_call_id: str) -> None:
        self.watched.append(attempt.key)
        number = self.dialed.index(attempt.key)
        script = self.scripts[number] if number < len(self.scripts) else []
        assert isinstance(script, list)
        for news in script:
            await asyncio.to_thread(self.report, attempt.call_id, attempt.number, news)

    async def end_call(self, attempt: Attempt, provider_call_id: str) -> None:
        self.ended.append(attempt.key)

    def build_voice_response(self, attempt: Attempt, urls: Urls) -> str:
        return f"<Response><Say>{attempt.call_id}</Say></Response>"

    def validate_request(self, request: SignedRequest, public_base_url: str) -> bool:
        return True

    def map_status(self, payload: Mapping[str, str]) -> Progress | None:
        return Progress(Status(payload["CallStatus"])) if payload.get("CallStatus") in set(Status) else None

    async def close(self) -> None:
        """Nothing is watched."""

    def register_routes(self, router: Any, context: RouteContext) -> None:
        self.report = context.report
