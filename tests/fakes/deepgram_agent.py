"""Deepgram's Voice Agent v1 (/v1/agent/converse), as a scenario has it."""

import asyncio
import re
from collections.abc import Coroutine
from typing import Any
from uuid import uuid4

from tests.fakes.deepgram_agent_calls import Calls
from tests.fakes.deepgram_agent_types import RECEIVED, UPDATED
from tests.fakes.deepgram_wire import CODECS, LIMIT, Wire, hear, wrong_with
from tests.fakes.energy_vad import EnergyVad, SpeechStarted
from tests.fakes.scenario import Fault, Turn
from tests.fakes.word_tones import spoken

PATH = "/v1/agent/converse"

END_OF_TURN_MS = 500
"""Of quiet after what the caller said."""

RAW: dict[str, Any] = {"encoding": "linear16", "sample_rate": 24000}
"""What sound is when the Settings do not say."""


class Agent:
    """One conversation."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._session = wire.session
        self._settings: dict[str, Any] | None = None
        self._applied = False
        self._encoding = ""
        self._vad = EnergyVad(8000)
        self._turns = 0
        self._speech: asyncio.Task[None] | None = None
        self._queue: list[str] = []
        self._calls = Calls(wire)

    async def run(self) -> None:
        """Until the connection closes (ConnectionClosed, Ended)."""
        await self._wire.send({"type": "Welcome", "request_id": str(uuid4())})
        while True:
            try:
                message = await self._wire.receive()
            except TimeoutError:
                await self._end(
                    "CLIENT_MESSAGE_TIMEOUT",
                    "We waited too long for a websocket message. "
                    "Please ensure that you're sending binary messages containing user speech.",
                )
            if isinstance(message, bytes):
                await self._hear(message)
            elif isinstance(message, str):
                self._wire.violate("received text that is no JSON object")
                await self._unparsable()
            else:
                await self._read(message)

    async def limit(self) -> None:
        """Of the session's length."""
        await self._end("SESSION_DURATION_EXCEEDED", LIMIT)

    async def _end(self, code: str, description: str) -> None:
        await self._wire.send({"type": "Error", "code": code, "description": description})
        await self._wire.close()

    async def _unparsable(self, fault: str = "") -> None:
        known = f"Error parsing client message. Check the {fault.partition(':')[0]} field against the API spec."
        unknown = "Text message received from client did not match any of the formats we expect."
        await self._end("UNPARSABLE_CLIENT_MESSAGE", known if fault else unknown)

    async def _hear(self, sound: bytes) -> None:
        if not self._applied:
            self._wire.violate("sound before SettingsApplied")
            await self._end(
                "BINARY_MESSAGE_BEFORE_SETTINGS", "We received a binary message before Settings were applied."
            )
        for event in self._vad.hear(hear(self._session, self._encoding, sound)):
            await (self._user_starts() if isinstance(event, SpeechStarted) else self._user_ends())

    async def _read(self, message: dict[str, Any]) -> None:
        kind = message.get("type")
        if kind not in RECEIVED:
            self._wire.violate(f"received {kind}: no such type")
            await self._unparsable()
        if wrong := wrong_with(message, RECEIVED):
            self._session.violations += [f"received {kind}: {one}" for one in wrong]
            await self._unparsable(wrong[0])
        if not self._applied and kind not in ("Settings", "KeepAlive"):
            self._wire.violate(f"{kind} before SettingsApplied")
            await self._unparsable()
        await self._obey(message)

    async def _obey(self, message: dict[str, Any]) -> None:
        match message:
            case {"type": "Settings"}:
                await self._configure(message)
            case {"type": "FunctionCallResponse"}:
                self._calls.take(message)
            case {"type": "InjectAgentMessage", "message": text}:
                await self._inject(text, message.get("behavior") or "default")
            case {"type": "InjectUserMessage", "content": text}:
                await self._interrupt()
                await self._answer_to(self._wire.scenario.turn_of(text), text)
            case {"type": "ForceEndTurn"} if self._vad.speaking:
                self._vad.forget()
                await self._user_ends()
            case {"type": kind} if kind in UPDATED:
                await self._wire.send({"type": UPDATED[kind]})
            case _:
                pass

    async def _configure(self, settings: dict[str, Any]) -> None:
        if self._settings is not None:
            self._wire.violate("a second Settings")
            await self._end("SETTINGS_ALREADY_APPLIED", "Settings were applied before.")
        self._settings = settings
        heard = settings["audio"].get("input") or RAW
        said = {**RAW, **(settings["audio"].get("output") or {})}
        if (
            heard["encoding"] not in CODECS
            or said["encoding"] not in CODECS
            or said.get("container") not in (None, "none")
        ):
            self._wire.violate("Settings: sound that the fake has not: linear16, mulaw, alaw, container none")
            await self._unparsable("audio")
        self._encoding = heard["encoding"]
        self._vad = EnergyVad(heard["sample_rate"], silence_duration_ms=END_OF_TURN_MS)
        self._session.caller_rate = heard["sample_rate"]
        self._session.speech_encoding, self._session.speech_rate = said["encoding"], said["sample_rate"]
        self._turns = sum(1 for one in self._history() if one.get("role") == "user")
        self._wire.spawn(self._apply())

    def _agent(self) -> dict[str, Any]:
        agent = (self._settings or {}).get("agent")
        return agent if isinstance(agent, dict) else {}

    def _history(self) -> list[dict[str, Any]]:
        return (self._agent().get("context") or {}).get("messages") or []

    async def _apply(self) -> None:
        await asyncio.sleep(self._wire.pace.settings_seconds)
        greeting, fault = self._agent().get("greeting"), self._wire.fault(None)
        if not greeting and fault and fault.kind == "stall":
            return
        self._applied = True
        await self._wire.send({"type": "SettingsApplied"})
        if greeting:
            self._speak(self._say([greeting], fault))
        elif fault:
            await self._break(fault)

    async def _user_starts(self) -> None:
        self._queue.clear()
        self._stop()
        await self._wire.send({"type": "UserStartedSpeaking"})
        await self._calls.cancel()

    async def _user_ends(self) -> None:
        turn = self._wire.scenario.turn(self._turns)
        await self._answer_to(turn, turn.heard)

    async def _answer_to(self, turn: Turn, text: str) -> None:
        number, self._turns = self._turns, self._turns + 1
        await self._text("user", text)
        self._speak(self._answer(turn, self._wire.fault(number)))

    async def _answer(self, turn: Turn, fault: Fault | None) -> None:
        if fault and fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        await self._wire.send({"type": "AgentThinking", "content": f"The caller said: {turn.heard}"})
        if turn.say:
            await self._say(_sentences(turn.say), fault)
        elif fault:
            await self._break(fault)
        if turn.tools:
            await self._note({"function_calls": await self._calls.ask(turn.tools)})
            if turn.then:
                await self._say(_sentences(turn.then))

    async def _say(self, texts: list[str], fault: Fault | None = None) -> None:
        latency = {"total_latency": 0.9, "tts_latency": 0.3, "ttt_latency": 0.6}
        for number, text in enumerate(texts):
            await self._text("assistant", text)
            if not number:
                await self._wire.send({"type": "AgentStartedSpeaking", **latency})
            pcm = spoken(text, self._session.speech_rate)
            if fault and not number:
                cut = 2 * round(fault.after_ms / 1000 * self._session.speech_rate)
                await self._wire.say(pcm[:cut])
                await self._break(fault)
                pcm = pcm[cut:]
            await self._wire.say(pcm)
        await self._wire.send({"type": "AgentAudioDone"})
        if self._queue:
            await self._say([self._queue.pop(0)])

    async def _break(self, fault: Fault) -> None:
        match fault.kind:
            case "stall":
                await asyncio.Event().wait()
            case "garbage":
                await self._wire.send_garbage()
            case "close":
                await self._wire.close(1011)
            case "error":
                await self._end(
                    "INTERNAL_SERVER_ERROR", "An internal server error occurred while processing the request."
                )
            case "limit":
                await self.limit()
            case _:
                pass

    async def _text(self, role: str, content: str) -> None:
        await self._note({"role": role, "content": content})
        await self._wire.send({"type": "ConversationText", "role": role, "content": content})

    async def _note(self, entry: dict[str, Any]) -> None:
        if ((self._settings or {}).get("flags") or {}).get("history", True):
            await self._wire.send({"type": "History", **entry})

    async def _inject(self, text: str, behavior: str) -> None:
        if behavior == "interrupt":
            await self._interrupt()
        elif self._speaks and behavior == "queue":
            self._queue.append(text)
            return
        elif self._speaks or self._vad.speaking:
            whose = "user" if self._vad.speaking else "agent"
            await self._wire.send({"type": "InjectionRefused", "message": f"Rejected: the {whose} is speaking."})
            return
        self._speak(self._say([text]))

    @property
    def _speaks(self) -> bool:
        return self._speech is not None and not self._speech.done()

    def _speak(self, work: Coroutine[Any, Any, None]) -> None:
        self._speech = self._wire.spawn(work)

    async def _interrupt(self) -> None:
        self._queue.clear()
        self._stop()
        await self._calls.cancel()

    def _stop(self) -> None:
        """Not another sound from now on."""
        if self._speech:
            self._speech.cancel()


def _sentences(text: str) -> list[str]:
    """As the vendor reports an answer: a text for each."""
    return re.split(r"(?<=[.!?])\s+", text.strip())
