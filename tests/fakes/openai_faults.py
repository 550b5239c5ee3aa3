"""How an answer of the OpenAI-compatible fake fails."""

import asyncio
import fcntl
import json
import math
import socket
import struct
import sys
import termios
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.scenario import Fault
from tests.fakes.word_tones import GAP_SECONDS, WORD_SECONDS
from tests.waiting import until

KINDS = ("refuse", "slow", "stall", "garbage", "close", "error")

NEVER = 3600.0
"""Seconds; a stalled answer waits for its client to hang up."""

_REFUSALS = {
    401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    429: ("Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
    500: ("The server had an error while processing your request. Sorry about that!", "server_error", None),
    503: ("The engine is currently overloaded, please try again later.", "service_unavailable_error", None),
}


@dataclass(slots=True)
class Request:
    """One request that came."""

    method: str
    path: str
    body: Any = field(default=None, repr=False)
    """The JSON; None when there was none."""
    aborted: bool = False
    """The client hung up before the end of the answer."""
    ended: bool = False
    """All of the answer went out, or as much as the fault let."""


async def break_off(request: web.Request, response: web.StreamResponse, record: Request, fault: Fault) -> bool:
    """Let an answer fail midway; whether that was its end."""
    match fault.kind:
        case "stall":
            await asyncio.sleep(NEVER)
        case "close":
            await reset(request, record)
        case "garbage":
            await send_event(response, '{"id": "chatcmpl-')
            return False
        case "error":
            await send_event(response, json.dumps({"error": failure(500)}))
            record.ended = True
        case _:
            return False
    return True


async def send_event(response: web.StreamResponse, data: str) -> None:
    """In two writes that part it anywhere, in mid-character too, as networks do."""
    event = f"data: {data}\n\n".encode()
    await response.write(event[: len(event) // 2])
    await response.write(event[len(event) // 2 :])


async def reset(request: web.Request, record: Request) -> None:
    """The connection ends as if the server had died, once what was sent has arrived."""
    record.ended = True
    transport = request.transport
    if transport is not None:
        line: socket.socket = transport.get_extra_info("socket")
        await until(lambda: transport.is_closing() or not (transport.get_write_buffer_size() or _unacknowledged(line)))
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()


def _unacknowledged(line: socket.socket) -> int:
    # Bytes in the kernel, which a reset drops (tcp(7), SIOCOUTQ).
    return int.from_bytes(fcntl.ioctl(line.fileno(), termios.TIOCOUTQ, bytes(4)), sys.byteorder)


def failure(status: int) -> dict[str, Any]:
    """The vendor's JSON of a failure that is not the client's."""
    message, kind, code = _REFUSALS.get(status, _REFUSALS[500])
    return {"message": message, "type": kind, "param": None, "code": code}


def tokens_of(fault: Fault) -> int:
    """How many go out before it."""
    return math.ceil(fault.after_ms / 1000 / (WORD_SECONDS + GAP_SECONDS))
