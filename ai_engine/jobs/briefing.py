"""What the agent of an outbound call is told."""

import re
from datetime import datetime
from textwrap import shorten

from ai_engine.jobs.ports import Assignment
from ai_engine.jobs.record import CallRecord
from ai_engine.jobs.settings import CallAgentSettings
from ai_engine.jobs.times import as_moment, zone

CALENDAR_TOOLS = ("calendar_find_slots", "calendar_check_slot", "calendar_create_event")
REPORT_TOOL = "report_call"

_PLACE = re.compile(r"\{(\w+)\}")
_MOST_SPOKEN_CHARACTERS = 200
"""Of one fact: about a quarter of a minute."""

JOB_FACTS = (
    "job",
    "goal",
    "callee",
    "user",
    "duration_minutes",
    "timezone",
    "window_start",
    "window_end",
    "working_hours",
    "calendar_id",
    "today",
)
"""What prompt, disclosure and voicemail message may say as ``{name}`` in an outbound call."""


def assignment(
    settings: CallAgentSettings, record: CallRecord, agent: str, own_zone: str, now: datetime, put_right: str = ""
) -> Assignment:
    """For the attempt that ``record`` says; ``agent`` is used where neither request nor settings name one.

    ``own_zone`` is meant where they name no time zone; ``put_right`` is a promise that could not be kept.
    """
    request = record.request
    facts = {**job_facts(settings, record, own_zone, now), **(request.variables or {})}
    return Assignment(
        call_id=record.id,
        attempt=record.attempt,
        agent=request.agent or settings.agent or agent,
        facts=facts,
        greeting=_greeting(settings, record, facts),
        own_words=request.talks,
        instructions="\n".join(_instructions(record, facts, put_right)),
        tools=_tools(record),
        language=request.locale or "",
        voice=request.voice or "",
        message=_message(settings, facts),
        max_seconds=request.max_seconds or settings.manners.max_seconds,
    )


def job_facts(settings: CallAgentSettings, record: CallRecord, own_zone: str, now: datetime) -> dict[str, str]:
    """By name, see ``JOB_FACTS``; empty where nobody said."""
    request = record.request
    place = request.timezone or settings.defaults.timezone or own_zone
    hours = request.working_hours or settings.defaults.working_hours
    minutes = request.duration_minutes
    return {
        "job": record.id,
        "goal": request.goal or "",
        "callee": request.callee_name or "",
        "user": request.user_name or "",
        "duration_minutes": "" if minutes is None else f"{minutes:g}",
        "timezone": place,
        "window_start": _written(request.window_start, place),
        "window_end": _written(request.window_end, place),
        "working_hours": hours.model_dump_json(by_alias=True),
        "calendar_id": request.calendar_id,
        "today": now.astimezone(zone(place)).strftime("%A, %d %B %Y, %H:%M"),
    }


def filled(text: str, facts: dict[str, str]) -> str:
    """``text``, which is going to be spoken, with the ``{places}`` that ``facts`` knows filled in.

    What they say is said as it is, whatever braces are in it, and a long story is cut.
    """
    words = _PLACE.sub(lambda found: _short(facts.get(found[1], found[0])), text)
    return " ".join(words.split())


def _short(text: str) -> str:
    return shorten(text, _MOST_SPOKEN_CHARACTERS, placeholder="")


def _written(moment: datetime | None, place: str) -> str:
    return "" if moment is None else as_moment(moment, place).isoformat()


def _tools(record: CallRecord) -> tuple[str, ...]:
    if record.request.talks:
        return ()
    return CALENDAR_TOOLS if record.request.books else (REPORT_TOOL,)


def _greeting(settings: CallAgentSettings, record: CallRecord, facts: dict[str, str]) -> str:
    """Short, and without the goal: that is a note for the agent, who will say it in its own words."""
    disclosure = filled(settings.manners.disclosure, facts)
    if record.request.talks:
        return disclosure
    to = f", {facts['callee']}" if facts["callee"] else ""
    for_whom = f" on behalf of {facts['user']}" if facts["user"] else ""
    about = " to make an appointment" if record.request.books else ""
    call = f" I am calling{for_whom}{about}." if for_whom or about else ""
    return " ".join(f"Hello{to}. {disclosure}{call}".split())


def _message(settings: CallAgentSettings, facts: dict[str, str]) -> str:
    voicemail = settings.manners.voicemail
    if voicemail.action == "hang_up":
        return ""
    return filled(voicemail.message, facts).replace(" for .", ".")


def _instructions(record: CallRecord, facts: dict[str, str], put_right: str) -> list[str]:
    lines = [*_who(facts), *_task(record, facts)]
    if put_right:
        lines.append(
            f"You have talked with them before, and must put something right: {put_right}. Apologise, and agree"
            " on another time."
        )
    return lines


def _who(facts: dict[str, str]) -> list[str]:
    lines = [f"You have called{' ' + facts['callee'] if facts['callee'] else ' somebody'}; it is now {facts['today']}."]
    if facts["user"]:
        lines.append(f"You act for {facts['user']}.")
    return lines


def _task(record: CallRecord, facts: dict[str, str]) -> list[str]:
    if record.request.talks:
        return []
    return _booking(facts) if record.request.books else _free(record)


def _booking(facts: dict[str, str]) -> list[str]:
    window = f"no earlier than {facts['window_start']}" if facts["window_start"] else ""
    until = f"no later than {facts['window_end']}" if facts["window_end"] else ""
    within = " and ".join(part for part in (window, until) if part)
    return [
        f"Goal of the call: {facts['goal']}",
        f"Make an appointment of {facts['duration_minutes']} minutes{', ' + within if within else ''}.",
        f"Time zone {facts['timezone']}; working hours {facts['working_hours']}; calendar {facts['calendar_id']}.",
        "Agree on one concrete date and time. Before you promise a time, check it with calendar_check_slot; where it is"
        " taken, offer the alternatives it names, or look for others with calendar_find_slots.",
        "Read date and time back and wait for a clear yes. Only then use calendar_create_event. When it has succeeded,"
        " say goodbye and hang up.",
    ]


def _free(record: CallRecord) -> list[str]:
    return [
        record.request.prompt or "",
        f"When the conversation is over, use {REPORT_TOOL} to say what came of it; the call ends with that.",
    ]
