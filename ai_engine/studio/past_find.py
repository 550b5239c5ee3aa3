"""Finds calls that are over: what was recorded here, and what an engine knows of those that were asked for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.studio.client import StudioClient
from ai_engine.studio.engines import Engine, ask, engines
from ai_engine.studio.errors import NOT_FOUND, Stop
from ai_engine.studio.history import Recording, Summary, recorded, summary
from ai_engine.studio.output import remark
from ai_engine.studio.place import Place
from ai_engine.studio.where import Where

_SHORTEST_BEGINNING = 4
_SAME_MOMENT = timedelta(minutes=1)
"""What two clocks may differ by."""


@dataclass(frozen=True, slots=True)
class Past:
    """A call that was recorded, one that was asked for, or both."""

    id: str
    when: datetime
    summary: Summary | None = None
    job: CallRecord | None = None

    def as_json(self) -> dict[str, Any]:
        found: dict[str, Any] = {"id": self.id, "at": self.when.isoformat()}
        if (one := self.summary) is not None:
            found |= {
                "recording": str(one.recording.path), "facts": dict(one.facts), "reason": one.reason,
                "seconds": one.seconds, "turns": len(one.turns), "answerMs": one.answer_ms,
            }  # fmt: skip
        return {**found, **({"job": self.job.as_json()} if self.job is not None else {})}


def find_all(where: Where, here: Place, limit: int) -> list[Past]:
    """The newest first. Raises Stop."""
    by_id = {job.id: job for job in _jobs(where, here, limit)}
    found: list[Past] = []
    for recording in recorded(here.recordings)[:limit]:
        one = summary(recording)
        found.append(Past(recording.call_id, recording.started, one, by_id.get(str(one.facts.get("job", "")))))
    held = {str(one.summary.facts.get("job", "")) for one in found if one.summary is not None}
    found += [Past(job.id, job.created_at, job=job) for job in by_id.values() if job.id not in held]
    return sorted(found, key=lambda one: one.when, reverse=True)[:limit]


def _engine(where: Where, here: Place) -> Engine | None:
    return next(iter(engines(where, here)), None)


def _jobs(where: Where, here: Place, limit: int) -> Sequence[CallRecord]:
    """Those that were asked for; what was recorded can be seen without an engine."""
    if (engine := _engine(where, here)) is None:
        return ()
    try:
        return ask(engine, lambda client: client.jobs(limit=limit))
    except Stop as stop:
        remark(f"only what was recorded is shown: {stop}")
        return ()


def find_one(where: Where, here: Place, id: str) -> tuple[Recording | None, CallRecord | None, Sequence[TimelineEntry]]:
    """By the id of the call, or of what was asked for, or how it begins. Raises Stop."""
    safe = re.sub(r"[^\w.-]", "_", id)
    all_of_them = recorded(here.recordings)
    found = [one for one in all_of_them if one.call_id == safe or one.path.name == id]
    if not found and len(safe) >= _SHORTEST_BEGINNING:
        found = [one for one in all_of_them if one.call_id.startswith(safe)]
    if len(found) > 1 and len({one.call_id for one in found}) > 1:
        names = "\n".join(f"  {one.call_id}" for one in found[:10])
        raise Stop(NOT_FOUND, f"{id!r} is the beginning of {len(found)} calls:\n{names}")
    recording = found[0] if found else None
    job_id = str(summary(recording).facts.get("job", "")) if recording is not None else id
    engine = _engine(where, here)
    job, entries = _asked_for(engine, job_id) if engine is not None and job_id else (None, ())
    if job is not None and recording is None:  # its recording is called otherwise
        later = (one for one in all_of_them if one.started > job.created_at - _SAME_MOMENT)
        recording = next((one for one in later if summary(one).facts.get("job") == job.id), None)
    if recording is None and job is None:
        beside = "" if engine is not None else ", and no engine runs that could know one that was not answered"
        raise Stop(NOT_FOUND, f"there is no call {id!r} in {here.recordings}{beside}; `studio calls` lists them")
    return recording, job, entries


def _asked_for(engine: Engine, job: str) -> tuple[CallRecord | None, Sequence[TimelineEntry]]:
    async def asked(client: StudioClient) -> tuple[CallRecord | None, Sequence[TimelineEntry]]:
        record = await client.job(job)
        return record, await client.timeline(job) if record is not None else ()

    try:
        return ask(engine, asked)
    except Stop as stop:
        remark(str(stop))
        return None, ()
