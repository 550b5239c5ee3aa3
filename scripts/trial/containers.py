"""`make test-containers`: images built, the compose file brought up, a call, the engine restarted, another call."""

import argparse
import asyncio
import itertools
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from rich.console import Console

from scripts.trial import conversation, report
from scripts.trial.base_images import provide_base_images
from scripts.trial.composed import SERVICES, Composed, composed
from scripts.trial.container_engine import CACHE, Engine, container_engine
from scripts.trial.demo import SCRIPT, WORST_GAP_MS, line_of
from scripts.trial.measure import RtpPacket
from scripts.trial.plan import Ports, plan
from scripts.trial.programs import free_port
from scripts.trial.rootfs import TrialError

AGAIN = ("what are your opening hours", "no that's all goodbye")
"""What the second caller says."""

CALLER_VOICE = "rms"
RECORDED_SECONDS = 10.0
FOLDER = CACHE / "last"
"""What a run leaves behind: recordings, packets and the containers' logs."""


class Proof:
    """Prints each step with its seconds and each finding with a mark, and remembers whether all were good."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.good = True

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        self.console.print(f"[bold]==>[/] {title}")
        began = monotonic()
        yield
        self.tell(f"{monotonic() - began:.1f} s")

    def tell(self, line: str) -> None:
        self.console.print(f"    {line.strip()}", style="dim", soft_wrap=True, markup=False, highlight=False)

    def fail(self, why: str) -> None:
        self.console.print(f"test-containers: {why}", style="red", soft_wrap=True, markup=False, highlight=False)
        self.good = False

    def check(self, what: str, good: bool) -> None:
        self.console.print(f"  {'[green]✓[/]' if good else '[bold red]✗[/]'} {what}")
        self.good &= good


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all of it worked. 1: something did not."""
    argparse.ArgumentParser(prog="make test-containers", description=__doc__).parse_args(arguments)
    # Told to end in either way, it takes down what is up.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    proof = Proof(Console())
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    began = monotonic()
    try:
        with container_engine(proof.tell) as engine:
            _prove(engine, proof)
    except (TrialError, TimeoutError) as error:
        proof.fail(str(error))
    except KeyboardInterrupt:
        proof.fail("interrupted")
    proof.tell(f"{monotonic() - began:.0f} s in all; recordings, packets and logs: {FOLDER}")
    return 0 if proof.good else 1


def _prove(engine: Engine, proof: Proof) -> None:
    with proof.step(f"base images for {engine.name}"):
        provide_base_images(engine, proof.tell)
    system = composed(engine, plan("containers", Ports(sip=free_port(), http=free_port())))
    with proof.step("images built"):
        system.compose("build")
    try:
        with proof.step("up, and all healthy"):
            system.up()
        _look(system, proof)
        _talk(system, proof)
    finally:
        with proof.step("all taken down"):
            _keep_logs(system)
            system.down()


def _look(system: Composed, proof: Proof) -> None:
    for service in SERVICES:
        proof.tell(f"{service}: image of {system.image_megabytes(service):.0f} MB")
        user, attempt = system.shell(service, "id -u; touch /opt/offhook/x 2>&1 >/dev/null | tail -n 1").split("\n", 1)
        proof.check(
            f"{service} runs as user {user}, on a read-only file system",
            user != "0" and "Read-only file system" in attempt,
        )
    kind = system.shell("ai-engine", "stat -f -c %T /mnt/asterisk_media; echo shared > /mnt/asterisk_media/x").strip()
    seen = system.shell("asterisk", "cat /mnt/asterisk_media/x; rm /mnt/asterisk_media/x").strip()
    proof.check(f"engine and Asterisk share the media directory, on {kind}", (kind, seen) == ("tmpfs", "shared"))


def _talk(system: Composed, proof: Proof) -> None:
    with proof.step("the demo call"):
        asyncio.run(_call(system, SCRIPT, 1, proof))
    with proof.step("ai-engine restarted, and healthy again"):
        system.restart("ai-engine")
    with proof.step("the next call"):
        asyncio.run(_call(system, AGAIN, 2, proof))
    for service in SERVICES:
        proof.check(f"{service}: its health check is content", system.is_healthy(service))
    proof.check("no channel is left in Asterisk", system.trial.ari("GET", "/channels") == [])


async def _call(system: Composed, script: Sequence[str], number: int, proof: Proof) -> None:
    """Place the ``number``-th call since the system came up, and judge it."""
    folder = FOLDER / f"call-{number}"
    lines = [line_of(text, CALLER_VOICE) for text in script]
    overheard = await conversation.place(system.trial, folder, lines)
    recorded = await _recorded(system, folder, number)
    measured = report.read(recorded, overheard)
    report.show(measured, proof.console)
    for check in report.checks(measured, lines):
        proof.check(check.what, check.good)
    _judge_gaps(overheard.agent, overheard.caller, proof)


async def _recorded(system: Composed, folder: Path, calls: int) -> Path:
    """The newest call's folder, once the recorder has finished so many."""
    deadline = monotonic() + RECORDED_SECONDS
    while monotonic() < deadline:
        if len(done := system.calls(folder)) == calls:
            return done[-1]
        await asyncio.sleep(0.3)
    raise TrialError(f"the engine did not record the call; its last words:\n{system.logs('ai-engine')[-2000:]}")


def _judge_gaps(agent: Sequence[RtpPacket], caller: Sequence[RtpPacket], proof: Proof) -> None:
    # Where the phone, a process of this machine and of no container, stood still as well, the machine was too busy.
    stalls = _gaps(caller)
    own = [gap for gap in _gaps(agent) if not any(gap[0] < stall[1] and stall[0] < gap[1] for stall in stalls)]
    if stalls:
        proof.tell(f"this machine is busy: the phone itself stood still {len(stalls)} times")
    proof.check(
        f"no frame gap over {WORST_GAP_MS:.0f} ms at the phone by fault of the containers", bool(agent) and not own
    )


def _gaps(packets: Sequence[RtpPacket]) -> list[tuple[float, float]]:
    """When each began and ended."""
    pairs = itertools.pairwise(packet.at for packet in packets)
    return [(before, after) for before, after in pairs if (after - before) * 1000 > WORST_GAP_MS]


def _keep_logs(system: Composed) -> None:
    for service in SERVICES:
        (FOLDER / f"{service}.log").write_text(system.logs(service))


if __name__ == "__main__":
    sys.exit(main())
