"""The process in which the vendors' fakes run, on the other core, with the time of every message.

Started by ``providers``. It prints the fakes' addresses as a line of JSON, serves until its standard input ends, and
prints what went over the wire: ``[seconds, place, what]``, in order, by the monotonic clock, and what broke a
vendor's protocol.

The fakes are those of the tests, which are documented as usable by others and the only ones that are held to the
vendors' own types: another set, kept for this bench alone, would drift away from what vendors do.
"""

import argparse
import asyncio
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from typing import Any

from aiohttp import web
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from scripts.bench.provider_kinds import GREETING, KINDS, SPARE, Fake
from tests.fakes.deepgram import DeepgramServer
from tests.fakes.deepgram_wire import Pace
from tests.fakes.openai_faults import Request
from tests.fakes.openai_http import OpenAIServer
from tests.fakes.openai_realtime import OpenAIRealtimeServer
from tests.fakes.scenario import Fault, Scenario, Turn

SPEED = 2.0
"""How many times faster than real time sound comes from the fakes."""

FIRST_MS = 50.0
"""What the model takes for its first token, and an HTTP voice for its first sound."""

STRUCK_MS = 900.0
"""Sound of an answer before its connection breaks: in the middle of its fifth word, and not before an answer that was
prepared in advance is heard."""

_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_PRIORITY = 1

Note = Callable[[str], None]


def scenario(calls: int, turns: int, *faults: Fault) -> Scenario:
    """So many answers, of a second each, and the same in each call: a transcriber may go on where the last one was."""
    said = [
        Turn(f"this is question number {number} is it not", f"This is answer number {number}.")
        for number in _NUMBERS[: turns - 1]
    ]
    last = Turn("and what is the last of all answers", "The very last answer is the one that breaks.")
    return Scenario(GREETING, [*said, last] * calls, faults)


def strikes(fake: Fake, calls: int, turns: int) -> list[Fault]:
    """The connection breaks in the last answer of every call."""
    if fake == "openai":  # counts the requests for speech: a greeting and the answers, each of one clause
        return [Fault("close", (turns + 1) * call - 1, None, after_ms=STRUCK_MS) for call in range(1, calls + 1)]
    return [Fault("close", turns - 1, None, after_ms=STRUCK_MS)]


class WireLog(logging.Handler):
    """What the WebSocket servers of this process log of each frame, with its time."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[int, str] = {}
        """By port."""
        self._notes: list[tuple[float, str, str | tuple[str, Opcode, bytes]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        now = time.monotonic()
        if record.msg in ("< %s", "> %s") and isinstance(record.args, tuple) and isinstance(record.args[0], Frame):
            frame = record.args[0]
            port = record.__dict__["websocket"].local_address[1]
            self._notes.append((now, self.places[port], (record.msg[0], frame.opcode, bytes(frame.data))))

    def at(self, place: str) -> Note:
        """For those who log nothing themselves."""
        return lambda what: self._notes.append((time.monotonic(), place, what))

    def plain(self) -> list[tuple[float, str, str]]:
        """For JSON; it is read only now, so that reading takes no time from an answer."""
        return [(at, place, what if isinstance(what, str) else _named(*what)) for at, place, what in self._notes]


class NotedOpenAI(OpenAIServer):
    """Notes when it was asked, when it had written the last token, sent the first sound, and broke off."""

    def __init__(self, scenario: Scenario, note: Note) -> None:
        super().__init__(scenario, first_token_ms=FIRST_MS, speech_pace=SPEED)
        self._note = note

    async def _chat(self, request: web.Request, record: Request) -> web.StreamResponse:
        self._note("< chat")
        try:
            return await super()._chat(request, record)
        finally:
            self._note("> chat")

    async def _speech(self, request: web.Request, record: Request) -> web.StreamResponse:
        self._note("< speech")
        return await super()._speech(request, record)

    async def _send_sound(
        self, request: web.Request, response: web.StreamResponse, record: Request, pcm: bytes, fault: Fault | None
    ) -> web.StreamResponse:
        self._note("> speech")
        sent = await super()._send_sound(request, response, record, pcm, fault)
        if fault:
            self._note("> close")
        return sent


async def serve(kind: str, calls: int, turns: int) -> None:
    """Until standard input ends."""
    log = WireLog()
    logger = logging.getLogger("websockets.server")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(log)
    found = next(one for one in KINDS if one.name == kind)
    fakes: dict[str, Fake] = {**found.fakes, SPARE: "realtime"}
    async with AsyncExitStack() as stack:
        servers: dict[str, DeepgramServer | OpenAIServer | OpenAIRealtimeServer] = {}
        for place, fake in fakes.items():
            faults = strikes(fake, calls, turns) if place == found.strikes else []
            server = servers[place] = _server(fake, scenario(calls, turns, *faults), log.at(place))
            await stack.enter_async_context(server.listening())
            log.places[int(server.url.split(":")[2].partition("/")[0])] = place
        await _warm(servers[SPARE].url)
        _tell({"urls": {place: server.url for place, server in servers.items()}})
        await asyncio.to_thread(sys.stdin.read)
        violations = [f"{place}: {said}" for place, server in servers.items() for said in server.violations]
        _tell({"notes": log.plain(), "violations": violations})


def _server(fake: Fake, scenario: Scenario, note: Note) -> DeepgramServer | OpenAIServer | OpenAIRealtimeServer:
    match fake:
        case "realtime":
            return OpenAIRealtimeServer(scenario, speed=SPEED)
        case "deepgram":
            return DeepgramServer(scenario, pace=Pace(speed=SPEED))
        case "openai":
            return NotedOpenAI(scenario, note)


async def _warm(url: str) -> None:
    """Have an answer of the fake that takes over: with the first one it makes ready what it checks messages with."""
    async with connect(f"{url}/realtime?model=any", additional_headers={"Authorization": "Bearer test-key"}) as socket:
        await socket.send(json.dumps({"type": "session.update", "session": {"type": "realtime"}}))
        await socket.send(json.dumps({"type": "response.create"}))
        async for said in socket:
            if json.loads(said)["type"] == "response.done":
                return


def _named(way: str, opcode: Opcode, data: bytes) -> str:
    if opcode is Opcode.BINARY:
        return f"{way} sound"
    if opcode is not Opcode.TEXT:
        return f"{way} {opcode.name.lower()}"
    said: dict[str, Any] = json.loads(data)
    more = said.get("event") or said.get("role") or ("from_finalize" if said.get("from_finalize") else "")
    return f"{way} {said.get('type')} {more}".strip()


def _tell(said: dict[str, Any]) -> None:
    print(json.dumps(said), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until standard input ends."""
    options = _parser().parse_args(arguments)
    os.sched_setaffinity(0, {options.core})
    with suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(_PRIORITY))
    asyncio.run(serve(options.kind, options.calls, options.turns))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m scripts.bench.provider_fakes", description=__doc__)
    parser.add_argument("--kind", choices=[kind.name for kind in KINDS], required=True)
    parser.add_argument("--core", type=int, default=1)
    parser.add_argument("--calls", type=int, required=True)
    parser.add_argument("--turns", type=int, required=True, help="answers in each call, the last of which breaks off")
    return parser


if __name__ == "__main__":
    sys.exit(main())
