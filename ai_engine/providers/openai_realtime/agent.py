"""One session with the OpenAI Realtime API."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import count
from typing import Any
from urllib.parse import quote

import structlog

from ai_engine.audio.format import SAMPLE_BYTES, AudioFormat
from ai_engine.call.events import (
    AgentExpiring,
    CallerInterrupted,
    CallEvent,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyId,
    ReplyText,
    Stage,
    StageReached,
    ToolAsked,
    UsageReported,
)
from ai_engine.errors import ProviderError
from ai_engine.providers.openai_realtime import wire
from ai_engine.providers.openai_realtime.caller_sound import CallerSound
from ai_engine.providers.openai_realtime.caller_words import CallerWords, Understood
from ai_engine.providers.openai_realtime.responses import Response, Responses
from ai_engine.providers.openai_realtime.settings import OpenAIRealtimeSettings
from ai_engine.providers.openai_realtime.wire import Message
from ai_engine.remote.socket import RemoteSocket
from ai_engine.session.ports import Briefing, Fitting
from ai_engine.text.aside import aside
from ai_engine.text.keys import pressed

log = structlog.get_logger(__name__)

_BROKEN = (KeyError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading a message that is not as documented can raise."""

_NOTICE_SECONDS = 300.0
"""So long before the provider ends the session it should be opened anew."""

_PATIENCE_SECONDS = {"engine": 0.0, "server_vad": 1.0, "semantic_vad": 5.0}
"""How long its own ears may wait after ours: half a second of silence, or 4 s for a sentence that is none yet."""

_DOUBT_SECONDS = 3.0
"""So long a short sound into our own words holds back what is to be said: its transcript may never come."""

_FATAL = ("session_expired", "invalid_api_key", "insufficient_quota")
"""Codes of an error after which the session is of no use."""

_TOO_EARLY = "conversation_already_has_active_response"
_EMPTY_COMMIT = "input_audio_buffer_commit_empty"
_HARMLESS = ("response_cancel_not_active",)

_MOST_BAD_CALLS = 1
"""In a row; after that it has to speak."""


