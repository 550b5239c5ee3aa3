"""`make run`: trial Asterisk, local AI server and engine until Ctrl-C, for a softphone of your own."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from scripts.trial import asterisk
from scripts.trial.asterisk import Ports
from scripts.trial.programs import Programs, free_port
from scripts.trial.rootfs import CHECKOUT, TrialError
from scripts.trial.studio_world import write_config


def main(arguments: Sequence[str] | None = None) -> int:
    """0 after Ctrl-C, 1 when something ended by itself."""
    parser = argparse.ArgumentParser(prog="make run", description=__doc__)
    parser.add_argument(
        "--bind",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="SIP and RTP address; give this machine's own to dial from another one on a network you trust",
    )
    options = parser.parse_args(arguments)
    try:
        asterisk.stop()
        trial = asterisk.start(ports=Ports(bind=options.bind))
        return asyncio.run(_serve(trial))
    except TrialError as error:
        print(f"run: {error}", file=sys.stderr)
        return 1
    finally:
        asterisk.stop()


async def _serve(trial: asterisk.Trial) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, stop.set)
    folder = CHECKOUT / "var" / "run"
    config = _config(trial, folder)
    async with Programs(trial, folder, config=config) as programs:
        print(f"""
  Register a softphone (any; audio G.711, or G.722 for 16 kHz) and dial 100, or 101 for a call without ARI:
    server    {trial.bind}:{trial.sip_port} (UDP)
    user      {trial.phone_user}
    password  {trial.phone_password}

  Asterisk CLI    scripts/asterisk cli 'core show channels'
  engine log      tail -f {programs.engine.log}
  health          http://127.0.0.1:{programs.health_port}/health
  calls           {programs.directory / "calls"}
  studio          scripts/studio --config {config.relative_to(CHECKOUT)}
                  (call reception {trial.phone_user}, for example, has it call your softphone)

  Ctrl-C ends all of it.""")
        while not stop.is_set():
            for program in (programs.engine, programs.local):
                if program.process.poll() is not None:
                    print(f"run: {program.name} ended by itself; see {program.log}", file=sys.stderr)
                    return 1
            try:
                await asyncio.wait_for(stop.wait(), 1.0)
            except TimeoutError:
                continue
    return 0


def _config(trial: asterisk.Trial, folder: Path) -> Path:
    """The shipped one with studio; one that says itself whether calls are placed is taken as it is."""
    with suppress(TrialError):
        return write_config(trial, folder, free_port(), trunks={"softphone": {"dial": "PJSIP/{number}"}})
    return CHECKOUT / "config" / "ai-agent.yaml"


if __name__ == "__main__":
    sys.exit(main())
