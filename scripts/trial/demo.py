"""`make demo`: a real SIP phone calls a real Asterisk and talks with the engine, measured from the wire."""

import argparse
import asyncio
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from scripts.trial import asterisk, conversation, report
from scripts.trial.asterisk import Trial
from scripts.trial.conversation import EXTENSION, Line
from scripts.trial.programs import Program, Programs, Usage
from scripts.trial.report import Check, Report
from scripts.trial.rootfs import CHECKOUT, TrialError
from scripts.trial.speech import synthesize

WORST_GAP_MS = 40.0
INTERRUPT_AFTER = 3.0

SCRIPT = ("what are your opening hours", "what can you do for me", "!where are you located", "no that's all goodbye")
"""A leading ``!`` interrupts the reply to the line before."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0: the conversation did all it should. 1: it did not. 2: it could not be held at all."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=options.json)
    folder = CHECKOUT / "var" / "demo" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    was_running = asterisk.status() is not None
    try:
        with _step(console, "Asterisk"):
            trial = asterisk.start(tell=lambda line: console.print(f"    [dim]{line}[/]"))
        with _step(console, "the caller's voice (flite)"):
            lines = _lines(options)
        measured = asyncio.run(_call(trial, lines, folder, console, _ways(options)))
    except (TrialError, TimeoutError) as error:
        console.print(f"[bold red]demo:[/] {error}", soft_wrap=True)
        if folder.exists():
            console.print(f"    logs: {folder}", soft_wrap=True)
        return 2
    finally:
        if not was_running:
            asterisk.stop()
    return _conclude(measured, lines, folder, console, options)


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


async def _call(
    trial: Trial, lines: Sequence[Line], folder: Path, console: Console, settings: Mapping[str, str]
) -> Report:
    with _step(console, "local_ai_server and ai_engine"):
        programs = await Programs(trial, folder, {"LOG_FORMAT": "json", **settings}).__aenter__()
    try:
        console.print(f"[bold]The call[/] [dim]sip phone → {trial.sip_uri(EXTENSION)} → Stasis → engine[/]")
        follower = asyncio.create_task(_follow(programs.engine, console))
        began, before = time.monotonic(), _usage(programs)
        overheard = await conversation.place(trial, folder, lines)
        recorded = await programs.recorded()
        _show_usage(console, before, _usage(programs), time.monotonic() - began)
        follower.cancel()
        return await asyncio.to_thread(report.read, recorded, overheard)
    finally:
        await programs.stop()


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


async def _follow(engine: Program, console: Console) -> None:
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
        case "bound to channel":
            return f"[dim]sound flows: {entry['way']}, {entry['rate']} Hz[/]"
        case "agent waits" | "agent goes on" | "caller only hummed" | "false alarm":
            return f"[dim]{entry['event']}[/]"
        case "provider session started" | "hangup asked" | "transfer asked" | "call ended":
            return f"[dim]{entry['event']} {entry.get('reason', '')}[/]"
    return ""


def _conclude(
    measured: Report, lines: Sequence[Line], folder: Path, console: Console, options: argparse.Namespace
) -> int:
    report.show(measured, console)
    for turn in measured.transcript:
        if turn["cut"]:
            console.print(f"  of the interrupted reply was heard, and kept: [green]{turn['text']} …[/]")
    checks = report.checks(measured, lines, goodbye=not options.lines)
    if measured.way.endswith("/stream"):  # between two files Asterisk sends nothing
        whole = 0 < measured.worst_gap_ms <= WORST_GAP_MS and not measured.missing
        checks.append(Check(f"no frame gap over {WORST_GAP_MS:.0f} ms at the phone, no frame missing", whole))
    for check in checks:
        console.print(f"  {'[green]✓[/]' if check.good else '[bold red]✗[/]'} {check.what}")
    good = all(check.good for check in checks)
    result = {**measured.plain(), "checks": {check.what: check.good for check in checks}, "good": good}
    (folder / "report.json").write_text(json.dumps(result, indent=2))
    shutil.copy(measured.folder / "call.wav", folder / "call.wav")
    if options.json:
        print(json.dumps(result, indent=2))
    console.print(f"""
  stereo WAV   {folder / "call.wav"}   (left the caller, right the agent)
  transcript   {measured.folder / "transcript.json"}
  figures      {folder / "report.json"}
  packets      {folder / "call.pcap"}
  logs         {folder / "ai_engine.log"}, {folder / "local_ai_server.log"}

[bold]Next:[/] [bold]make run[/] keeps all of it up: dial {EXTENSION}, or 101 for a call without ARI, with your
      own softphone (it prints the account).
      config/ai-agent.yaml is the agent; docs/snippets connects your own Asterisk.""", soft_wrap=True)  # fmt: skip
    return 0 if good else 1


@contextmanager
def _step(console: Console, what: str) -> Iterator[None]:
    console.print(f"[bold]==>[/] {what}")
    began = time.monotonic()
    yield
    console.print(f"    [dim]ready after {time.monotonic() - began:.1f} s[/]")


if __name__ == "__main__":
    sys.exit(main())
