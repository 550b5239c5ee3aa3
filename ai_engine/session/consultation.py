"""A human is asked whether they take the call, while the caller waits."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import structlog

from ai_engine.audio.format import FRAME_MS, AudioFormat
from ai_engine.call.actions import Prompt
from ai_engine.call.events import CallEvent, ConsultationBegan, ConsultationEnded, TransferAsked
from ai_engine.errors import AsteriskError, CallGone, MediaError, ProviderError
from ai_engine.session.attachment import Spawn
from ai_engine.session.ports import CallControl, Consultation, ConsultLeg, Outcome, SoundStore

log = structlog.get_logger(__name__)

_LAST_WORDS_SECONDS = 8.0
"""The longest the agent's last words may keep the human's telephone from ringing."""
_SPEECH_SECONDS = 4.0
"""What the briefing may take to be spoken, unless the telephone rings longer."""
_BRIEFING_MS = 12_000
"""Of a longer one only the beginning is heard."""
_PAUSE_MS = 500
"""Between sentences."""
_KEY_SECONDS = 8.0
"""For the decision, once everything was heard twice."""
_DECISION_SECONDS = 30.0
"""The longest from the answer to the decision."""
_TAKE, _DECLINE = "1", "2"


class Consultations:
    """Those of one call, one at a time; whatever happens, no telephone is left ringing."""

    def __init__(
        self,
        call_id: str,
        control: CallControl,
        speak: Callable[[str], Awaitable[bytes]],
        store: SoundStore | None,
        prompts: Mapping[Prompt, bytes],
        format: AudioFormat,
        spawn: Spawn,
        happened: Callable[[CallEvent], None],
    ) -> None:
        """``speak`` makes PCM in ``format`` of a text, or raises ProviderError; ``prompts`` are in ``format`` too."""
        self._call_id = call_id
        self._control = control
        self._speak = speak
        self._store = store
        self._prompts = prompts
        self._format = format
        self._spawn = spawn
        self._happened = happened
        self._waits: asyncio.Event | None = None
        """Set when the caller has heard the agent's last word; None while nobody is asked."""
        self._numbered = 0
        self._log = log.bind(call_id=call_id)

    async def hold(self, consultation: Consultation) -> str:
        """Ask; returns as ``ToolContext.consult`` does."""
        if self._waits is not None:
            return "failed: somebody is being asked already"
        self._waits = asyncio.Event()
        outcome, meeting = "failed: it was given up", None
        self._happened(ConsultationBegan(consultation.context, consultation.extension))
        try:
            outcome, meeting = await self._ask(consultation, self._waits)
        except (AsteriskError, CallGone, MediaError) as error:
            outcome = f"failed: {error}"
            self._log.warning("nobody could be asked", extension=consultation.extension, reason=str(error))
        finally:
            self._waits = None
            self._happened(ConsultationEnded(outcome))
        if meeting is not None:
            self._happened(TransferAsked(f"{consultation.extension} takes the call", *meeting))
        return outcome

    def last_word_played(self) -> None:
        """The caller has heard all that the agent had to say."""
        if self._waits is not None:
            self._waits.set()

    async def _ask(self, consultation: Consultation, waits: asyncio.Event) -> tuple[str, tuple[str, str] | None]:
        """The outcome; for a good one also where caller and human are to meet."""
        leg = self._control.consult_leg()
        meeting = None
        # Laid down before anybody is called: where nothing can be played there is nobody to ask.
        sounds = [await self._lay_down(b"")]
        speech: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        speaking = self._spawn(self._brief(consultation.briefing, speech))
        due = asyncio.get_running_loop().time() + _SPEECH_SECONDS
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_SECONDS):
                    await waits.wait()
            outcome = await leg.ring(consultation.context, consultation.extension, consultation.ring_seconds)
            if outcome is None:
                async with asyncio.timeout(_DECISION_SECONDS):
                    await asyncio.wait({speech}, timeout=max(0.0, due - asyncio.get_running_loop().time()))
                    if speech.done() and speech.result():
                        sounds.append(await self._lay_down(speech.result()))
                    outcome = await self._decision(leg, *sounds[-1])
            if outcome is Outcome.ACCEPTED:
                meeting = await self._control.arrange_meeting(leg)
            return outcome, meeting
        except TimeoutError:
            return Outcome.DECLINED, None
        finally:
            if meeting is None:
                await leg.hang_up()
            if speaking is not None:
                speaking.cancel()
            for uri, _ in sounds:
                self._store_or_fail().remove(uri)

    async def _decision(self, leg: ConsultLeg, uri: str, seconds: float) -> Outcome:
        await leg.play(uri)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds + _KEY_SECONDS):
                while (key := await leg.key()) is not None:
                    if key in (_TAKE, _DECLINE):
                        return Outcome.ACCEPTED if key == _TAKE else Outcome.DECLINED
        return Outcome.DECLINED

    async def _brief(self, text: str, speech: asyncio.Future[bytes]) -> None:
        pcm = b""
        try:
            if text:
                pcm = await self._speak(text)
        except ProviderError as error:
            self._log.warning("the briefing cannot be spoken", reason=str(error))
        speech.set_result(pcm[: self._format.byte_count(_BRIEFING_MS)])

    async def _lay_down(self, speech: bytes) -> tuple[str, float]:
        """A sound with ``speech`` and the question, twice: its URI and its seconds."""
        pause = self._format.silence() * (_PAUSE_MS // FRAME_MS)
        once = (speech + pause if speech else b"") + self._prompts[Prompt.SCREEN] + pause
        self._numbered += 1
        uri = await self._store_or_fail().put(f"{self._call_id}-consult-{self._numbered}", once * 2, self._format)
        return uri, self._format.ms(len(once) * 2) / 1000

    def _store_or_fail(self) -> SoundStore:
        if self._store is None:
            raise MediaError("there is nowhere to put sounds for Asterisk to play")
        return self._store
