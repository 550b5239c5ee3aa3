"""Deepgram's transcriber listen v2 (/v2/listen, Flux), as a scenario has it."""

from typing import Any
from uuid import uuid4

from deepgram.listen.v2 import types as sdk
from deepgram.types.listen_v2encoding import ListenV2Encoding
from deepgram.types.listen_v2model import ListenV2Model

from tests.fakes.deepgram_listen import Listener, Utterance, Word
from tests.fakes.deepgram_query import Rules
from tests.fakes.deepgram_types import choices
from tests.fakes.deepgram_wire import CODECS, LIMIT, Types, Wire

PATH = "/v2/listen"

UPDATE_MS = 240
EAGER_MS = 200
"""Of quiet, before a turn may be over."""

END_MS = 500
"""Of quiet, before it is."""

IDLE_UPDATE_MS = 1000

_RANGES = {"eot_threshold": (0.5, 1.0), "eager_eot_threshold": (0.3, 0.9), "eot_timeout_ms": (500.0, 60000.0)}

_NAMES = (
    "model encoding sample_rate eager_eot_threshold eot_threshold eot_timeout_ms keyterm language_hint "
    "profanity_filter numerals redact mip_opt_out tag"
)

RULES = Rules(
    _NAMES,
    {"model": choices(ListenV2Model), "encoding": tuple(set(choices(ListenV2Encoding)) & CODECS.keys())},
    {"sample_rate": (8000, 48000), **_RANGES},
)

SENT: Types = {
    "Connected": (sdk.ListenV2Connected,),
    "TurnInfo": (sdk.ListenV2TurnInfo,),
    "ConfigureSuccess": (sdk.ListenV2ConfigureSuccess,),
    "ConfigureFailure": (sdk.ListenV2ConfigureFailure,),
    "Error": (sdk.ListenV2FatalError,),
}


