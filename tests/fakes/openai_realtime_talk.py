"""One connection to the fake of OpenAI Realtime."""

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.fakes.openai_realtime_conversation import Conversation, Item
from tests.fakes.openai_realtime_ear import Ear, TurnBegan, TurnEnded
from tests.fakes.openai_realtime_reply import Reply, ResponseFailed
from tests.fakes.openai_realtime_session import HeardTurn, Session, ToolResult
from tests.fakes.openai_realtime_settings import at_first, check, updated
from tests.fakes.openai_realtime_wire import Refusal, Violation, Wire, check_client, check_server
from tests.fakes.scenario import Fault, Scenario

_EXPIRED = "Your session hit the maximum duration of 60 minutes."
_BETA = "The Realtime Beta API is no longer supported. Please use /v1/realtime for the GA API."


@dataclass(frozen=True, slots=True)
class _Close:
    code: int
    reason: str


class RealtimeTalk:
    """Obeys the client's events until the connection closes."""

    def __init__(
        self, socket: ServerConnection, session: Session, scenario: Scenario, speed: float, transcribes_after: float
    ) -> None:
        self.speed = speed
        self._socket, self._session, self._scenario = socket, session, scenario
        self._transcribes_after = transcribes_after
        self._outgoing: asyncio.Queue[str | _Close] = asyncio.Queue()
        self._closing = False
        self._ids = count(1)
        self._tasks: set[asyncio.Task[None]] = set()
        self._faults = [fault for fault in scenario.faults if fault.session in (None, session.number)]
        self._conversation = Conversation(scenario)
        self._conversation_id = self.new_id("conv")
        self._reply: Reply | None = None
        """What it is saying into the conversation."""
        self._asides: list[Reply] = []
        session.items = self._conversation.items
        session.settings = at_first(self.new_id("sess"), session.query["model"])
        self._ear = Ear(session, lambda: self.new_id("item"))

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            self.spawn(self._write())
            try:
                self._greet()
                async for message in self._socket:
                    self._obey(message)
            except ConnectionClosed:
                pass
            finally:
                self._session.closed = True
                for task in self._tasks:
                    task.cancel()

    def emit(self, type: str, **fields: object) -> None:
        if self._closing:
            return
        event = {"type": type, "event_id": self.new_id("event"), **fields}
        text = json.dumps(event)
        event = json.loads(text)
        try:
            check_server(event)
        except AssertionError as error:
            self._session.violations.append(str(error))
            raise
        self._session.sent.append(event)
        self._outgoing.put_nowait(text)

    def new_id(self, kind: str) -> str:
        return f"{kind}_{self._session.number}_{next(self._ids)}"

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def add_output(self, item: Item) -> str | None:
        return self._conversation.add(item)

    async def fail(self, fault: Fault) -> None:
        match fault.kind:
            case "garbage":
                self._outgoing.put_nowait('{"type": "response.output_audio.del')
                return
            case "error":
                self._error(Refusal(ResponseFailed.ERROR["code"], ResponseFailed.ERROR["message"]), "server_error")
                raise ResponseFailed
            case "close":
                self._close(1011, "internal error")
            case "limit":
                self._error(Refusal("session_expired", _EXPIRED))
                self._close(1001, _EXPIRED)
        await asyncio.Event().wait()

    async def _write(self) -> None:
        try:
            while isinstance(message := await self._outgoing.get(), str):
                await self._socket.send(message)
            await self._socket.close(message.code, message.reason)
        except ConnectionClosed:
            pass

    def _close(self, code: int, reason: str) -> None:
        self._closing = True
        self._outgoing.put_nowait(_Close(code, reason))

    def _greet(self) -> None:
        if any(name.lower() == "openai-beta" for name in self._session.headers):
            refusal = Violation("beta_api_shape_disabled", _BETA)
            self._session.violations.append(_BETA)
            self._error(refusal)
            self._close(4000, "invalid_request_error.beta_api_shape_disabled")
        self.emit("session.created", session=self._session.settings)

    def _error(self, refusal: Refusal, kind: str = "invalid_request_error", event_id: str | None = None) -> None:
        said = {
            "type": kind,
            "code": refusal.code,
            "message": refusal.message,
            "param": refusal.param,
            "event_id": event_id,
        }
        self._session.errors.append(said)
        self.emit("error", error=said)

    def _obey(self, message: str | bytes) -> None:
        if self._closing:
            return
        event: Wire = {}
        try:
            event = _parsed(message)
            self._session.received.append(event)
            check_client(event)
            self._do(event)
        except Refusal as refusal:
            if isinstance(refusal, Violation):
                self._session.violations.append(f"{event.get('type')}: {refusal.message}")
            event_id = event.get("event_id")
            self._error(refusal, event_id=event_id if isinstance(event_id, str) else None)

    def _do(self, event: Wire) -> None:
        match event["type"]:
            case "session.update":
                self._update(event["session"])
            case "input_audio_buffer.append":
                self._append(event["audio"])
            case "input_audio_buffer.commit":
                self._commit(self._ear.commit())
            case "input_audio_buffer.clear":
                self._clear_buffer()
            case "conversation.item.create":
                self._create_item(event["item"], event.get("previous_item_id"))
            case "conversation.item.truncate":
                self._truncate(event["item_id"], event["content_index"], event["audio_end_ms"])
            case "conversation.item.delete":
                self._delete(event["item_id"])
            case "conversation.item.retrieve":
                self._retrieve(event["item_id"])
            case "response.create":
                self._respond(event.get("response") or {})
            case "response.cancel":
                self._cancel(event.get("response_id"))
            case other:
                raise Violation(None, f"'{other}' is for WebRTC and SIP only.", "type")

    def _update(self, change: Wire) -> None:
        spoken = any(item.audio_ms for item in self._conversation.items)
        before = self._session.settings["audio"]["input"]
        settings = updated(self._session.settings, change, spoken=spoken)
        if self._session.caller_pcm and settings["audio"]["input"]["format"] != before["format"]:
            raise Violation(None, "The fake takes no other format once it heard sound.", "session.audio.input.format")
        self._session.settings = settings
        self._ear.adapt()
        self.emit("session.updated", session=settings)

    def _append(self, audio: str) -> None:
        for told in self._ear.append(audio):
            match told:
                case TurnBegan(item_id, start_ms):
                    self._turn_began(item_id, start_ms)
                case TurnEnded():
                    self._turn_ended(told)

    def _turn_began(self, item_id: str, start_ms: int) -> None:
        self.emit("input_audio_buffer.speech_started", audio_start_ms=start_ms, item_id=item_id)
        detection = self._ear.turn_detection
        if self._reply is not None and detection and detection["interrupt_response"]:
            self._reply.cancel("turn_detected")

    def _turn_ended(self, turn: TurnEnded) -> None:
        self.emit("input_audio_buffer.speech_stopped", audio_end_ms=turn.end_ms, item_id=turn.item_id)
        self._commit(turn)
        detection = self._ear.turn_detection
        if detection and detection["create_response"]:
            try:
                self._respond({})
            except Refusal as refusal:
                self._error(refusal)

    def _clear_buffer(self) -> None:
        self._ear.clear()
        self.emit("input_audio_buffer.cleared")

    def _commit(self, heard: TurnEnded) -> None:
        content = [{"type": "input_audio", "transcript": None}]
        item = Item({"id": heard.item_id, "type": "message", "role": "user", "content": content}, heard.pcm)
        previous = self._conversation.items[-1].id if self._conversation.items else None
        self.emit("input_audio_buffer.committed", previous_item_id=previous, item_id=item.id)
        self._add(item, None)
        number, turn = self._conversation.turn(item)
        self._session.turns.append(HeardTurn(number, item.id, heard.start_ms, heard.end_ms, heard.pcm))
        if self._session.settings["audio"]["input"]["transcription"] is not None:
            self.spawn(self._transcribe(item, turn.heard, turn.pieces))

    async def _transcribe(self, item: Item, text: str, pieces: int) -> None:
        await asyncio.sleep(self._transcribes_after)
        type = "conversation.item.input_audio_transcription"
        words = text.split(" ")
        for number in range(pieces):
            first, last = (len(words) * one // pieces for one in (number, number + 1))
            piece = " ".join(words[first:last])
            if piece:
                delta = piece if number == 0 else f" {piece}"
                self.emit(f"{type}.delta", item_id=item.id, content_index=0, delta=delta)
        item.wire["content"][0]["transcript"] = text
        seconds = len(item.pcm) / 2 / self._session.caller_rate
        usage = {"type": "duration", "seconds": seconds}
        self.emit(f"{type}.completed", item_id=item.id, content_index=0, transcript=text, usage=usage)

    def _add(self, item: Item, after: str | None) -> None:
        """What is whole from the beginning."""
        item.wire |= {"object": "realtime.item", "status": "completed"}
        previous = self._conversation.add(item, after)
        self.emit("conversation.item.added", previous_item_id=previous, item=item.wire)
        self.emit("conversation.item.done", previous_item_id=previous, item=item.wire)

    def _create_item(self, wire: Wire, after: str | None) -> None:
        self._conversation.admit(wire)
        self._add(Item({"id": self.new_id("item"), **wire}), after)
        if wire["type"] == "function_call_output":
            call = self._conversation.call(wire["call_id"])
            assert call is not None
            self._session.tool_results.append(ToolResult(wire["call_id"], call.wire["name"], wire["output"]))

    def _truncate(self, id: str, content_index: int, audio_end_ms: int) -> None:
        self._conversation.truncate(id, content_index, audio_end_ms)
        self._session.truncated.append((id, audio_end_ms))
        self.emit("conversation.item.truncated", item_id=id, content_index=0, audio_end_ms=audio_end_ms)

    def _delete(self, id: str) -> None:
        self._conversation.items.remove(self._conversation.find(id, "item_delete_invalid_item_id"))
        self.emit("conversation.item.deleted", item_id=id)

    def _retrieve(self, id: str) -> None:
        item = self._conversation.find(id, "item_retrieve_invalid_item_id")
        wire = dict(item.wire)
        if item.pcm:
            wire["content"] = [{**item.wire["content"][0], "audio": self._ear.encoded(item.pcm)}]
        self.emit("conversation.item.retrieved", item=wire)

    def _respond(self, asked: Wire) -> None:
        check(asked, "response")
        aside = asked.get("conversation", "auto") == "none"
        if self._reply is not None and not aside:
            raise Refusal(
                "conversation_already_has_active_response",
                f"Conversation already has an active response in progress: {self._reply.id}. "
                "Wait until the response is finished before creating a new one.",
            )
        due = self._conversation.due(self._given(asked["input"]) if "input" in asked else None)
        reply = Reply(
            self,
            due,
            _overridden(self._session.settings, asked),
            self._fault(due.number),
            None if aside else self._conversation_id,
            input_tokens=10 * (1 + len(self._conversation.items)),
            over=self._over,
        )
        if aside:
            self._asides.append(reply)
        else:
            self._reply = reply
        reply.start()

    def _given(self, input: list[Wire]) -> list[Item]:
        """What a response is to answer instead of the conversation."""
        return [
            self._conversation.find(wire["id"], "item_not_found") if wire["type"] == "item_reference" else Item(wire)
            for wire in input
        ]

    def _fault(self, number: int | None) -> Fault | None:
        """What goes wrong there, which it does once."""
        for fault in self._faults:
            handshake = fault.kind == "refuse" or (fault.kind == "slow" and fault.turn is None)
            if fault.turn == number and not handshake:
                self._faults.remove(fault)
                return fault
        return None

    def _over(self, reply: Reply) -> None:
        if reply is self._reply:
            self._reply = None
        else:
            self._asides.remove(reply)

    def _cancel(self, id: str | None) -> None:
        active = [self._reply] if self._reply else []
        for reply in active if id is None else [*active, *self._asides]:
            if id in (None, reply.id):
                reply.cancel("client_cancelled")
                return
        raise Refusal("response_cancel_not_active", "Cancellation failed: no active response found")


def _parsed(message: str | bytes) -> Wire:
    try:
        event = json.loads(message)
    except ValueError:
        event = None
    if not isinstance(event, dict) or isinstance(message, bytes):
        raise Violation(None, "Expected a text message with a JSON object.")
    return event


def _overridden(settings: Wire, asked: Wire) -> Wire:
    """What holds for one response."""
    output = settings["audio"]["output"] | asked.get("audio", {}).get("output", {})
    return {**settings, **asked, "audio": {**settings["audio"], "output": output}}
