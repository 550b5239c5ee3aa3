"""`make demo`: a real SIP phone calls a real Asterisk, talks with the engine and books an appointment, measured."""

import argparse
import asyncio
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from scripts.trial import asterisk, booking, conversation, report
from scripts.trial.asterisk import Trial
from scripts.trial.conversation import EXTENSION, Line
from scripts.trial.programs import Program, Programs, Usage, free_port
from scripts.trial.report import Check, Report
from scripts.trial.rootfs import CHECKOUT, TrialError
from scripts.trial.speech import synthesize

WORST_GAP_MS = 40.0
INTERRUPT_AFTER = 3.0

SCRIPT = ("what are your opening hours", "what can you do for me", "!where are you located", "no that's all goodbye")
"""A leading ``!`` interrupts the reply to the line before."""


@dataclass(frozen=True, slots=True)
class Talk:
    """One call of the demo."""

    lines: Sequence[Line]
    measured: Report
    appointment: booking.Outcome | None = None

    def checks(self, *, goodbye: bool) -> list[Check]:
        checks = report.checks(self.measured, self.lines, goodbye=goodbye)
        if self.measured.way.endswith("/stream"):  # between two files Asterisk sends nothing
            whole = 0 < self.measured.worst_gap_ms <= WORST_GAP_MS and not self.measured.missing
            checks.append(Check(f"no frame gap over {WORST_GAP_MS:.0f} ms at the phone, no frame missing", whole))
        return [*checks, *(self.appointment.checks(was_taken=True) if self.appointment else ())]

    def plain(self, *, goodbye: bool) -> dict[str, Any]:
        """Ready for JSON."""
        checks = self.checks(goodbye=goodbye)
        return {
            **self.measured.plain(),
            **(self.appointment.plain() if self.appointment else {}),
            "checks": {check.what: check.good for check in checks},
            "good": all(check.good for check in checks),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """0: the conversation did all it should. 1: it did not. 2: it could not be held at all."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=options.json)
    booking.be_quiet()
    folder = CHECKOUT / "var" / "demo" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    was_running = asterisk.status() is not None
    try:
        with stage(console, "Asterisk"):
            trial = asterisk.start(tell=lambda line: console.print(f"    [dim]{line}[/]"))
        with stage(console, "the caller's voice (flite)"):
            lines = _lines(options)
            wishes = [line_of(item, options.voice) for item in (() if options.lines else booking.SCRIPT)]
        talks = asyncio.run(_calls(trial, lines, wishes, folder, console, _ways(options)))
    except (TrialError, TimeoutError) as error:
        console.print(f"[bold red]demo:[/] {error}", soft_wrap=True)
        if folder.exists():
            console.print(f"    logs: {folder}", soft_wrap=True)
        return 2
    finally:
        if not was_running:
            asterisk.stop()
    return _conclude(talks, folder, console, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make demo",
        description=__doc__,
        epilog="""examples:
  make demo
  make demo ARGS='--say "when do you close" --say "goodbye"'
  make demo ARGS='--say "what can you do for me" --say "!are you open today" --say "goodbye"'
  make demo ARGS='--wav my-question.wav --say "goodbye"'
  make demo ARGS='--transport websocket'
  make demo ARGS='--downstream file'
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--say",
        action="append",
        dest="lines",
        metavar="TEXT",
        help="what the caller says, in order; a leading ! interrupts the agent's reply to the line before",
    )
    parser.add_argument(
        "--wav",
        action="append",
        dest="lines",
        metavar="FILE",
        type=lambda path: Path(path),
        help="a recording the caller plays instead (8000 Hz mono 16-bit WAV)",
    )
    parser.add_argument("--voice", default="rms", choices=("rms", "awb", "slt"), help="the caller's flite voice")
    parser.add_argument(
        "--transport",
        choices=("audiosocket", "websocket", "legacy", "auto"),
        help="how sound travels; else as config says",
    )
    parser.add_argument(
        "--downstream", choices=("stream", "file"), help="how the agent's voice goes back; else as config says"
    )
    parser.add_argument("--json", action="store_true", help="print the measured call as JSON on standard output")
    return parser


def _lines(options: argparse.Namespace) -> list[Line]:
    return [line_of(item, options.voice) for item in options.lines or SCRIPT]


def line_of(item: str | Path, voice: str) -> Line:
    """What one ``--say`` or ``--wav`` stands for."""
    if isinstance(item, Path):
        if not item.exists():
            raise TrialError(f"{item}: there is no such file")
        return Line(f"(plays {item.name})", item)
    text = item.removeprefix("!")
    return Line(text, synthesize(text, voice), INTERRUPT_AFTER if text != item else None)


def _ways(options: argparse.Namespace) -> dict[str, str]:
    """What was chosen, as the engine's own variables."""
    chosen = {"AUDIO_TRANSPORT": options.transport, "DOWNSTREAM_MODE": options.downstream}
    return {name: value for name, value in chosen.items() if value}


