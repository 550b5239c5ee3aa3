"""A server of docs/local_ai_protocol.md that speaks in tones, so that what was heard of it can be measured.

script = Script([tones(500, 700)], [Answer(sweep(10)), Answer([tones(900)], tools=(("hangup", {}),))])
agent = ToneAgent(script)                        # a script for each call; more calls get the last one
async with agent.listening(port):
    session = await agent.session()              # the first call's
    session.turns[1].pcm                         # what the caller said, at session.input_rate
    session.digits, session.cancels, session.tool_results

It greets, and gives the script's next answer to each turn, spoken or typed. A brief turn gets a ``final`` and no more.
"""

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import count, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from tests.waiting import until

OUTPUT_RATE = 16000
LEVEL_DBFS = -20.0
"""What the engine brings every voice to, so that it changes nothing here."""

TONE_SECONDS = 0.25
SWEEP_FROM_HZ = 600.0
SWEEP_HZ_PER_SECOND = 200.0

_RAMP_SECONDS = 0.004
"""Tones begin and end without a click."""

_PIECE_SAMPLES = 8000


@dataclass(frozen=True, slots=True)
class Clause:
    """Words, and what stands for their sound (PCM16 at ``OUTPUT_RATE``)."""

    text: str
    pcm: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the agent says and does after a turn it understood as ``said``."""

    clauses: Sequence[Clause]
    said: str = "something"
    tools: Sequence[tuple[str, dict[str, Any]]] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """One call."""

    greeting: Sequence[Clause]
    answers: Sequence[Answer] = ()
    """To the turns, in order; what comes after the last is not understood."""
    brief: str = ""
    """What every brief turn is understood as."""
    on_digit: Sequence[tuple[str, dict[str, Any]]] = ()
    """Tools to ask for, without a word, when the caller presses a key."""


def tones(*hz: float) -> Clause:
    """A tone of ``TONE_SECONDS`` for each."""
    moments = np.arange(int(TONE_SECONDS * OUTPUT_RATE)) / OUTPUT_RATE
    pieces = [_finished(np.sin(2 * np.pi * one * moments)) for one in hz]
    return Clause(f"tones {' '.join(f'{one:g}' for one in hz)}.", b"".join(pieces))


def sweep(seconds: float, ends: Sequence[float] = ()) -> list[Clause]:
    """A tone that rises all the time, so that its pitch tells how much of it went by (``swept``).

    Its clauses end at ``ends`` (seconds), or after each second.
    """
    moments = np.arange(int(seconds * OUTPUT_RATE)) / OUTPUT_RATE
    phase = 2 * np.pi * (SWEEP_FROM_HZ * moments + SWEEP_HZ_PER_SECOND * np.square(moments) / 2)
    pcm = _finished(np.sin(phase))
    cuts = [0.0, *(ends or np.arange(1, np.ceil(seconds) + 1))]
    return [
        Clause(f"To second {end:g}.", pcm[2 * int(start * OUTPUT_RATE) : 2 * int(end * OUTPUT_RATE)])
        for start, end in pairwise(cuts)
    ]


def swept(hz: float) -> float:
    """How many seconds of a ``sweep`` had gone by when it was ``hz``."""
    return (hz - SWEEP_FROM_HZ) / SWEEP_HZ_PER_SECOND


@dataclass(slots=True)
class Turn:
    """What was heard between ``turn_begin`` and its end."""

    pcm: bytearray = field(default_factory=bytearray, repr=False)
    ended: bool = False
    dropped: bool = False
    brief: bool = False


@dataclass(slots=True)
class Session:
    """One call."""

    start: dict[str, Any]
    input_rate: int
    turns: dict[int, Turn] = field(default_factory=dict)
    digits: list[str] = field(default_factory=list)
    cancels: list[tuple[int, float]] = field(default_factory=list)
    """Reply and ``heard_ms``."""
    tool_results: dict[str, dict[str, Any]] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    """Everything that came after ``start``."""
    stray_bytes: int = 0
    """Of sound that belongs to no turn."""
    closed: bool = False

    @property
    def answered(self) -> list[Turn]:
        """The turns that got an answer, in order."""
        return [turn for turn in self.turns.values() if turn.ended and not turn.brief and not turn.dropped]


class ToneAgent:
    """The server."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = scripts
        self.sessions: list[Session] = []
        self.takes_notes = False
        self.probes = 0
        """Sessions that were opened and closed, and nothing else."""

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[int]:
        """Serve on 127.0.0.1 while the block runs, at the port it is given; 0 takes a free one."""
        async with serve(self._serve, "127.0.0.1", port, process_request=_answer_http, compression=None) as server:
            yield next(iter(server.sockets)).getsockname()[1]

    async def session(self, number: int = 0) -> Session:
        """That of call ``number``, from 0; raises TimeoutError when it does not come."""
        await until(lambda: len(self.sessions) > number)
        return self.sessions[number]

    async def _serve(self, socket: ServerConnection) -> None:
        start = json.loads(await socket.recv())
        assert start["type"] == "start"
        session = Session(start, int(start.get("rate", OUTPUT_RATE)))
        await _send(
            socket,
            {
                "type": "ready",
                "protocol": start["protocol"],
                "input_rate": session.input_rate,
                "output_rate": OUTPUT_RATE,
                "backends": {"stt": "none", "llm": "script", "tts": "tones"},
                "notes": self.takes_notes,
            },
        )
        try:
            first = await socket.recv()
        except ConnectionClosed:  # a probe: nobody called
            self.probes += 1
            return
        script = self._scripts[min(len(self.sessions), len(self._scripts) - 1)]
        self.sessions.append(session)
        try:
            await _Talk(socket, session, script).run(first)
        except ConnectionClosed:
            session.closed = True


