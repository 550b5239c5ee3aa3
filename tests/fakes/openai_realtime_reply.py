"""One response of OpenAI Realtime, from ``response.created`` to ``response.done``."""

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import cycle
from typing import Any, Literal, Protocol

from tests.fakes.openai_realtime_conversation import Due, Item
from tests.fakes.openai_realtime_settings import CODECS
from tests.fakes.openai_realtime_wire import Wire
from tests.fakes.scenario import Call, Fault
from tests.fakes.word_tones import seconds_of, spoken

_CHUNKS_MS = (200, 100, 400, 300)
"""How much sound an event carries, by turns."""

_GRACE_MS = 1e-6

Status = Literal["completed", "cancelled", "failed"]


class Talk(Protocol):
    """What a response needs of its connection."""

    speed: float
    """How many times faster than real time sound goes out."""

    def emit(self, type: str, **fields: object) -> None:
        """Send an event."""

    def new_id(self, kind: str) -> str:
        """For a thing of that kind."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Let it run until the connection ends."""

    async def fail(self, fault: Fault) -> None:
        """Go wrong; raises ResponseFailed when only the response does."""

    def add_output(self, item: Item) -> str | None:
        """Into the conversation; returns what precedes it."""


class ResponseFailed(Exception):
    """The vendor had an error of its own."""

    ERROR = {
        "type": "server_error",
        "code": "server_error",
        "message": "The server had an error while processing your request. Sorry about that!",
    }