async def _calls(
    trial: Trial,
    lines: Sequence[Line],
    wishes: Sequence[Line],
    folder: Path,
    console: Console,
    settings: Mapping[str, str],
) -> list[Talk]:
    """The conversation of ``lines``, then one about an appointment, where there are ``wishes``."""
    settings = {"LOG_FORMAT": "json", **settings}
    with stage(console, "local_ai_server and ai_engine"):
        config = booking.write_config(folder, {"server": {"port": free_port()}})
        await booking.take(folder, booking.taken_time())
        programs = await Programs(trial, folder, settings, config=config).__aenter__()
    follower = asyncio.create_task(follow(programs.engine, console))
    try:
        talks = [await _talk(trial, programs, lines, folder, console, EXTENSION)]
        if wishes:
            there = folder / booking.AGENT
            talk = await _talk(trial, programs, wishes, there, console, booking.EXTENSION)
            talks.append(replace(talk, appointment=await booking.outcome(folder, talk.measured.folder)))
        return talks
    finally:
        follower.cancel()
        await programs.stop()


async def _talk(
    trial: Trial, programs: Programs, lines: Sequence[Line], folder: Path, console: Console, extension: str
) -> Talk:
    console.print(f"[bold]The call[/] [dim]sip phone → {trial.sip_uri(extension)} → Stasis → engine[/]")
    known, began, before = len(programs.calls()), time.monotonic(), _usage(programs)
    overheard = await conversation.place(trial, folder, lines, extension)
    recorded = await programs.recorded(after=known)
    _show_usage(console, before, _usage(programs), time.monotonic() - began)
    return Talk(lines, await asyncio.to_thread(report.read, recorded, overheard))


def _usage(programs: Programs) -> dict[str, Usage]:
    return {program.name: program.usage() for program in (programs.engine, programs.local)}


def _show_usage(console: Console, before: Mapping[str, Usage], after: Mapping[str, Usage], seconds: float) -> None:
    console.print(
        "  [dim]"
        + " · ".join(
            f"{name} {(usage.cpu_seconds - before[name].cpu_seconds) / seconds:.1%} of a core, {usage.megabytes:.0f} MB"
            for name, usage in after.items()
        )
        + "[/]"
    )


async def follow(engine: Program, console: Console) -> None:
    """Print who says what, as the engine logs it."""
    started = time.monotonic()
    with engine.log.open(encoding="utf-8") as log:
        while True:
            line = log.readline()
            if not line:
                await asyncio.sleep(0.05)
                continue
            if said := _said(line):
                console.print(f"  [dim]{time.monotonic() - started:5.1f} s[/]  {said}")


def _said(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    match entry.get("event"):
        case "caller said":
            return f"[bold cyan]caller[/]  {entry['text'] or '[dim](not understood)[/]'}"
        case "agent says":
            return f"[bold green]agent[/]   {entry['text']}"
        case "agent interrupted":
            return f"[yellow]agent is interrupted after {entry['heard_ms'] / 1000:.1f} s[/]"
        case "tool asked" if entry["name"] not in ("hangup", "transfer"):
            words = ", ".join(str(value) for value in entry["arguments"].values())
            return f"[magenta]tool[/]    {entry['name']} [dim]{words}[/]"
        case "bound to channel":
            return f"[dim]sound flows: {entry['way']}, {entry['rate']} Hz[/]"
        case "agent waits" | "agent goes on" | "caller only hummed" | "false alarm":
            return f"[dim]{entry['event']}[/]"
        case "provider session started" | "hangup asked" | "transfer asked" | "call ended":
            return f"[dim]{entry['event']} {entry.get('reason', '')}[/]"
    return ""


def _conclude(talks: Sequence[Talk], folder: Path, console: Console, options: argparse.Namespace) -> int:
    first, *others = talks
    results = [talk.plain(goodbye=not options.lines) for talk in talks]
    for talk in talks:
        _show(talk, console, goodbye=not options.lines)
    good = all(result["good"] for result in results)
    result = {**results[0], "good": good, **({"appointment": results[1]} if others else {})}
    (folder / "report.json").write_text(json.dumps(result, indent=2))
    shutil.copy(first.measured.folder / "call.wav", folder / "call.wav")
    if options.json:
        print(json.dumps(result, indent=2))
    console.print(f"""
  stereo WAV   {folder / "call.wav"}   (left the caller, right the agent)
  transcript   {first.measured.folder / "transcript.json"}
  figures      {folder / "report.json"}
  packets      {folder / "call.pcap"}
  calendar     {folder / "calendar"}
  logs         {folder / "ai_engine.log"}, {folder / "local_ai_server.log"}

[bold]Next:[/] [bold]make run[/] keeps all of it up: dial {EXTENSION}, or 101 for a call without ARI, with your
      own softphone (it prints the account). [bold]make demo-outbound[/] has the engine call the phone.
      config/ai-agent.yaml is the agent; docs/snippets connects your own Asterisk.""", soft_wrap=True)  # fmt: skip
    return 0 if good else 1


def _show(talk: Talk, console: Console, *, goodbye: bool) -> None:
    report.show(talk.measured, console)
    for turn in talk.measured.transcript:
        if turn["cut"]:
            console.print(f"  of the interrupted reply was heard, and kept: [green]{turn['text']} …[/]")
    if talk.appointment:
        talk.appointment.show(console)
    for check in talk.checks(goodbye=goodbye):
        console.print(f"  {'[green]✓[/]' if check.good else '[bold red]✗[/]'} {check.what}")


@contextmanager
def stage(console: Console, what: str) -> Iterator[None]:
    """Tell what is being got ready, and how long it took."""
    console.print(f"[bold]==>[/] {what}")
    began = time.monotonic()
    yield
    console.print(f"    [dim]ready after {time.monotonic() - began:.1f} s[/]")


if __name__ == "__main__":
    sys.exit(main())
