"""`make demo-outbound`: the engine calls a SIP phone, finds it busy, calls it again, and books an appointment."""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ai_engine.jobs.record import CallRecord, TimelineEntry
from ai_engine.jobs.request import CallRequest
from ai_engine.web.client import EngineClient
from ai_engine.web.problems import Problem
from scripts.trial import asterisk, booking
from scripts.trial.asterisk import Trial
from scripts.trial.conversation import HANGUP_SECONDS, Line, hold
from scripts.trial.demo import follow, line_of, stage
from scripts.trial.phone import BaresipPhone
from scripts.trial.programs import Programs, free_port
from scripts.trial.report import Check
from scripts.trial.rootfs import CHECKOUT, TrialError
from scripts.trial.wire import RtpCapture

NUMBER = "+15550100"
GOAL = "a visit to the garden center"
SCRIPT = ("yes tuesday at ten is fine", "yes that would be fine")
"""What the callee says; the agent speaks first."""

_RETRY_MS = 2000
_SETTLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Placed:
    """A call that was asked for, once nothing more will happen to it."""

    record: CallRecord
    timeline: Sequence[TimelineEntry]
    appointment: booking.Outcome

    def checks(self) -> list[Check]:
        kinds = [entry.kind for entry in self.timeline]
        return [
            Check("the phone was busy, and was dialled again", kinds.count("dialing") == 2 and "busy" in kinds),
            Check("the second call was answered", "answered" in kinds),
            Check("the call came to an appointment", self.record.outcome == "scheduled"),
            *self.appointment.checks(was_taken=False),
        ]


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all went as it should. 1: it did not. 2: it could not be tried at all."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=options.json)
    booking.be_quiet()
    folder = CHECKOUT / "var" / "demo" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ-outbound")
    was_running = asterisk.status() is not None
    try:
        with stage(console, "Asterisk"):
            trial = asterisk.start(tell=lambda line: console.print(f"    [dim]{line}[/]"))
        with stage(console, "the callee's voice (flite)"):
            lines = [line_of(item, options.voice) for item in SCRIPT]
        placed = asyncio.run(_place(trial, lines, folder, console))
    except (TrialError, TimeoutError, Problem) as error:
        console.print(f"[bold red]demo-outbound:[/] {error}", soft_wrap=True)
        console.print(f"    logs: {folder}", soft_wrap=True)
        return 2
    finally:
        if not was_running:
            asterisk.stop()
    return _conclude(placed, folder, console, as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make demo-outbound", description=__doc__)
    parser.add_argument("--voice", default="rms", choices=("rms", "awb", "slt"), help="the callee's flite voice")
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON on standard output")
    return parser


async def _place(trial: Trial, lines: Sequence[Line], folder: Path, console: Console) -> Placed:
    async with AsyncExitStack() as stack:
        with stage(console, "local_ai_server and ai_engine"):
            wire = await stack.enter_async_context(RtpCapture(trial.rtp_ports, _made(folder) / "call.pcap"))
            phone = await stack.enter_async_context(BaresipPhone(trial, folder / "phone"))
            port = free_port()
            config = booking.write_config(folder, _section(phone, port))
            programs = await stack.enter_async_context(Programs(trial, folder, {"LOG_FORMAT": "json"}, config=config))
            engine = await stack.enter_async_context(EngineClient(f"http://127.0.0.1:{port}"))
            await engine.check()
        follower = asyncio.create_task(follow(programs.engine, console))
        stack.callback(follower.cancel)
        console.print(f"[bold]The call[/] [dim]POST /calls → engine → Asterisk → {phone.sip_uri}[/]")
        call = await engine.call_agent(_request())
        await phone.wait_for("CALL_INCOMING")
        await phone.hang_up()  # busy
        await phone.wait_for("CALL_INCOMING", nth=2)
        await phone.answer()
        await phone.wait_for("CALL_ESTABLISHED")
        await hold(phone, wire, lines)
        await phone.wait_for("CALL_CLOSED", HANGUP_SECONDS, nth=2)
        record = await _settled(engine, call.id)
        timeline = await engine.timeline(call.id)
        recorded = await programs.recorded()
        return Placed(record, timeline, await booking.outcome(folder, recorded))


def _section(phone: BaresipPhone, port: int) -> dict[str, object]:
    """The phone takes whatever number is dialled."""
    return {
        "server": {"port": port},
        "asterisk": {"trunks": {"main": {"dial": f"PJSIP/trunk/{phone.sip_uri};number={{number}}"}}},
        "retry": {"initial_delay_ms": _RETRY_MS},
    }


def _request() -> CallRequest:
    return CallRequest(
        to=NUMBER, goal=GOAL, duration_minutes=30, timezone=booking.ZONE, user_name="Robert", callee_name="Ada"
    )


async def _settled(engine: EngineClient, call_id: str) -> CallRecord:
    async with asyncio.timeout(_SETTLE_SECONDS):
        while True:
            record = await engine.status(call_id)
            if record is not None and record.settled:
                return record
            await asyncio.sleep(0.2)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _conclude(placed: Placed, folder: Path, console: Console, *, as_json: bool) -> int:
    began = placed.timeline[0].at if placed.timeline else placed.record.created_at
    table = Table(title="what happened to the call", title_style="dim", box=None)
    for title in ("seconds", "attempt", "what", ""):
        table.add_column(title)
    for entry in placed.timeline:
        seconds = f"{(entry.at - began).total_seconds():.1f}"
        table.add_row(seconds, str(entry.attempt or ""), f"[bold]{entry.kind}[/]", f"[dim]{entry.text}[/]")
    console.print(table)
    placed.appointment.show(console)
    checks = placed.checks()
    for check in checks:
        console.print(f"  {'[green]✓[/]' if check.good else '[bold red]✗[/]'} {check.what}")
    good = all(check.good for check in checks)
    result = {
        "record": placed.record.as_json(),
        "timeline": [entry.as_json() for entry in placed.timeline],
        **placed.appointment.plain(),
        "checks": {check.what: check.good for check in checks},
        "good": good,
    }
    (folder / "report.json").write_text(json.dumps(result, indent=2))
    if as_json:
        print(json.dumps(result, indent=2))
    console.print(
        f"\n  figures      {folder / 'report.json'}\n  logs         {folder / 'ai_engine.log'}", soft_wrap=True
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
