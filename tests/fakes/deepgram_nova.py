"""Deepgram's transcriber listen v1 (/v1/listen, Nova), as a scenario has it."""

import hashlib
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from deepgram.listen.v1 import types as sdk
from deepgram.types.listen_v1encoding import ListenV1Encoding
from deepgram.types.listen_v1model import ListenV1Model

from tests.fakes.deepgram_listen import GAP_MS, Listener, Utterance, Word
from tests.fakes.deepgram_query import Rules
from tests.fakes.deepgram_types import choices
from tests.fakes.deepgram_wire import CODECS, LIMIT, NET_0000, NET_0001, Types, Wire

PATH = "/v1/listen"

INTERIM_MS = 300
SILENCE_MS = 1000
"""How often it tells of nothing."""

_SWITCHES = (
    "interim_results vad_events punctuate smart_format numerals profanity_filter "
    "diarize dictation multichannel mip_opt_out"
)

_OTHERS = (
    "callback callback_method channels detect_entities diarize_model encoding endpointing extra keyterm keywords "
    "language language_hint model redact replace sample_rate search tag utterance_end_ms version"
)

RULES = Rules(
    f"{_SWITCHES} {_OTHERS}",
    {
        "model": choices(ListenV1Model),
        "encoding": tuple(set(choices(ListenV1Encoding)) & CODECS.keys()),
        "channels": ("1",),
        "endpointing": ("false", *map(str, range(10, 10001))),
        **dict.fromkeys(_SWITCHES.split(), ("true", "false")),
    },
    {"sample_rate": (8000, 48000), "utterance_end_ms": (1000, 5000)},
)

SENT: Types = {
    "Results": (sdk.ListenV1Results,),
    "SpeechStarted": (sdk.ListenV1SpeechStarted,),
    "UtteranceEnd": (sdk.ListenV1UtteranceEnd,),
    "Metadata": (sdk.ListenV1Metadata,),
    "ConfigureSuccess": (sdk.ListenV1ConfigureSuccess,),
    "ConfigureFailure": (sdk.ListenV1ConfigureFailure,),
    "Error": (sdk.ListenV1Error,),
}


