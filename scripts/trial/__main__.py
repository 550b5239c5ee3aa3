"""The command behind scripts/asterisk."""

import argparse
import os
import sys

from scripts.trial import asterisk
from scripts.trial.asterisk import Ports, Trial
from scripts.trial.rootfs import TrialError, install

EPILOG = """environment:
  OFFHOOK_ASTERISK=system     run the asterisk (18 or later) that is on PATH instead of installing one
  OFFHOOK_DEBIAN_MIRROR=URL   where to fetch Debian packages, if apt's own sources name no Debian mirror

With Docker: docker compose --profile trial up. See asterisk/README.md.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; 0 if it did what it should, 1 with the reason on stderr, 3 if nothing runs."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except TrialError as error:
        print(f"asterisk: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/asterisk",
        description="A real Asterisk for trials and tests, on loopback, beside any other one.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--instance", default="", metavar="NAME", help="one of several side by side")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("install", help="fetch Asterisk into .cache/asterisk (once, about 40 s)")
    start = commands.add_parser("start", help="install if need be, start, wait until ARI answers")
    start.add_argument("--bind", default="127.0.0.1", metavar="ADDRESS", help="SIP and RTP address (127.0.0.1)")
    start.add_argument("--sip-port", type=int, metavar="N", help="first free from 5160")
    start.add_argument("--http-port", type=int, metavar="N", help="of ARI, on 127.0.0.1; first free from 8188")
    start.add_argument("--rtp-port", type=int, metavar="N", help="first of 1000; a free block from 20000")
    commands.add_parser("stop", help="end what start began")
    commands.add_parser("restart", help="stop and start on the same ports, with the same passwords")
    commands.add_parser("status", help="say what runs and how to reach it; exit status 3 if nothing does")
    cli = commands.add_parser("cli", help="run a console command, or open the console")
    cli.add_argument("words", nargs=argparse.REMAINDER, metavar="WORDS")
    return parser


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "install":
            print(f"Asterisk is in {install()}")
        case "start":
            ports = Ports(options.bind, options.sip_port, options.http_port, options.rtp_port)
            print(describe(asterisk.start(options.instance, ports)))
        case "restart":
            print(describe(asterisk.restart(options.instance)))
        case "stop":
            print("stopped" if asterisk.stop(options.instance) else "it was not running")
        case "status" | "cli":
            return _question(options)
    return 0


def _question(options: argparse.Namespace) -> int:
    trial = asterisk.status(options.instance)
    if trial is None:
        print("not running: scripts/asterisk start", file=sys.stderr)
        return 3
    if options.command == "status":
        print(describe(trial))
    elif options.words:
        print(trial.cli(" ".join(options.words)))
    else:
        asterisk.open_console(options.instance)
    return 0


def describe(trial: Trial) -> str:
    """How to reach a running instance, for a person."""
    return (
        f"Asterisk runs (process {trial.pid}): {trial.run_dir}{os.sep}trial.json\n"
        f"  ARI    {trial.ari_url}  user {trial.username}\n"
        f"  phone  {trial.phone_user}@{trial.bind}:{trial.sip_port} (UDP)  password {trial.phone_password}\n"
        f"  dial   100 the agent, 600 an echo\n"
        f"  log    {trial.log}"
    )


if __name__ == "__main__":
    sys.exit(main())