class Flux(Listener):
    """One stream."""

    received = {
        "CloseStream": (sdk.ListenV2CloseStream,),
        "ForceEndTurn": (sdk.ListenV2ForceEndTurn,),
        "Configure": (sdk.ListenV2Configure,),
    }
    """KeepAlive is not among them."""

    def __init__(self, wire: Wire, first_turn: int) -> None:
        super().__init__(wire, first_turn)
        self._thresholds = {name: float(self.query[name][0]) for name in _RANGES if name in self.query}
        self._keyterms = list(self.query.get("keyterm", []))
        self._request_id = str(uuid4())
        self._sequence = 0
        self._turn_index = 0
        self._started = False
        self._eager = ""
        """Whether it said that the turn may be over: "early", or with the "whole" of its words."""
        self._corrected = False
        self._told_ms = 0

    async def greet(self) -> None:
        await self._number({"type": "Connected", "request_id": self._request_id})

    async def idle(self) -> None:
        await self._fatal("INACTIVE_CLIENT", "The client sent nothing for too long.")

    async def empty(self) -> None:
        self.wire.violate("an empty binary message")

    async def unparsable(self, text: str) -> None:
        await self._fatal("UNPARSABLE_CLIENT_MESSAGE", "The client message did not match any of the known formats.")

    async def fails(self) -> None:
        await self._fatal("INTERNAL_SERVER_ERROR", "An internal server error occurred.")

    async def limit(self) -> None:
        await self._fatal("SESSION_DURATION_EXCEEDED", LIMIT)

    async def obey(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "CloseStream":
                self.finished = True
                await self.wire.close()
            case "ForceEndTurn" if self.utterance:
                self._vad.forget()
                await self._end_of_turn(self.utterance, "manual")
            case "Configure":
                await self._configure(message)

    async def starts(self, utterance: Utterance) -> None:
        self._told_ms = self.now_ms
        self._started, self._eager, self._corrected = False, "", False

    async def resumes(self, utterance: Utterance) -> None:
        if self._eager:
            self._eager = ""
            await self._turn_info("TurnResumed", utterance.words(utterance.known(self.now_ms)), 0.1)

    async def tick(self) -> None:
        if self.utterance:
            await self._follow(self.utterance)
        elif self.now_ms - self._told_ms >= IDLE_UPDATE_MS:
            await self._turn_info("Update", [], 0.1)

    async def _follow(self, utterance: Utterance) -> None:
        known = utterance.known(self.now_ms)
        if not self._started and known:
            self._started = True
            await self._turn_info("StartOfTurn", utterance.words(known), 0.1)
        elif utterance.quiet_ms is not None:
            await self._wait_for_end(utterance, self.now_ms - utterance.quiet_ms)
        elif self._started and self.now_ms - self._told_ms >= UPDATE_MS:
            await self._go_on(utterance, known)

    async def _go_on(self, utterance: Utterance, known: int) -> None:
        half = (len(utterance.texts) + 1) // 2
        if self._eager:
            await self.resumes(utterance)
        elif self._eager_asked and utterance.turn.resumed and not self._corrected and known >= half:
            self._corrected, self._eager = True, "early"
            await self._turn_info("EagerEndOfTurn", utterance.words(half), 0.5)
        else:
            await self._turn_info("Update", utterance.words(known), 0.1)

    async def _wait_for_end(self, utterance: Utterance, quiet_ms: int) -> None:
        by_model = self._thresholds.get("eot_threshold", 0.7) < 1.0
        if by_model and quiet_ms >= END_MS:
            await self._end_of_turn(utterance, "model")
        elif quiet_ms >= self._thresholds.get("eot_timeout_ms", 5000):
            await self._end_of_turn(utterance, "timeout")
        elif self._eager_asked and quiet_ms >= EAGER_MS and self._eager != "whole":
            await self.resumes(utterance)
            self._eager = "whole"
            await self._turn_info("EagerEndOfTurn", _whole(utterance, self.now_ms), 0.5)
        elif not self._eager and self.now_ms - self._told_ms >= UPDATE_MS:
            await self._turn_info("Update", _whole(utterance, self.now_ms), 0.3)

    async def _end_of_turn(self, utterance: Utterance, trigger: str) -> None:
        words = _whole(utterance, self.now_ms)
        if words and not self._started:
            await self._turn_info("StartOfTurn", words, 0.1)
        if words:
            await self._turn_info("EndOfTurn", words, 0.85, trigger=trigger)
            self._turn_index += 1
        self.over()

    @property
    def _eager_asked(self) -> bool:
        return "eager_eot_threshold" in self._thresholds

    async def _turn_info(self, event: str, words: list[Word], confidence: float, **more: str) -> None:
        began_ms = self.utterance.began_ms if self.utterance else self._told_ms
        self._told_ms = self.now_ms
        await self._number(
            {
                "type": "TurnInfo",
                "request_id": self._request_id,
                "event": event,
                "turn_index": self._turn_index,
                "audio_window_start": round(began_ms / 1000, 3),
                "audio_window_end": self.seconds,
                "transcript": " ".join(word.text for word in words),
                "words": [
                    {"word": word.text, "confidence": 0.98, "start": word.start, "end": word.end} for word in words
                ],
                "end_of_turn_confidence": confidence,
                **more,
            }
        )

    async def _configure(self, asked: dict[str, Any]) -> None:
        thresholds = {name: value for name, value in (asked.get("thresholds") or {}).items() if value is not None}
        hints = asked.get("language_hints")
        if wrong := [name for name, value in thresholds.items() if not _RANGES[name][0] <= value <= _RANGES[name][1]]:
            await self._refuse_configure(f"{wrong[0]} is out of range.")
            return
        if hints is not None and self.asked("model") != "flux-general-multi":
            await self._refuse_configure("language_hints are for flux-general-multi only.")
            return
        self._thresholds |= thresholds
        terms = asked.get("keyterms")
        self._keyterms = self._keyterms if terms is None else [terms] if isinstance(terms, str) else terms
        await self._number(
            {
                "type": "ConfigureSuccess",
                "request_id": self._request_id,
                "thresholds": self._thresholds,
                "keyterms": self._keyterms,
                **({} if hints is None else {"language_hints": hints}),
            }
        )

    async def _refuse_configure(self, why: str) -> None:
        self.wire.violate(f"Configure: {why}")
        await self._number({"type": "ConfigureFailure", "request_id": self._request_id, "description": why})

    async def _fatal(self, code: str, description: str) -> None:
        await self._number({"type": "Error", "code": code, "description": description})
        await self.wire.close(1011)

    async def _number(self, message: dict[str, Any]) -> None:
        await self.tell({**message, "sequence_id": self._sequence})
        self._sequence += 1


def _whole(utterance: Utterance, now_ms: int) -> list[Word]:
    end_ms = now_ms if utterance.quiet_ms is None else utterance.quiet_ms
    return utterance.words(len(utterance.texts), end_ms)
