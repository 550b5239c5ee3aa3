"""`make demo-studio`: import a SIP number, make an agent, have it call a phone through the carrier, and be called."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from scripts.trial import asterisk, booking
from scripts.trial.asterisk import Trial
from scripts.trial.demo import stage
from scripts.trial.report import Check
from scripts.trial.rootfs import CHECKOUT, TrialError
from scripts.trial.studio_world import NUMBER, PHONE_NUMBER, Done, StudioWorld
from scripts.trial.wire import RtpCapture

AGENT = "desk"
_STRANGER = "+15550100777"
"""A number that is not ours."""
_CALLER = "+15557650001"
_DIAL_SECONDS = 30.0
"""So long dialling may take on a machine that is busy otherwise."""
_AGENT_SECONDS = 12.0
"""So long an agent may take to begin to speak."""


def main(arguments: Sequence[str] | None = None) -> int:
    """0: all went as it should. 1: it did not. 2: it could not be tried at all."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=options.json, highlight=False)
    booking.be_quiet()
    folder = CHECKOUT / "var" / "demo" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ-studio")
    was_running = asterisk.status() is not None
    try:
        with stage(console, "Asterisk"):
            trial = asterisk.start(tell=lambda line: console.print(f"    [dim]{line}[/]"))
        story = asyncio.run(tell(trial, folder, console, shared_folder=options.trunks == "file"))
    except (TrialError, TimeoutError) as error:
        console.print(f"[bold red]demo-studio:[/] {error}", soft_wrap=True)
        console.print(f"    logs: {folder}", soft_wrap=True)
        return 2
    finally:
        if not was_running:
            asterisk.stop()
    return _conclude(story, folder, console, as_json=options.json)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make demo-studio",
        description=__doc__,
        epilog="""examples:
  make demo-studio
  make demo-studio ARGS='--trunks ari'
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--trunks",
        choices=("file", "ari"),
        default="file",
        help="how Asterisk learns of the trunk: a file it includes, or objects pushed over ARI; default %(default)s",
    )
    parser.add_argument("--json", action="store_true", help="print what came of it as JSON on standard output")
    return parser


class Story:
    """What was done, and what came of it."""

    def __init__(self, world: StudioWorld, wire: RtpCapture, console: Console) -> None:
        self.checks: list[Check] = []
        self.commands: list[str] = []
        self._world = world
        self._wire = wire
        self._console = console
        self._said: list[str] = []

    def note(self, what: str, good: object) -> None:
        self.checks.append(Check(what, bool(good)))

    async def type(self, *arguments: str, typed: str = "", status: int | None = 0) -> Done:
        """Run a command of `studio` as people would see it."""
        self.commands.append(f"studio {' '.join(arguments)}")
        self._console.print(Text(f"\n$ {self.commands[-1]}", "bold"))
        done = await self._world.studio(*arguments, typed=typed, status=status)
        self._said += [done.stdout, done.stderr]
        self._console.print(Text(f"{done.stdout.rstrip()}\n{done.stderr.rstrip()}".strip(), "dim"), soft_wrap=True)
        return done

    async def bring_a_number(self) -> None:
        world = self._world
        await self.type("agent", "create", AGENT)
        await self.type("agent", "update", AGENT, "--set", "greeting=Good day, this is the front desk.")
        trunk = f"{world.carrier.address}:{world.carrier.port}"
        done = await self.type(
            *("number", "import", "--number", NUMBER, "--trunk-address", trunk),
            *("--sip-username", world.carrier.username, "--sip-password", "-"),
            *("--register", "--inbound-agent", AGENT, "--test"),
            typed=world.carrier.password,
        )
        self.note("the number was imported, and its trunk tried", done.status == 0)
        async with asyncio.timeout(15):
            while not await asyncio.to_thread(world.carrier.registered):  # noqa: ASYNC110  Asterisk tells nobody
                await asyncio.sleep(0.1)
        self.note("our Asterisk has registered with the carrier", True)
        await self.type("number", "list", "--status")
        shown: dict[str, Any] = (await world.studio("agent", "show", AGENT, "--json")).json()
        can = {one["name"]: one["present"] for one in shown["capabilities"]}
        self.note("the agent can call and be called", can["phone_call"] and can["inbound_call"])

    async def call_out(self) -> None:
        world = self._world
        await self.type("call", AGENT, PHONE_NUMBER)
        await world.phone.wait_for("CALL_INCOMING", _DIAL_SECONDS)
        called = (await asyncio.to_thread(world.carrier.calls))[-1]
        self.note(f"the carrier was asked for {PHONE_NUMBER}", called.to == PHONE_NUMBER)
        await world.phone.answer()
        await world.phone.wait_for("CALL_ESTABLISHED")
        await self._wire.to(world.phone.rtp_ports).wait_voice(timeout=_AGENT_SECONDS)
        self.note("the agent's voice reached the phone", True)
        await self.type("list")
        calls = [entry for entry in await world.running() if entry.get("number") == PHONE_NUMBER]
        self.note("studio list shows the call", len(calls) == 1 and calls[0]["agent"] == AGENT)
        await self.type("hangup", "1")
        await world.phone.wait_for("CALL_CLOSED")
        self.note("studio hangup ended it at the phone", True)
        self.note("studio list shows it no more", not await world.running())

    async def be_called(self) -> None:
        world = self._world
        self._console.print(Text(f"\nsomebody ({_CALLER}) calls {NUMBER} at the carrier", "bold"))
        call = await world.carrier.call_in(NUMBER, _CALLER, registered=True)
        began = time.time()
        await call.answered()
        agent = self._wire.to(world.carrier.trial.rtp_ports)
        await agent.wait_voice(after=began, timeout=_AGENT_SECONDS)
        await self.type("list")
        held = [entry for entry in await world.running() if entry.get("number") == _CALLER]
        self.note("the call came to the number's agent", len(held) == 1 and held[0]["agent"] == AGENT)
        self.note("it came in", bool(held) and held[0]["direction"] == "inbound")
        await agent.wait_quiet(1.0, after=began, timeout=_AGENT_SECONDS)
        await call.hang_up()
        await call.ended()
        recorded = await world.programs.recorded(after=1)
        said = " ".join(line["text"] for line in json.loads((recorded / "transcript.json").read_text()))
        self.note("its caller heard that agent's greeting", "front desk" in said)
        self._console.print(Text(f"\nsomebody calls {_STRANGER}, which is not ours", "bold"))
        status, cause = await (await world.carrier.call_in(_STRANGER, _CALLER)).ended()
        self._console.print(Text(f"{status}, cause {cause} (unallocated number)", "dim"))
        refused = status != "ANSWER" and cause == 1
        self.note("a number that is not ours is refused" + f": {status}, {cause}" * (not refused), refused)
        await self.type("calls")

    def look_for_the_password(self) -> None:
        """The trunk is removed by now: Asterisk's own files must not have it any more, nor ever in a log."""
        secret = self._world.carrier.password
        folders = (self._world.folder, Path(self._world.trial.run_dir))
        files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
        leaks = [path.name for path in files if secret.encode() in path.read_bytes()]
        leaks += ["studio's own words"] * (secret in "".join(self._said))
        where = "store, records, logs and Asterisk's own"
        self.note(f"the password is in none of {len(files)} files ({where}), nor was it shown", not leaks)


