"""Many calls at once, and two times that all want: each is booked once, and nobody is promised what another has.

The real desk, tools and calendar, over a toy network; the agents are coroutines that use the tools as models do.
"""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from ai_engine.calendar.embedded import EmbeddedCalendar
from ai_engine.jobs.ports import Attempt
from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.settings import CalendarSettings, Defaults
from ai_engine.jobs.status import Status
from ai_engine.session.toolbox import Toolbox
from ai_engine.tools.calendar import calendar_tools
from tests.end_to_end.call_agent_world import START, ZONE
from tests.fakes.desks import Desk, PaperCalendar, open_desk
from tests.fakes.tool_call import ToolCall
from tests.fakes.toy_network import ANSWERED, DONE, ToyNetwork
from tests.waiting import until

CALLS, OUTSIDERS = 12, 4
DAY = START.date()
FIRST, SECOND = f"{DAY}T10:00:00", f"{DAY}T10:30:00"
TIMES = (FIRST, SECOND)

WANTED = {
    "timezone": ZONE,
    "durationMinutes": 30,
    "windowStart": f"{DAY}T00:00:00",
    "windowEnd": f"{DAY}T23:59:00",
    "workingHours": {"start": "10:00", "end": "11:00", "days": [2]},
}
"""Two appointments fit in."""


@dataclass
class House:
    """One calendar and all who want something of it."""

    desk: Desk
    calendar: EmbeddedCalendar
    chance: random.Random
    toolbox: Toolbox = field(init=False)
    all_talk: asyncio.Barrier = field(default_factory=lambda: asyncio.Barrier(CALLS))
    begun: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        settings = CalendarSettings()
        self.toolbox = Toolbox(calendar_tools(self, settings, Defaults(), ZONE, lambda: datetime.now(UTC)))

    # -- Bookings, as the engine has it ------------------------------------------------------------------------

    async def ask(self, operation: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self.calendar.ask(operation, body)

    async def book(self, call_id: str, job_id: str | None, body: Mapping[str, Any]) -> Mapping[str, Any]:
        return await self.desk.dispatch.book(job_id or call_id, body)

    # -- people --------------------------------------------------------------------------------------------------

    async def agent(self, attempt: Attempt) -> str:
        """Talks until a time is booked, or there is none: the time, or nothing."""
        call = ToolCall(attempt.assignment.facts)
        call.call_id = attempt.key
        wish = self.chance.choice(TIMES)
        if self.chance.random() < 0.3:  # a model that promises before it looks
            assert not (await self._use(call, "create_event", start=wish))["ok"]
        for _ in range(4):
            checked = await self._use(call, "check_slot", start=wish)
            assert checked["ok"], checked
            if checked["available"]:
                return wish if await self._booked(call, wish) else ""
            others = [other["start"][:19] for other in checked["alternatives"]]
            assert wish not in others
            assert set(others) <= set(TIMES), "outside of what the call is about"
            if not others:
                return ""
            wish = self.chance.choice(others)
        return ""

    async def outsider(self) -> str:
        """Another program that enters what it wants without asking."""
        await self.begun.wait()
        await self._dawdle()
        wish = self.chance.choice(TIMES)
        begin = datetime.fromisoformat(wish)
        body = {
            "calendarId": "primary",
            "start": wish,
            "end": begin.replace(minute=(begin.minute + 30) % 60, hour=begin.hour + begin.minute // 30).isoformat(),
            "timezone": ZONE,
            "title": "By hand",
            "idempotencyKey": f"by-hand-{self.chance.random()}",
        }
        return wish if (await self.calendar.ask("create-event", body))["ok"] else ""

    async def _booked(self, call: ToolCall, wish: str) -> bool:
        """What was found to be free is kept for the call; and asked for twice it is one appointment."""
        await self._dawdle()
        answers = [await self._use(call, "create_event", start=wish)]
        if self.chance.random() < 0.3:
            answers.append(await self._use(call, "create_event", start=wish, title="Once more"))
        assert [answer["ok"] for answer in answers] == [True] * len(answers), answers
        assert len({answer["eventId"] for answer in answers}) == 1
        return True

    async def _use(self, call: ToolCall, tool: str, **arguments: Any) -> Mapping[str, Any]:
        result, _ = await self.toolbox.use(f"calendar_{tool}", arguments, call)
        return result

    async def _dawdle(self) -> None:
        """As people do between a question and its answer: long enough for others to come between."""
        await asyncio.sleep(self.chance.random() / 20)

    async def events(self) -> list[Mapping[str, Any]]:
        window = {"windowStart": f"{DAY}T00:00:00", "windowEnd": f"{DAY}T23:59:00", "timezone": ZONE}
        listed = await self.calendar.ask("list-events", {"calendarIds": ["primary"], **window})
        return list(listed["events"])


async def _call(house: House, number: int) -> tuple[str, CallRecord]:
    """One call from the request to its end; what its agent promised, and what is on record."""
    desk = house.desk
    asked = await desk.call(to=f"+155501{number:02}", goal="A visit", **WANTED)
    await desk.until(asked.id, lambda record: record.status is Status.IN_PROGRESS)
    attempt = desk.dispatch.find(asked.id)
    assert attempt is not None
    await house.all_talk.wait()
    house.begun.set()
    promised = await house.agent(attempt)
    await asyncio.to_thread(desk.dispatch.report, asked.id, 1, DONE)
    return promised, await desk.settled(asked.id)


@pytest.mark.parametrize("seed", range(3))
async def test_two_are_booked_and_the_others_are_told(tmp_path: Path, seed: int) -> None:
    calendar = EmbeddedCalendar(
        CalendarSettings(directory=tmp_path / "calendar"), lambda: datetime.now(UTC).timestamp()
    )
    network = ToyNetwork([[ANSWERED]] * CALLS)
    # It is asked as the paper one is.
    async with open_desk(tmp_path, {"mock": {"calls": CALLS}}, network, cast(PaperCalendar, calendar)) as desk:
        house = House(desk, calendar, random.Random(seed))
        calls = asyncio.gather(*(_call(house, number) for number in range(CALLS)))
        others = asyncio.gather(*(house.outsider() for _ in range(OUTSIDERS * seed)))
        results, by_hand = await calls, [wish for wish in await others if wish]
        events = await house.events()
        assert sorted(event["start"][:19] for event in events) == sorted(TIMES), "each time once"
        promised = [time for time, _ in results if time]
        assert sorted(promised + by_hand) == sorted(TIMES), "what was promised is what is in the calendar"
        for time, record in results:
            event = record.scheduled_event
            assert (event.start.isoformat()[:19] if event else "") == time
            assert record.outcome == ("scheduled" if time else "not_scheduled")
        ids = {record.scheduled_event.event_id for _, record in results if record.scheduled_event}
        assert ids <= {event["eventId"] for event in events}
        await until(lambda: len(desk.told) >= len(promised))
        assert sorted(told.id for told in desk.told) == sorted(record.id for time, record in results if time)
    await calendar.close()
