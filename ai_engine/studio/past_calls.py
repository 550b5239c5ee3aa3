"""What `studio calls` and `studio calls show` do."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.studio import history
from ai_engine.studio.errors import OK
from ai_engine.studio.history import Recording, Summary, summary
from ai_engine.studio.output import Cell, say, short_ids, show_facts, show_json, show_table
from ai_engine.studio.past_find import Past, find_all, find_one
from ai_engine.studio.place import place
from ai_engine.studio.where import Where
from ai_engine.web.call_screen import console, show_entry, verdict

_STEPS = (
    ("end_of_turn_ms", "turn over"),
    ("transcript_ms", "words"),
    ("first_token_ms", "answer"),
    ("first_audio_ms", "sound"),
    ("first_frame_ms", "heard"),
    ("barge_in_ms", "silenced"),
)
"""Of a turn: in turns.json, and as a title."""


def list_calls(where: Where, *, limit: int, as_json: bool) -> int:
    """Raises Stop."""
    here = place(where)
    found = find_all(where, here, limit)
    if as_json:
        show_json([one.as_json() for one in found])
    elif not found:
        say(f"no call is recorded in {here.recordings}, and none was asked for")
    else:
        titles = ("when", "agent", "with", "how it went", "lasted", "turns", "answer", "id")
        ids = short_ids([one.id for one in found])
        show_table(titles, map(_row, found, ids), fold=("how it went",), spare=("turns", "lasted"))
    return OK


def show_call(where: Where, id: str, *, as_json: bool) -> int:
    """Raises Stop."""
    here = place(where)
    recording, job, entries = find_one(where, here, id)
    known = summary(recording) if recording is not None else None
    lines = history.transcript(recording) if recording is not None else []
    if as_json:
        one = Past(_name(recording, job), _when(recording, job), known, job)
        said = [{**line, "after": line["after"].total_seconds()} for line in lines]
        show_json(
            {
                **one.as_json(), "transcript": said, "turns": list(known.turns) if known else [],
                "usage": dict(history.usage(recording)) if recording else {},
                "files": [str(path) for path in history.files(recording)] if recording else [],
                "timeline": [entry.as_json() for entry in entries],
            }
        )  # fmt: skip
        return OK
    show_facts(_facts(recording, known, job))
    _show_timeline(entries)
    _show_transcript(lines)
    _show_turns(known.turns if known is not None else ())
    return OK


def _name(recording: Recording | None, job: CallRecord | None) -> str:
    return recording.call_id if recording is not None else job.id if job is not None else ""


def _when(recording: Recording | None, job: CallRecord | None) -> datetime:
    return recording.started if recording is not None else job.created_at if job is not None else datetime.now(UTC)


def _row(one: Past, id: str) -> list[Cell]:
    facts = one.summary.facts if one.summary is not None else {}
    request = one.job.request if one.job is not None else None
    way = f"to {request.to}" if request is not None else f"from {facts['caller']}" if facts.get("caller") else ""
    return [
        f"{one.when.astimezone():%Y-%m-%d %H:%M}",
        str(facts.get("agent") or (request.agent if request is not None else "") or ""),
        way,
        verdict(one.job) if one.job is not None else (one.summary.reason if one.summary is not None else ""),
        _span(one.summary.seconds) if one.summary is not None else "",
        str(len(one.summary.turns)) if one.summary is not None else "",
        _ms(one.summary.answer_ms) if one.summary is not None else "",
        id,
    ]


def _facts(recording: Recording | None, known: Summary | None, job: CallRecord | None) -> list[tuple[str, Cell]]:
    facts: list[tuple[str, Cell]] = [("call", _name(recording, job))]
    facts.append(("when", f"{_when(recording, job).astimezone():%Y-%m-%d %H:%M:%S}"))
    if known is not None:
        facts += [(name, str(value)) for name, value in known.facts.items() if value != ""]
        facts += [("ended", known.reason), ("lasted", _span(known.seconds)), ("answer", _ms(known.answer_ms))]
    if job is not None:
        facts += [
            ("asked for", f"{job.request.to}: {job.request.goal or job.request.prompt or ''}"),
            ("status", verdict(job)),
        ]
        if job.report is not None:
            facts.append(("report", f"{job.report.outcome}: {job.report.summary}"))
    if recording is not None:
        facts.append(("files", str(recording.path)))
    return facts


def _show_timeline(entries: Sequence[TimelineEntry]) -> None:
    if entries:
        say("")
        say("what happened", "bold")
    screen = console()
    for entry in entries:
        show_entry(screen, entry)


def _show_transcript(lines: Sequence[Mapping[str, Any]]) -> None:
    if lines:
        say("")
        say("what was said", "bold")
    for line in lines:
        cut = " …" if line.get("cut") else ""
        say(f"{_span(line['after'].total_seconds()):>6}  {line.get('speaker', ''):7} {line.get('text', '')}{cut}")


def _show_turns(turns: Sequence[Mapping[str, Any]]) -> None:
    if not turns:
        return
    say("")
    say("how long answers took: ms since the caller's last voice", "bold")
    show_table(
        ("#", *(title for _, title in _STEPS), "said"),
        (
            [str(number), *(_ms(turn.get(name), unit="") for name, _ in _STEPS), str(turn.get("text", ""))[:60]]
            for number, turn in enumerate(turns, 1)
        ),
    )


def _ms(value: float | None, unit: str = " ms") -> str:
    return "" if value is None else f"{value:.0f}{unit}"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02}"
