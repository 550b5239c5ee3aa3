"""Deepgram's speech v1 (/v1/speak, Aura), as a scenario has it."""

import asyncio
from collections import deque
from typing import Any
from uuid import uuid4

from deepgram.speak.v1 import types as sdk
from deepgram.types.speak_v1encoding import SpeakV1Encoding
from deepgram.types.speak_v1model import SpeakV1Model
from deepgram.types.speak_v1sample_rate import SpeakV1SampleRate

from tests.fakes.deepgram_query import Rules
from tests.fakes.deepgram_types import choices
from tests.fakes.deepgram_wire import DATA_0000, LIMIT, NET_0000, Types, Wire, wrong_with
from tests.fakes.scenario import Fault, Scenario
from tests.fakes.word_tones import spoken

PATH = "/v1/speak"

FLUSHES, FLUSH_SECONDS = 20, 60.0
"""At most so many in so long."""

RULES = Rules(
    "encoding mip_opt_out model sample_rate speed",
    {
        "model": choices(SpeakV1Model),
        "encoding": choices(SpeakV1Encoding),
        "sample_rate": choices(SpeakV1SampleRate),
        "mip_opt_out": ("true", "false"),
    },
    {"speed": (0.7, 1.5)},
    required=("model",),
)

SENT: Types = {
    "Metadata": (sdk.SpeakV1Metadata,),
    "Flushed": (sdk.SpeakV1Flushed,),
    "Cleared": (sdk.SpeakV1Cleared,),
    "Warning": (sdk.SpeakV1Warning,),
}

RECEIVED: Types = {
    "Speak": (sdk.SpeakV1Text,),
    "Flush": (sdk.SpeakV1Flush,),
    "Clear": (sdk.SpeakV1Clear,),
    "Close": (sdk.SpeakV1Close,),
}


class Place:
    """Where in its scenario a text belongs, by its words: a fake that only speaks is told nothing else."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.turn: int | None = None
        """In the answer to which turn it is; None in the greeting."""

    def move(self, text: str) -> int | None:
        """To ``text``, or nowhere when no answer has it."""
        said = " ".join(text.split())
        if said in " ".join(self._scenario.greeting.split()) and self.turn is None:
            return None
        for number, turn in enumerate(self._scenario.turns):
            if number >= (self.turn or 0) and any(said in " ".join(one.split()) for one in (turn.say, turn.then)):
                self.turn = number
                break
        return self.turn


class Speaker:
    """One stream."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        query = wire.session.query
        wire.session.speech_encoding = query.get("encoding", ["linear16"])[0]
        wire.session.speech_rate = int(query.get("sample_rate", ["24000"])[0])
        self._model = query["model"][0]
        self._place = Place(wire.scenario)
        self._broken: list[Fault] = []
        self._text = ""
        self._asked: asyncio.Queue[str | None] = asyncio.Queue()
        """Texts to be said, each until a Flush; None at the end."""
        self._speech: asyncio.Task[None] | None = None
        self._flushes: deque[float] = deque()
        self._sequence = 0

    async def run(self) -> None:
        """Until the connection closes (ConnectionClosed, Ended)."""
        await self._wire.send(
            {
                "type": "Metadata",
                "request_id": str(uuid4()),
                "model_name": self._model,
                "model_version": "2026-01-01.0",
                "model_uuid": "00000000-0000-4000-8000-000000000000",
            }
        )
        self._speech = self._wire.spawn(self._say_all())
        while True:
            try:
                message = await self._wire.receive()
            except TimeoutError:
                continue  # a voice may be silent as long as it likes
            if isinstance(message, bytes | str):
                self._wire.violate("received what is no message")
                await self._wire.close(1008, DATA_0000)
            elif wrong := wrong_with(message, RECEIVED):
                self._wire.session.violations += [f"received {message.get('type')}: {one}" for one in wrong]
                await self._warn("UNPARSABLE_CLIENT_MESSAGE", "The client message could not be parsed.")
            else:
                await self._obey(message)

    async def limit(self) -> None:
        """Of the session's length."""
        await self._wire.close(1008, LIMIT)

    async def _obey(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "Speak":
                self._text += message["text"]
            case "Flush":
                await self._flush()
            case "Clear":
                await self._clear()
            case "Close":
                self._hand_over()
                self._asked.put_nowait(None)

    async def _flush(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._flushes and now - self._flushes[0] >= FLUSH_SECONDS:
            self._flushes.popleft()
        if len(self._flushes) >= FLUSHES:
            self._wire.violate(f"more than {FLUSHES} Flush in {FLUSH_SECONDS:g} s")
            await self._warn("EXCESSIVE_FLUSH", "No more Flush until the window of 60 seconds has passed.")
        else:
            self._flushes.append(now)
            self._hand_over()

    def _hand_over(self) -> None:
        self._asked.put_nowait(self._text)
        self._text = ""

    async def _clear(self) -> None:
        self._text = ""
        self._asked = asyncio.Queue()
        if self._speech:
            self._speech.cancel()
        await self._acknowledge("Cleared")
        self._speech = self._wire.spawn(self._say_all())

    async def _say_all(self) -> None:
        while (text := await self._asked.get()) is not None:
            if text.strip():
                await self._say(text)
            await self._acknowledge("Flushed")
        await self._wire.close()

    async def _say(self, text: str) -> None:
        pcm = spoken(text, self._wire.session.speech_rate)
        fault = self._wire.fault(self._place.move(text))
        if fault and fault not in self._broken:
            if fault.kind != "stall":
                self._broken.append(fault)
            cut = 2 * round(fault.after_ms / 1000 * self._wire.session.speech_rate)
            await self._wire.say(pcm[:cut])
            await self._break(fault)
            pcm = pcm[cut:]
        await self._wire.say(pcm)

    async def _break(self, fault: Fault) -> None:
        match fault.kind:
            case "stall":
                await asyncio.Event().wait()
            case "garbage":
                await self._wire.send_garbage()
            case "slow":
                await asyncio.sleep(fault.seconds)
            case "close":
                await self._wire.close(1011)
            case "error":
                await self._wire.close(1011, NET_0000)
            case "limit":
                await self.limit()
            case _:
                pass

    async def _acknowledge(self, kind: str) -> None:
        sequence, self._sequence = self._sequence, self._sequence + 1
        await self._wire.send({"type": kind, "sequence_id": sequence})

    async def _warn(self, code: str, description: str) -> None:
        await self._wire.send({"type": "Warning", "code": code, "description": description})