class _Talk:
    """One connection."""

    def __init__(self, socket: ServerConnection, session: Session, script: Script) -> None:
        self._socket = socket
        self._session = session
        self._script = script
        self._answers = iter(script.answers)
        self._replies = count(1)
        self._tools = count(1)
        self._open: int | None = None

    async def run(self, message: str | bytes) -> None:
        """From the first message until the connection closes (ConnectionClosed)."""
        while True:
            if isinstance(message, bytes):
                self._hear(message)
            else:
                await self._obey(json.loads(message))
            message = await self._socket.recv()

    def _hear(self, pcm: bytes) -> None:
        if self._open is None:
            self._session.stray_bytes += len(pcm)
        else:
            self._session.turns[self._open].pcm += pcm

    async def _obey(self, said: dict[str, Any]) -> None:
        self._session.messages.append(said)
        match said:
            case {"type": "greet"}:
                await self._say(None, self._script.greeting)
            case {"type": "turn_begin", "turn": turn}:
                self._session.turns[turn] = Turn()
                self._open = turn
            case {"type": "turn_end", "turn": turn} if turn == self._open:
                self._open = None
                await self._answer(turn, brief=bool(said.get("brief")))
            case {"type": "text", "turn": turn}:
                answer = next(self._answers, Answer([tones(400)]))
                await self._say(turn, answer.clauses, answer.tools)
            case {"type": "turn_drop", "turn": turn} if turn in self._session.turns:
                self._session.turns[turn].dropped = True
                self._open = None if self._open == turn else self._open
            case {"type": "digit", "digit": digit}:
                self._session.digits.append(digit)
                if self._script.on_digit:
                    await self._say(None, (), self._script.on_digit)
            case {"type": "cancel", "reply": reply, "heard_ms": heard_ms}:
                self._session.cancels.append((reply, heard_ms))
            case {"type": "tool_result", "id": id, "result": result}:
                self._session.tool_results[id] = result
            case _:
                pass

    async def _answer(self, number: int, *, brief: bool) -> None:
        turn = self._session.turns[number]
        turn.ended, turn.brief = True, brief
        if brief:
            await self._final(number, self._script.brief)
            return
        answer = next(self._answers, Answer([tones(400)], said=""))
        await self._final(number, answer.said)
        await self._say(number, answer.clauses, answer.tools)

    async def _final(self, turn: int, text: str) -> None:
        await _send(self._socket, {"type": "final", "turn": turn, "text": text, "confidence": 1.0})

    async def _say(
        self, turn: int | None, clauses: Sequence[Clause], tools: Sequence[tuple[str, dict[str, Any]]] = ()
    ) -> None:
        reply = next(self._replies)
        await _send(self._socket, {"type": "reply", "reply": reply, "turn": turn})
        for clause in clauses:
            await _send(self._socket, {"type": "token", "reply": reply, "text": clause.text})
            await _send(self._socket, {"type": "clause", "reply": reply, "text": clause.text})
            for start in range(0, len(clause.pcm), 2 * _PIECE_SAMPLES):
                await self._socket.send(reply.to_bytes(4) + clause.pcm[start : start + 2 * _PIECE_SAMPLES])
        for name, arguments in tools:
            id = f"tool-{next(self._tools)}"
            await _send(self._socket, {"type": "tool", "reply": reply, "id": id, "name": name, "arguments": arguments})
        await _send(self._socket, {"type": "reply_end", "reply": reply, "cancelled": False})


async def _send(socket: ServerConnection, message: dict[str, Any]) -> None:
    await socket.send(json.dumps(message))


def _answer_http(connection: ServerConnection, request: Request) -> Response | None:
    if request.path == "/v1":
        return None
    return connection.respond(HTTPStatus.OK, '{"status": "ok"}')


def _finished(wave: NDArray[np.float64]) -> bytes:
    """At our level, without clicks."""
    ramp = np.minimum(1.0, np.arange(wave.size) / (_RAMP_SECONDS * OUTPUT_RATE))
    amplitude = 32768 * 2**0.5 * 10 ** (LEVEL_DBFS / 20)
    return (wave * ramp * ramp[::-1] * amplitude).astype("<i2").tobytes()
