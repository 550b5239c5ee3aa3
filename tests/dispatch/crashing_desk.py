"""A desk that dies at the Nth thing it does, and the world that stays: ``python -m tests.dispatch.crashing_desk``.

The telephone network, the calendar and whoever is told live in files, as they would live on elsewhere. One call is
busy at first, is answered the second time, and books. Prints how many things were done, where it did not die.
"""

import asyncio
import functools
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from ai_engine.dispatch.carrier import Carrier
from ai_engine.dispatch.store import Store
from ai_engine.jobs.ports import Attempt, AttemptLost, Started, Urls
from tests.fakes.desks import BOOK, PaperCalendar, open_desk
from tests.fakes.toy_network import ANSWERED, BUSY, DONE, ToyNetwork

EVENT = {
    "calendarId": "primary",
    "start": "2026-12-01T10:00:00+01:00",
    "end": "2026-12-01T10:30:00+01:00",
    "timezone": "Europe/Berlin",
    "title": "Visit",
}


class Ledger:
    """Lines of JSON in a file, safe on the disk when ``write`` returns."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, entry: object) -> None:
        with self._path.open("a") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[Any]:
        return [json.loads(line) for line in self._path.read_text().splitlines()] if self._path.exists() else []


class LastingNetwork(ToyNetwork):
    """Keeps what was dialled, as Asterisk keeps its channels while the engine is away."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._made = Ledger(directory / "prepared")
        self._calls = Ledger(directory / "dialed")
        self._hung_up = Ledger(directory / "hung up")
        self.rings = False
        """And nobody answers."""
        self.book: Callable[[str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]

    async def prepare_call(self, attempt: Attempt) -> str:
        if attempt.key not in self._made.read():
            self._made.write(attempt.key)
        return f"lasting-{attempt.key}"

    async def start_call(self, attempt: Attempt, urls: Urls, *, again: bool) -> Started:
        if again and attempt.key in self._calls.read():
            return Started(f"lasting-{attempt.key}")
        if attempt.key not in self._made.read():
            raise AttemptLost("it was never prepared")
        self._calls.write(attempt.key)
        return Started(f"lasting-{attempt.key}")

    async def watch_call(self, attempt: Attempt, provider_call_id: str) -> None:
        if not self.rings:
            asyncio.get_running_loop().create_task(self._talk(attempt))  # noqa: RUF006 - as long as the process

    async def end_call(self, attempt: Attempt, provider_call_id: str) -> None:
        self._hung_up.write(attempt.key)

    async def _talk(self, attempt: Attempt) -> None:
        say = functools.partial(asyncio.to_thread, self.report, attempt.call_id, attempt.number)
        if attempt.number == 1:
            await say(BUSY)
            return
        await say(ANSWERED)
        await self.book(attempt.call_id, {**EVENT, "idempotencyKey": f"{attempt.call_id}:10"})
        await say(DONE)


class LastingCalendar(PaperCalendar):
    """Enters an appointment once for each key."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._entered = Ledger(directory / "events")

    async def ask(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        keys = self._entered.read()
        if body["idempotencyKey"] not in keys:
            self._entered.write(body["idempotencyKey"])
            keys = self._entered.read()
        number = keys.index(body["idempotencyKey"]) + 1
        return {"ok": True, "eventId": f"event-{number}", **{key: body[key] for key in ("start", "end", "timezone")}}


class Fate:
    """Counts what is done, and ends the process at one of these points as a power cut would."""

    def __init__(self, dies_at: int) -> None:
        self.done = 0
        self._dies_at = dies_at

    def point(self) -> None:
        self.done += 1
        if self.done == self._dies_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def rule(self, kind: type, *names: str) -> None:
        for name in names:
            setattr(kind, name, self._ruled(getattr(kind, name)))

    def _ruled(self, method: Callable[..., Any]) -> Callable[..., Any]:
        if asyncio.iscoroutinefunction(method):

            async def later(*arguments: Any, **named: Any) -> Any:
                self.point()
                result = await method(*arguments, **named)
                self.point()
                return result

            return functools.wraps(method)(later)

        def now(*arguments: Any, **named: Any) -> Any:
            self.point()
            result = method(*arguments, **named)
            self.point()
            return result

        return functools.wraps(method)(now)


async def main(directory: Path, dies_at: int, url: str = "", engine: str = "one", *, rings: bool = False) -> None:
    """``rings``: nobody answers, until somebody cancels it."""
    fate = Fate(dies_at)
    writes = ("add_call", "change", "settle", "queue_attempt", "begin_attempt", "prepared", "claim_start", "started")
    fate.rule(Store, *writes, "progress", "redial", "ask_booking", "answer_booking", "note")
    fate.rule(LastingNetwork, "prepare_call", "start_call", "watch_call")
    fate.rule(LastingCalendar, "ask")
    fate.rule(Carrier, "until_allowed", "until_done", "see_through")
    network = LastingNetwork(directory)
    network.rings = rings
    settings = {"retry": {"initial_delay_ms": 10, "max_attempts": 5}}
    told = Ledger(directory / "told")
    calendar = LastingCalendar(directory)
    async with open_desk(
        directory,
        settings,
        network,
        calendar,
        url=url,
        engine_name=engine,
        told=lambda record: told.write(record.id),
        lost_seconds=2.0,
    ) as desk:
        network.book = desk.dispatch.book
        known = await desk.dispatch.calls()
        record = known[0] if known else await desk.call(**{**BOOK, "idempotencyKey": "the one"})
        await desk.settled(record.id)
        await desk.until(record.id, lambda _: rings or bool(told.read()))
        print(fate.done)


if __name__ == "__main__":
    directory, dies_at, *rest = sys.argv[1:]
    asyncio.run(main(Path(directory), int(dies_at), *rest[:2], rings="rings" in rest))
