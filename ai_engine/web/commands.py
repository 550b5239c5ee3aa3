"""The command line for those who ask for calls: which commands there are."""

import argparse
from collections.abc import Mapping
from typing import Any

COMMANDS = ("call", "call-status", "calls", "call-cancel", "mcp")

_STATUSES = """exit status:
  0  done: asked for; with --wait or --watch, an appointment was made, or the agent has reported
  1  something else                     4  refused: the token, or the rules of the house
  2  an option or a value is wrong      5  no engine answers
  3  there is no such call              6  with --wait or --watch: the call came to nothing

environment:
  CALL_AGENT_URL     where the engine is, as --url (http://127.0.0.1:4545)
  CALL_AGENT_TOKEN   what it knows us by; in a file of the environment, unlike an option, others do not see it
"""


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add ``COMMANDS``; options that were parsed with one of them go to ``run``."""
    engine = _of_the_engine()
    _add_call(subparsers, engine)
    _add_status(subparsers, engine)
    _add_calls(subparsers, engine)
    _add_cancel(subparsers, engine)
    _add_mcp(subparsers, engine)


def run(options: argparse.Namespace, environ: Mapping[str, str], version: str = "") -> int:
    """Do what ``options.command`` says; the exit status."""
    # What a serving engine never shows should not be loaded by it.
    from ai_engine.web.call_commands import run_command  # noqa: PLC0415

    return run_command(options, environ, version)


def _of_the_engine() -> argparse.ArgumentParser:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--url", metavar="URL", help="the engine, http://127.0.0.1:4545 (or CALL_AGENT_URL)")
    shared.add_argument("--token", metavar="TOKEN", help="better: CALL_AGENT_TOKEN, which no list of processes shows")
    return shared


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    engine: argparse.ArgumentParser,
    summary: str,
    examples: str,
    **more: Any,
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        parents=[engine],
        epilog=f"examples:\n{examples}\n{_STATUSES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        **{"description": summary[0].upper() + summary[1:] + ".", **more},
    )


def _add_call(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", engine: argparse.ArgumentParser) -> None:
    call = _add(
        commands,
        "call",
        engine,
        "have an agent call somebody",
        """  python -m ai_engine call --to +14155550123 --goal 'a haircut next week' --duration 30 --wait
  python -m ai_engine call --to +14155550123 --prompt 'Ask whether they are open on Sunday.' --json
  python -m ai_engine call --to +4930123456 --goal 'see the flat' --duration 45 --timezone Europe/Berlin \\
      --window-start 2027-03-01T09:00 --window-end 2027-03-05T18:00 --user 'Ada Lovelace'
""",
        description="""Has an agent call a number. With --goal it makes an appointment of --duration minutes; with
--prompt it talks as it is told, and reports. Says the id of the call at once; with --wait it shows what happens, until
the call is over.""",
    )
    call.add_argument("--to", required=True, metavar="NUMBER", help="the number to call, like +14155550123")
    purpose = call.add_mutually_exclusive_group(required=True)
    purpose.add_argument("--goal", metavar="TEXT", help="what the appointment is for")
    purpose.add_argument("--prompt", metavar="TEXT", help="instead: free instructions")
    call.add_argument("--duration", type=float, metavar="MINUTES", help="how long the appointment is; goes with --goal")
    call.add_argument("--timezone", metavar="ZONE", help="of the appointment, like Europe/Berlin")
    call.add_argument("--window-start", metavar="TIME", help="it begins no earlier, like 2027-03-01T09:00")
    call.add_argument("--window-end", metavar="TIME", help="it ends no later")
    call.add_argument("--working-hours", metavar="FROM-TO", help="it lies between, like 09:00-17:00")
    call.add_argument("--days", metavar="DAYS", help="on one of these days, 0 is Sunday: 1,2,3,4,5")
    call.add_argument("--calendar", metavar="ID", help="the calendar to book in, primary")
    call.add_argument("--user", metavar="NAME", help="on whose behalf")
    call.add_argument("--callee", metavar="NAME", help="who is called")
    call.add_argument("--agent", metavar="NAME", help="who talks, of the agents in the configuration")
    call.add_argument("--trunk", metavar="NAME", help="the way out, where there are several")
    call.add_argument("--key", metavar="KEY", help="idempotency key: asked again with it, it is the same call")
    call.add_argument("--wait", action="store_true", help="show what happens, until the call is over")
    call.add_argument("--json", action="store_true", help="print the record")


def _add_status(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", engine: argparse.ArgumentParser
) -> None:
    status = _add(
        commands,
        "call-status",
        engine,
        "say how a call goes, or went",
        """  python -m ai_engine call-status 5f0c1c9e-…
  python -m ai_engine call-status 5f0c1c9e-… --watch
  python -m ai_engine call-status 5f0c1c9e-… --json | jq .scheduledEvent
""",
    )
    status.add_argument("id", metavar="ID", help="as 'call' said it, or 'calls' lists it")
    status.add_argument("--watch", action="store_true", help="go on until the call is over")
    status.add_argument("--json", action="store_true", help="print the record")


def _add_calls(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", engine: argparse.ArgumentParser
) -> None:
    calls = _add(
        commands,
        "calls",
        engine,
        "list calls, the newest first",
        """  python -m ai_engine calls
  python -m ai_engine calls --status no_answer --json
""",
    )
    calls.add_argument("--status", metavar="STATUS", help="only these: completed, no_answer, …")
    calls.add_argument("--limit", type=int, default=50, metavar="N", help="at most so many, %(default)s")
    calls.add_argument("--json", action="store_true", help="print the records")


def _add_cancel(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", engine: argparse.ArgumentParser
) -> None:
    cancel = _add(
        commands,
        "call-cancel",
        engine,
        "hang up, and dial no more",
        "  python -m ai_engine call-cancel 5f0c1c9e-…\n",
    )
    cancel.add_argument("id", metavar="ID")
    cancel.add_argument("--json", action="store_true", help="print the record")


def _add_mcp(commands: "argparse._SubParsersAction[argparse.ArgumentParser]", engine: argparse.ArgumentParser) -> None:
    _add(
        commands,
        "mcp",
        engine,
        "be an MCP server on standard input and output, for calls of a running engine",
        """  python -m ai_engine mcp                              as a program that speaks MCP starts it
  claude mcp add offhook -- python -m ai_engine mcp
""",
        description="""Is an MCP server with the tools call_agent and call_agent_status, on standard input and output,
for programs that start their servers. Calls are placed by the engine at --url. Programs that know streamable HTTP
can do without: the engine itself answers at /mcp.""",
    )