class Nova(Listener):
    """One stream."""

    received = {
        "KeepAlive": (sdk.ListenV1KeepAlive,),
        "Finalize": (sdk.ListenV1Finalize,),
        "CloseStream": (sdk.ListenV1CloseStream,),
        "Configure": (sdk.ListenV1Configure,),
    }

    def __init__(self, wire: Wire, first_turn: int) -> None:
        super().__init__(wire, first_turn)
        endpointing = self.asked("endpointing", "10")
        self._endpoint_ms = None if endpointing == "false" else max(GAP_MS, int(endpointing))
        self._interim = self.asked("interim_results") == "true"
        self._utterance_end_ms = int(self.asked("utterance_end_ms", "0"))
        self._quiet_since_ms: int | None = None
        """The end of the last word, until it is told of."""
        self._told_ms = 0
        self._request_id = str(uuid4())

    async def greet(self) -> None:
        """It waits for sound."""

    async def idle(self) -> None:
        await self.wire.close(1011, NET_0001)

    async def empty(self) -> None:
        self.wire.violate("an empty binary message: it ends the stream")
        await self._end()

    async def unparsable(self, text: str) -> None:
        await self.tell(
            {
                "type": "Error",
                "variant": "SchemaError",
                "description": "The client message could not be parsed.",
                "message": text,
            }
        )

    async def fails(self) -> None:
        await self.wire.close(1011, NET_0000)

    async def limit(self) -> None:
        await self.wire.close(1008, LIMIT)

    async def obey(self, message: dict[str, Any]) -> None:
        match message["type"]:
            case "Finalize":
                self._vad.forget()
                await self._report_all(self.utterance, speech_final=True, from_finalize=True)
            case "CloseStream":
                await self._end()
            case "Configure":
                await self._configure(message.get("keyterms"))

    async def starts(self, utterance: Utterance) -> None:
        self._quiet_since_ms = None
        self._told_ms = self.now_ms
        if self.asked("vad_events") == "true":
            at = round(utterance.began_ms / 1000, 3)
            await self.tell({"type": "SpeechStarted", "channel": [0, 1], "timestamp": at})

    async def resumes(self, utterance: Utterance) -> None:
        """It says nothing of it."""

    async def tick(self) -> None:
        if self.utterance:
            await self._follow(self.utterance)
        elif self._quiet_since_ms is not None and self.now_ms - self._quiet_since_ms >= self._utterance_end_ms > 0:
            last, self._quiet_since_ms = self._quiet_since_ms, None
            await self.tell({"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": round(last / 1000, 3)})
        elif self._interim and self.now_ms - self._told_ms >= SILENCE_MS:
            await self._results([], final=False, start_ms=self._told_ms)

    async def _follow(self, utterance: Utterance) -> None:
        quiet_ms = 0 if utterance.quiet_ms is None else self.now_ms - utterance.quiet_ms
        known = utterance.known(self.now_ms)
        cut = next((cut for cut in _cuts(utterance) if cut > utterance.done), None)
        if quiet_ms and self._endpoint_ms is not None and quiet_ms >= self._endpoint_ms:
            await self._report_all(utterance, speech_final=True)
        elif quiet_ms and self._endpoint_ms is None and quiet_ms >= (self._utterance_end_ms or SILENCE_MS):
            await self._report_all(utterance, speech_final=False)
        elif cut is not None and known >= cut:
            await self._segment(utterance, utterance.words(cut), speech_final=False)
        elif self._interim and known > utterance.done and self.now_ms - self._told_ms >= INTERIM_MS:
            await self._results(utterance.words(known), final=False, start_ms=utterance.done_ms or utterance.began_ms)

    async def _report_all(
        self, utterance: Utterance | None, *, speech_final: bool, from_finalize: bool = False
    ) -> None:
        if utterance is None:
            await self._results([], final=True, start_ms=self._told_ms, from_finalize=from_finalize)
            return
        end_ms = self.now_ms if utterance.quiet_ms is None else utterance.quiet_ms
        words = utterance.words(len(utterance.texts), end_ms)
        cuts = [cut - utterance.done for cut in _cuts(utterance) if cut > utterance.done]
        for start, end in zip([0, *cuts], [*cuts, len(words)], strict=True):
            last = end == len(words)
            await self._segment(
                utterance, words[start:end], speech_final=speech_final and last, from_finalize=from_finalize and last
            )
        self._quiet_since_ms = end_ms
        self.over()

    async def _segment(
        self, utterance: Utterance, words: list[Word], *, speech_final: bool, from_finalize: bool = False
    ) -> None:
        start_ms = utterance.done_ms or utterance.began_ms
        utterance.finish(words)
        await self._results(
            words, final=True, start_ms=start_ms, speech_final=speech_final, from_finalize=from_finalize
        )

    async def _results(
        self,
        words: list[Word],
        *,
        final: bool,
        start_ms: int,
        speech_final: bool = False,
        from_finalize: bool = False,
    ) -> None:
        self._told_ms = self.now_ms
        end = words[-1].end if words else self.seconds
        confidence = 0.98 if words else 0.0
        alternative = {
            "transcript": " ".join(word.text for word in words),
            "confidence": confidence,
            "words": [
                {
                    "word": word.plain,
                    "start": word.start,
                    "end": word.end,
                    "confidence": confidence,
                    "punctuated_word": word.text,
                }
                for word in words
            ],
        }
        await self.tell(
            {
                "type": "Results",
                "channel_index": [0, 1],
                "start": round(start_ms / 1000, 3),
                "duration": round(max(0.0, end - start_ms / 1000), 3),
                "is_final": final,
                "speech_final": speech_final,
                "channel": {"alternatives": [alternative]},
                "metadata": {
                    "request_id": self._request_id,
                    "model_info": {"name": self.asked("model"), "version": "2026-01-01.0", "arch": "nova-3"},
                    "model_uuid": "00000000-0000-4000-8000-000000000000",
                },
                "from_finalize": from_finalize,
            }
        )

    async def _configure(self, keyterms: list[str] | None) -> None:
        if self.asked("model").startswith("nova-3"):
            terms = {} if keyterms is None else {"keyterms": keyterms}
            await self.tell({"type": "ConfigureSuccess", "request_id": self._request_id, **terms})
        else:
            await self.tell(
                {
                    "type": "ConfigureFailure",
                    "request_id": self._request_id,
                    "code": "CONFIGURE_KEYTERMS_NOT_SUPPORTED",
                    "description": "Only Nova-3 models take keyterms in a stream.",
                }
            )

    async def _end(self) -> None:
        self.finished = True
        if self.utterance:
            await self._report_all(self.utterance, speech_final=True)
        await self.tell(
            {
                "type": "Metadata",
                "transaction_key": "deprecated",
                "request_id": self._request_id,
                "sha256": hashlib.sha256(self.session.caller_pcm).hexdigest(),
                "created": datetime.now(UTC).isoformat(),
                "duration": self.seconds,
                "channels": 1,
            }
        )
        await self.wire.close()


def _cuts(utterance: Utterance) -> list[int]:
    """Where the segments end but the last, in words."""
    count, pieces = len(utterance.texts), utterance.turn.pieces
    return [cut for piece in range(1, pieces) if 0 < (cut := count * piece // pieces) < count]