async def tell(trial: Trial, folder: Path, console: Console, *, shared_folder: bool, carrier: str = "carrier") -> Story:
    """The whole story; raises TrialError, or TimeoutError, where it cannot go on."""
    with stage(console, "a carrier (a second Asterisk) with a phone, local_ai_server and ai_engine"):
        world = await StudioWorld(trial, folder, carrier=carrier, shared_folder=shared_folder).__aenter__()
    try:
        async with RtpCapture(world.carrier.trial.rtp_ports, folder / "carrier.pcap") as wire:
            story = Story(world, wire, console)
            await story.bring_a_number()
            await story.call_out()
            await story.be_called()
            await story.type("number", "remove", NUMBER, "--force")
            listed = await asyncio.to_thread(trial.cli, "pjsip list endpoints")
            story.note("Asterisk does not know the removed trunk any more", "studio-" not in listed)
        await asyncio.to_thread(story.look_for_the_password)
        return story
    finally:
        await world.__aexit__(None, None, None)


def _conclude(story: Story, folder: Path, console: Console, *, as_json: bool) -> int:
    console.print()
    for check in story.checks:
        console.print(f"  {'[green]✓[/]' if check.good else '[bold red]✗[/]'} {check.what}", soft_wrap=True)
    good = all(check.good for check in story.checks)
    result = {
        "commands": story.commands,
        "checks": {check.what: check.good for check in story.checks},
        "good": good,
    }
    (folder / "report.json").write_text(json.dumps(result, indent=2))
    if as_json:
        print(json.dumps(result, indent=2))
    console.print(
        f"\n  figures  {folder / 'report.json'}\n  logs     {folder / 'ai_engine.log'}\n\n[bold]Next:[/] "
        "[bold]studio[/] alone opens the terminal studio; docs/studio.md says how your own PBX gets it.",
        soft_wrap=True,
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