class OpenAIRealtimeAgent:
    """Implements ``Agent``.

    The transcript of what the caller said is made beside the reply, and may come after it has begun.
    """

    provider = "openai_realtime"

    def __init__(self, settings: OpenAIRealtimeSettings, fitting: Fitting) -> None:
        self._settings = settings
        self._key = fitting.keys[settings.key]
        self._heartbeat_seconds = fitting.heartbeat_seconds
        heard, self._codec = wire.codecs(settings)
        self.input_format: AudioFormat = heard.format
        self.output_format: AudioFormat = self._codec.format
        self.patience_seconds = _PATIENCE_SECONDS[settings.turn_detection]
        self._has_ears = settings.turn_detection != "engine"
        self._socket: RemoteSocket | None = None
        self._briefing: Briefing | None = None
        self._responses = Responses(self._send)
        self._sound = CallerSound(heard, fitting.preroll_ms, self._send, always=self._has_ears)
        self._words = CallerWords()
        self._replies = count(1)
        self._listening = False
        """The caller speaks: no answer is asked for."""
        self._doubt: asyncio.TimerHandle | None = None
        """Of a short sound that waits for its words."""
        self._unanswered: set[str] = set()
        """Tools that are being used."""
        self._bad_calls = 0
        self._failures = 0
        self._awaited: set[Stage] = set()
        self._expires_at: float | None = None
        self._log = log

    async def start(self, briefing: Briefing) -> None:
        self._briefing = briefing
        self._log = log.bind(call_id=briefing.call_id)
        try:
            self._socket = await RemoteSocket.open(
                "OpenAI",
                f"{self._settings.url.rstrip('/')}/realtime?model={quote(self._settings.model)}",
                headers={"Authorization": f"Bearer {self._key}"},
                heartbeat_seconds=self._heartbeat_seconds,
            )
        except ProviderError as error:
            raise ProviderError(self._redacted(str(error)), error.status) from None
        await self._told(self._socket, "session.created")
        self._send(wire.session_update(self._settings, briefing))
        await self._told(self._socket, "session.updated")
        for said in briefing.history:
            self._send(wire.history(said))
        lasts = self._settings.session_minutes * 60
        self._expires_at = asyncio.get_running_loop().time() + max(0.0, lasts - _NOTICE_SECONDS)

    async def _told(self, socket: RemoteSocket, kind: str) -> None:
        while (said := await socket.receive_json()).get("type") != kind:
            if said.get("type") == "error":
                raise ProviderError(f"OpenAI refused the session: {self._complaint(said)}")

    # -- what the session tells us --------------------------------------------------------------------------

    def greet(self) -> None:
        greeting = self._briefing.greeting if self._briefing else ""
        self._await_stages(Stage.FIRST_TOKEN, Stage.FIRST_AUDIO)
        self._say(f"Say to the caller exactly this, word for word, and nothing else: {greeting}")

    def respond(self, text: str) -> None:
        self._send(wire.user_text(text))
        self._await_stages(Stage.FIRST_TOKEN, Stage.FIRST_AUDIO)
        self._responses.want()

    def hear(self, pcm: bytes) -> None:
        self._sound.hear(pcm)

    def caller_spoke(self) -> None:
        if self._has_ears:
            return
        self._listening = True
        self._be_sure()
        self._responses.withdraw()
        self._hold_or_ask()
        self._sound.begin()

    def caller_paused(self, *, brief: bool = False) -> None:
        if self._has_ears or not self._listening:
            return
        self._listening = False
        self._sound.end()
        self._words.paused(brief=brief)
        if brief:
            # Mostly nothing follows but the transcript, while an earlier reply may still be on its way.
            self._await_stages(Stage.TRANSCRIPT)
            self._doubt = asyncio.get_running_loop().call_later(_DOUBT_SECONDS, self._doubt_no_longer)
        else:
            self._await_stages(Stage.TRANSCRIPT, Stage.FIRST_TOKEN, Stage.FIRST_AUDIO)
            self._responses.want()
        self._hold_or_ask()

    def caller_dismissed(self) -> None:
        if self._has_ears or not self._listening:
            return
        self._listening = False
        self._sound.drop()
        self._hold_or_ask()

    def digit(self, digit: str) -> None:
        if (response := self._responses.active) is not None and not response.asked:
            self._responses.withdraw()  # keys come in rows: one answer to all of them, but after the greeting
        self._send(wire.user_text(pressed(digit)))
        self._responses.want()

    def nudge(self, *, last: bool = False) -> None:
        self._await_stages(Stage.FIRST_TOKEN, Stage.FIRST_AUDIO)
        if last:
            self._say("The caller does not answer any more. Say goodbye, in one short sentence; the call ends with it.")
        else:
            self._say("Nobody has spoken for a while. Ask, in one short sentence, whether the caller is still there.")

    def interrupt(self, reply: ReplyId, heard_ms: float) -> None:
        self._responses.interrupt(reply, heard_ms)

    def answer_tool(self, id: str, result: Mapping[str, Any], *, last: bool = False) -> None:
        if id not in self._unanswered:
            return
        self._unanswered.discard(id)
        self._send(wire.tool_output(id, result))
        if not self._unanswered and not last:
            self._await_stages(Stage.FIRST_TOKEN, Stage.FIRST_AUDIO)
            self._responses.want()

    def advise(self, text: str) -> str:
        self._send(wire.system_text(aside(text)))
        return ""

    def _say(self, what: str) -> None:
        """Ask for a sentence of the moment: instructions of a response take the place of the session's."""
        prompt = self._briefing.prompt if self._briefing else ""
        self._responses.want({"instructions": f"{prompt}\n\n{what}".strip(), "tool_choice": "none"})

    def _be_sure(self) -> None:
        """The short sound that was weighed is decided."""
        self._words.spoke()
        if self._doubt is not None:
            self._doubt.cancel()
            self._doubt = None

    def _doubt_no_longer(self) -> None:
        self._be_sure()
        self._hold_or_ask()

    def _hold_or_ask(self) -> None:
        self._responses.hold(self._listening or self._words.weighing)

    # -- what the provider tells us -------------------------------------------------------------------------

    async def events(self) -> AsyncIterator[CallEvent]:
        assert self._socket is not None, "start() comes first"
        while True:
            try:
                async with asyncio.timeout_at(self._expires_at):
                    said = await self._socket.receive_json()
            except TimeoutError:
                self._expires_at = None
                yield AgentExpiring()
                continue
            try:
                for event in self._understand(said):
                    yield event
            except _BROKEN as error:
                raise ProviderError(f"OpenAI sent a broken {said.get('type')!r}: {error!r}") from error
            # A whole reply may be waiting in the socket: between two pieces of it other calls have their turn.
            await asyncio.sleep(0)

    async def close(self) -> None:
        self._be_sure()
        if self._socket is not None:
            await self._socket.close()

    def _understand(self, said: Message) -> Iterator[CallEvent]:
        match said["type"]:
            case "response.created":
                self._began(said["response"]["id"])
            case "response.output_item.added" if said["item"]["type"] == "message":
                yield from self._announce(said["response_id"], said["item"]["id"])
            case "response.output_audio_transcript.delta":
                yield from self._text(said["response_id"], said["delta"])
            case "response.output_audio_transcript.done":
                yield from self._text(said["response_id"], " ")
            case "response.output_audio.delta":
                yield from self._pcm(said["response_id"], said["item_id"], said["delta"])
            case "response.done":
                yield from self._done(said["response"])
            case "input_audio_buffer.committed":
                self._words.committed(said["item_id"])
                if self._settings.transcription is None:
                    yield from self._understood(said["item_id"], "")
            case "conversation.item.input_audio_transcription.delta":
                yield self._words.more(said["item_id"], said.get("delta") or "")
            case "conversation.item.input_audio_transcription.completed":
                yield from self._usage("transcription_", said.get("usage"))
                yield from self._understood(said["item_id"], said["transcript"])
            case "conversation.item.input_audio_transcription.failed":
                self._log.warning("OpenAI could not transcribe a turn", reason=self._complaint(said))
                yield from self._understood(said["item_id"], "")
            case "input_audio_buffer.speech_started":
                yield from self._interrupted()
            case "input_audio_buffer.speech_stopped":
                self._await_stages(Stage.TRANSCRIPT, Stage.FIRST_TOKEN, Stage.FIRST_AUDIO)
            case "error":
                yield from self._wrong(said)

    def _began(self, id: str) -> None:
        self._responses.created(id)
        if self._has_ears:
            self._listening = False
            self._hold_or_ask()

    def _announce(self, id: str, item: str) -> Iterator[CallEvent]:
        response = self._responses.open(id)
        if response is None:
            return
        response.sound_ms.setdefault(item, 0.0)
        if response.reply is None:
            response.reply = ReplyId(next(self._replies))
            yield ReplyBegan(response.reply)

    def _text(self, id: str, words: str) -> Iterator[CallEvent]:
        response = self._responses.open(id)
        if response is not None:
            response.captions.said(words)
            yield from self._stage(Stage.FIRST_TOKEN)

    def _pcm(self, id: str, item: str, sound: str) -> Iterator[CallEvent]:
        yield from self._announce(id, item)
        response = self._responses.open(id)
        if response is None or response.reply is None:
            return
        pcm = self._codec.decode(b64decode(sound, validate=True))
        if len(pcm) % SAMPLE_BYTES:
            raise ValueError("half a sample")
        ms = self.output_format.ms(len(pcm))
        response.sound_ms[item] += ms
        words = response.captions.before(ms)
        yield from self._stage(Stage.FIRST_AUDIO)
        if words is not None:
            yield ReplyText(response.reply, words)
        yield ReplyAudio(response.reply, pcm)

    # -- a response is done ----------------------------------------------------------------------------------

    def _done(self, said: Message) -> Iterator[CallEvent]:
        yield from self._usage("", said.get("usage"))
        response = self._responses.finished(said["id"])
        if response is None:
            return
        yield from self._end(response)
        if said["status"] == "failed" and not response.refused:
            self._failed(response, said["output"], self._complaint(said.get("status_details") or {}))
        elif said["status"] in ("completed", "incomplete") and not response.refused:
            self._failures = 0
            response.captions.over()
            yield from self._use_tools(response, said["output"])
        else:
            self._responses.forget(response, said["output"])
        self._responses.ask()

    def _end(self, response: Response) -> Iterator[CallEvent]:
        if response.reply is None or response.ended:
            return
        response.ended = True
        if not response.refused and (words := response.captions.rest()):
            yield ReplyText(response.reply, words)
        yield ReplyEnded(response.reply)

    def _use_tools(self, response: Response, output: list[Message]) -> Iterator[CallEvent]:
        calls = [item for item in output if item["type"] == "function_call"]
        asked = [call for item in calls if (call := self._call(item)) is not None]
        self._unanswered |= {call.id for call in asked}
        if len(asked) < len(calls) and not self._unanswered:
            self._responses.want({"tool_choice": "none"} if self._bad_calls > _MOST_BAD_CALLS else None)
        if response.reply is None and (asked or not self._responses.coming):
            # The session waits for a reply: let it know that there is none.
            response.reply = ReplyId(next(self._replies))
            response.ended = True
            yield ReplyBegan(response.reply)
            yield ReplyEnded(response.reply)
        yield from asked

    def _call(self, item: Message) -> ToolAsked | None:
        """What is asked for; None where nobody can tell, which the model is told."""
        try:
            arguments = wire.arguments(item["arguments"])
        except ValueError as error:
            self._bad_calls += 1
            self._send(wire.tool_output(item["call_id"], {"ok": False, "error": f"the arguments are no JSON: {error}"}))
            return None
        self._bad_calls = 0
        return ToolAsked(item["call_id"], item["name"], arguments)

    def _failed(self, response: Response, output: list[Message], reason: str) -> None:
        """Once may be chance."""
        self._failures += 1
        if self._failures > 1:
            raise ProviderError(f"OpenAI failed to answer: {reason}")
        self._log.warning("OpenAI failed to answer, and is asked again", reason=reason)
        self._responses.give_up(response, output)

    # -- the caller -------------------------------------------------------------------------------------------

    def _understood(self, item: str, text: str) -> Iterator[CallEvent]:
        understood = self._words.understood(item, text.strip())
        if understood.is_nothing:
            self._send(wire.delete(item))
        yield from self._said(understood)

    def _said(self, understood: Understood) -> Iterator[CallEvent]:
        for said in understood.said:
            yield from self._stage(Stage.TRANSCRIPT)
            yield said
        if understood.asks:  # now, since only now the reply it interrupts is cut
            self._await_stages(Stage.FIRST_TOKEN, Stage.FIRST_AUDIO)
            self._responses.want()
        self._hold_or_ask()

    def _interrupted(self) -> Iterator[CallEvent]:
        """Its own ears hear the caller: it breaks off what it says, and answers when they hear a pause."""
        self._listening = True
        self._hold_or_ask()
        response = self._responses.active
        if response is None or response.refused:
            return
        response.refused = True
        if response.reply is None:
            response.unwanted = True
            return
        response.ended = True
        yield CallerInterrupted()
        yield ReplyEnded(response.reply)

    # ---------------------------------------------------------------------------------------------------------

    def _wrong(self, said: Message) -> Iterator[CallEvent]:
        error = said["error"]
        code = error.get("code")
        if code in _FATAL:
            raise ProviderError(f"OpenAI ended the session: {self._complaint(said)}")
        if code in _HARMLESS:
            return
        if code == _TOO_EARLY:
            self._responses.came_too_early()
            return
        self._log.warning("OpenAI complains", code=code, message=self._complaint(said))
        if code == _EMPTY_COMMIT:
            yield from self._said(self._words.not_committed())
        elif (response := self._responses.not_begun(error.get("event_id") or "")) is not None:
            self._failed(response, [], self._complaint(said))

    def _usage(self, prefix: str, usage: Message | None) -> Iterator[CallEvent]:
        if usage:
            yield UsageReported(self.provider, dict(wire.units(usage, prefix)))

    def _await_stages(self, *stages: Stage) -> None:
        self._awaited = set(stages)

    def _stage(self, stage: Stage) -> Iterator[CallEvent]:
        if stage in self._awaited:
            self._awaited.discard(stage)
            yield StageReached(stage)

    def _send(self, message: Message) -> None:
        if self._socket is not None:
            self._socket.send_json(message)

    def _complaint(self, said: Message) -> str:
        error = said.get("error") or said
        if not isinstance(error, dict):
            error = {"message": error}
        return self._redacted(f"{error.get('message', error)} ({error.get('code') or error.get('type')})")

    def _redacted(self, text: str) -> str:
        return wire.without_keys(text, self._key)