@dataclass(slots=True)
class Reply:
    """A response; call ``start`` once."""

    talk: Talk
    due: Due
    settings: Wire
    """Of the session, with what the response overrides."""
    fault: Fault | None
    conversation_id: str | None
    """None: it is not added to the conversation."""
    input_tokens: int
    over: "Callable[[Reply], None]"
    """Called after ``response.done``."""
    id: str = ""
    _output: list[Item] = field(default_factory=list)
    _previous: dict[str, str | None] = field(default_factory=dict)
    _said: str = ""
    _open: bool = False
    """The message is not finished."""
    _task: "asyncio.Task[None] | None" = None

    def start(self) -> None:
        self.id = self.talk.new_id("resp")
        self.talk.emit("response.created", response=self._wire("in_progress"))
        self._task = self.talk.spawn(self._run())

    def cancel(self, reason: Literal["turn_detected", "client_cancelled"]) -> None:
        """Nothing of it is sent after this."""
        assert self._task is not None
        self._task.cancel()
        self._finish("cancelled", {"type": "cancelled", "reason": reason})

    @property
    def speaks(self) -> bool:
        return bool(self.settings["output_modalities"] == ["audio"])

    async def _run(self) -> None:
        try:
            if self.fault is not None and self.fault.kind == "slow":
                await asyncio.sleep(self.fault.seconds)
            elif self.fault is not None and not self.due.say:
                await self.talk.fail(self.fault)
            if self.due.say:
                await self._say(self.due.say)
            if self.settings["tool_choice"] != "none":
                for call in self.due.tools:
                    self._call(call)
        except ResponseFailed:
            self._finish("failed", {"type": "failed", "error": ResponseFailed.ERROR})
        else:
            self._finish("completed", None)

    async def _say(self, text: str) -> None:
        message = {"type": "message", "role": "assistant", "content": []}
        item = self._add(message)
        self._open = True
        part = {"type": "audio", "transcript": ""} if self.speaks else {"type": "text", "text": ""}
        self._emit("response.content_part.added", item, content_index=0, part=part)
        words = re.findall(r"\S+\s*", text)
        codec = CODECS[self.settings["audio"]["output"]["format"]["type"]]
        sound = spoken(text, codec.rate)
        length_ms = 1000 * seconds_of(text)
        began = asyncio.get_running_loop().time()
        sent_ms = 0.0
        for until_ms, fails in self._chunks(length_ms):
            await _sleep_until(began + sent_ms / 1000 / self.talk.speed)
            if until_ms > sent_ms:
                first, last = (_word_at(ms, length_ms, len(words)) for ms in (sent_ms, until_ms))
                self._tell(item, "".join(words[first:last]))
                pcm = sound[2 * round(sent_ms * codec.rate / 1000) : 2 * round(until_ms * codec.rate / 1000)]
                if self.speaks:
                    self._emit_content("response.output_audio.delta", item, delta=_base64(codec.encode(pcm)))
                    item.audio_ms = until_ms
                sent_ms = until_ms
            if fails:
                assert self.fault is not None
                await self.talk.fail(self.fault)
        self._close("completed")

    def _chunks(self, length_ms: float) -> Iterator[tuple[float, bool]]:
        """Up to where each goes, and whether it goes wrong there."""
        fails_ms = -1.0
        if self.fault is not None and self.fault.kind != "slow":
            fails_ms = min(self.fault.after_ms, length_ms)
        at = 0.0
        if fails_ms == 0:
            yield 0.0, True
        for chunk in cycle(_CHUNKS_MS):
            if at >= length_ms - _GRACE_MS:
                return
            end = min(at + chunk, length_ms)
            at = fails_ms if at < fails_ms < end else end
            yield at, at == fails_ms

    def _tell(self, item: Item, words: str) -> None:
        if words:
            self._said += words
            kind = "audio_transcript" if self.speaks else "text"
            self._emit_content(f"response.output_{kind}.delta", item, delta=words)

    def _close(self, status: Literal["completed", "incomplete"]) -> None:
        """Finish the message."""
        self._open = False
        item = self._output[0]
        if self.speaks:
            self._emit_content("response.output_audio.done", item)
            self._emit_content("response.output_audio_transcript.done", item, transcript=self._said)
            part = {"type": "audio", "transcript": self._said}
            content = {"type": "output_audio", "transcript": self._said}
        else:
            self._emit_content("response.output_text.done", item, text=self._said)
            part = {"type": "text", "text": self._said}
            content = {"type": "output_text", "text": self._said}
        self._emit("response.content_part.done", item, content_index=0, part=part)
        item.wire["content"] = [content]
        self._done(item, status)

    def _call(self, call: Call) -> None:
        arguments = json.dumps(call.arguments) if call.raw is None else call.raw
        call_id = self.talk.new_id("call")
        item = self._add({"type": "function_call", "name": call.name, "call_id": call_id, "arguments": ""})
        type = "response.function_call_arguments"
        for part in re.findall(r".{1,8}", arguments, re.DOTALL):
            self._emit(f"{type}.delta", item, call_id=call_id, delta=part)
        self._emit(f"{type}.done", item, call_id=call_id, name=call.name, arguments=arguments)
        item.wire["arguments"] = arguments
        self._done(item, "completed")

    def _add(self, wire: Wire) -> Item:
        item = Item({"id": self.talk.new_id("item"), "object": "realtime.item", "status": "in_progress", **wire})
        self._output.append(item)
        self._emit_item("response.output_item.added", item)
        if self.conversation_id is not None:
            self._previous[item.id] = self.talk.add_output(item)
            self.talk.emit("conversation.item.added", previous_item_id=self._previous[item.id], item=dict(item.wire))
        return item

    def _done(self, item: Item, status: Literal["completed", "incomplete"]) -> None:
        item.wire["status"] = status
        self._emit_item("response.output_item.done", item)
        if self.conversation_id is not None:
            self.talk.emit("conversation.item.done", previous_item_id=self._previous[item.id], item=dict(item.wire))

    def _finish(self, status: Status, details: Wire | None) -> None:
        if self._open:
            self._close("incomplete")
        self.talk.emit("response.done", response=self._wire(status, details))
        limits = [
            {"name": "requests", "limit": 1000, "remaining": 999, "reset_seconds": 0.06},
            {"name": "tokens", "limit": 50_000, "remaining": 49_000, "reset_seconds": 1.2},
        ]
        self.talk.emit("rate_limits.updated", rate_limits=limits)
        self.over(self)

    def _emit_content(self, type: str, item: Item, **fields: object) -> None:
        self._emit(type, item, content_index=0, **fields)

    def _emit(self, type: str, item: Item, **fields: object) -> None:
        index = self._output.index(item)
        self.talk.emit(type, response_id=self.id, item_id=item.id, output_index=index, **fields)

    def _emit_item(self, type: str, item: Item) -> None:
        index = self._output.index(item)
        self.talk.emit(type, response_id=self.id, output_index=index, item=dict(item.wire))

    def _wire(self, status: Status | Literal["in_progress"], details: Wire | None = None) -> Wire:
        output = self.settings["audio"]["output"]
        return {
            "object": "realtime.response",
            "id": self.id,
            "status": status,
            "status_details": details,
            "output": [dict(item.wire) for item in self._output],
            "conversation_id": self.conversation_id,
            "output_modalities": self.settings["output_modalities"],
            "max_output_tokens": self.settings["max_output_tokens"],
            "audio": {"output": {"format": output["format"], "voice": _voice_name(output["voice"])}},
            "metadata": self.settings.get("metadata"),
            "usage": None if status == "in_progress" else self._usage(),
        }

    def _usage(self) -> Wire:
        """The vendor's tokens of sound: one for each 50 ms."""
        text = len(self._said.split()) + sum(item.wire["type"] == "function_call" for item in self._output)
        audio = round(sum(item.audio_ms for item in self._output) / 50)
        return {
            "total_tokens": self.input_tokens + text + audio,
            "input_tokens": self.input_tokens,
            "output_tokens": text + audio,
            "input_token_details": {"text_tokens": self.input_tokens, "audio_tokens": 0, "cached_tokens": 0},
            "output_token_details": {"text_tokens": text, "audio_tokens": audio},
        }


def _word_at(ms: float, length_ms: float, words: int) -> int:
    """How many words begin before ``ms``."""
    return min(words, -int(-ms * words // length_ms))


async def _sleep_until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - asyncio.get_running_loop().time()))


def _base64(sound: bytes) -> str:
    return b64encode(sound).decode()


def _voice_name(voice: str | Wire) -> str:
    return voice if isinstance(voice, str) else str(voice["id"])
