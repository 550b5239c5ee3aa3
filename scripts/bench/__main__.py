"""`make bench`: how many calls the engine carries, how fast it is, and what it costs."""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from scripts.bench import detail, load, outbound, plots, providers, report, sip
from scripts.bench.machine import machine
from scripts.bench.provider_kinds import KINDS, Kind
from scripts.bench.report import Findings
from scripts.trial import report as trial_report
from scripts.trial.rootfs import CHECKOUT, TrialError

RAMP = (25, 50, 100, 150, 200, 250, 300, 350, 400, 450, 500, 600, 700, 800)
RECORDED_CALLS = 100
BARGE_IN_CALLS = 20
SHAPES = ("engine", "sip", "detail", "providers", "outbound")


def main(arguments: Sequence[str] | None = None) -> int:
    """0: measured. 1: a promise is broken, with ``--strict``. 2: something could not be measured."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=options.json)
    folder = CHECKOUT / "var" / "bench" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder.mkdir(parents=True)
    findings = Findings(machine())
    for what, measure in _work(options, findings, folder, console):
        console.print(f"[bold]==>[/] {what}")
        try:
            with console.status("measuring …"):
                measure()
        except (TrialError, TimeoutError, OSError) as error:
            findings.troubles.append(f"{what}: {str(error).splitlines()[0]}")
            console.print(f"    [bold red]failed:[/] {error}", soft_wrap=True)
    return _conclude(findings, folder, console, options)


def _work(
    options: argparse.Namespace, findings: Findings, folder: Path, console: Console
) -> list[tuple[str, Callable[[], None]]]:
    """What is to be done, in order, with a sentence for each."""

    def tell(line: str) -> None:
        console.print(f"    {line}", soft_wrap=True, highlight=False)

    seconds = options.seconds or (5.0 if options.quick else 15.0)
    counts = options.calls or RAMP

    def ramp() -> None:
        findings.ramp = load.ramp(folder / "ramp", counts, seconds, tell)

    def recording() -> None:
        changes = {"recording": {"enabled": True}}
        findings.recording = load.ramp(folder / "recording", [RECORDED_CALLS], seconds, tell, changes)

    def barge_in() -> None:
        findings.barge_in = load.barge_in(folder / "barge-in", BARGE_IN_CALLS, 4 * seconds)
        tell(json.dumps(findings.barge_in.plain()["onset_to_silence_ms"]))

    def soak() -> None:
        findings.soak = load.soak(
            folder / "soak", max(counts) if options.calls else report.CALLS, options.minutes, tell
        )

    def waves() -> None:
        findings.waves = sip.waves(
            folder / "sip", options.ramps or (2 if options.quick else 10), options.sip_calls, 10.0, tell
        )

    def one_call(way: str) -> Callable[[], None]:
        def measure() -> None:
            found = detail.call(way, folder / f"detail-{way}")
            findings.details.append(found)
            trial_report.show(found.report, console)

        return measure

    def provider(kind: Kind) -> Callable[[], None]:
        def measure() -> None:
            size = providers.QUICK if options.quick else providers.FULL
            row = providers.measure(kind, folder / f"provider-{KINDS.index(kind)}", size)
            findings.providers.append(row)
            tell(providers.line(row))

        return measure

    def calls_asked_for() -> None:
        calls = outbound.QUICK_CALLS if options.quick else outbound.CALLS
        findings.outbound = outbound.measure(folder / "outbound", calls, tell)

    if options.minutes:
        return [(f"soak: {options.minutes} minutes", soak)]
    work: list[tuple[str, Callable[[], None]]] = []
    if "engine" in options.only:
        work += [
            (f"engine alone: more and more talking calls, {seconds:g} s each", ramp),
            (f"engine alone: {BARGE_IN_CALLS} callers interrupt", barge_in),
            (f"engine alone: {RECORDED_CALLS} calls, recorded", recording),
        ]
    if "sip" in options.only:
        work.append((f"through Asterisk: waves of {options.sip_calls} SIP calls", waves))
    if "detail" in options.only:
        work += [(f"one call in detail: {way}", one_call(way)) for way in detail.WAYS]
    if "providers" in options.only:
        work += [(f"a provider's fake: {kind.name}", provider(kind)) for kind in KINDS]
    if "outbound" in options.only:
        work.append(("calls that are asked for, through Asterisk", calls_asked_for))
    return work


def _conclude(findings: Findings, folder: Path, console: Console, options: argparse.Namespace) -> int:
    report.show(findings, console)
    said = json.dumps(findings.plain(), indent=2)
    (folder / "bench.json").write_text(said + "\n")
    plots.draw(findings, folder / "bench.png")
    if options.json:
        print(said)
    console.print(f"\n  figures  {folder / 'bench.json'}\n  plot     {folder / 'bench.png'}", soft_wrap=True)
    if findings.troubles:
        return 2
    return 1 if options.strict and not all(bar.met for bar in findings.bars()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make bench",
        description=__doc__,
        epilog="""shapes:
  engine   callers over loopback AudioSocket, an agent that takes no time: the knee, barge-in, price of recording
  sip      ramps of SIP calls through the real Asterisk, and whether anything is left of them
  detail   one call with a real phone for every transport: waterfall, gaps, barge-in at the phone
  providers  what the engine adds to each provider's fake, and what it takes when one breaks off in mid-word
  outbound  calls that are asked for: how soon a telephone rings, how soon the agent is heard, how well lines are used

examples:
  make bench                                    all of it, about 25 minutes
  make bench ARGS='--quick --only engine'       a first look, 3 minutes
  make bench ARGS='--minutes 30 --calls 150'    is it flat? memory, CPU and gaps minute by minute
  make bench ARGS='--only sip --ramps 10 --sip-calls 100'

Engine and load have a core each, and real-time priority where they may. Keep the machine quiet: the report says when
the generator was held up, and what the host of a virtual machine took.
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=SHAPES, default=SHAPES, metavar="SHAPE", help=", ".join(SHAPES))
    parser.add_argument("--quick", action="store_true", help="5 s instead of 15 s per step, fewer ramps")
    parser.add_argument("--seconds", type=float, metavar="N", help="per step")
    parser.add_argument("--calls", type=int, nargs="+", metavar="N", help="the steps of the ramp, or those of the soak")
    parser.add_argument("--minutes", type=int, metavar="N", help="soak instead: the same calls for so long")
    parser.add_argument("--ramps", type=int, metavar="N", help="waves of SIP calls (10, or 2 with --quick)")
    parser.add_argument("--sip-calls", type=int, default=100, metavar="N", help="calls of a wave (100)")
    parser.add_argument("--json", action="store_true", help="print all figures as JSON on standard output")
    parser.add_argument("--strict", action="store_true", help="exit status 1 when a promise is broken")
    return parser


if __name__ == "__main__":
    sys.exit(main())
