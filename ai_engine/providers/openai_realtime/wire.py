"""Messages of the OpenAI Realtime API, as the vendor's SDK has them in ``RealtimeClientEvent``."""

import json
import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ai_engine.audio.format import SLIN8, AudioFormat
from ai_engine.audio.g711 import alaw_to_pcm, pcm_to_alaw, pcm_to_ulaw, ulaw_to_pcm
from ai_engine.providers.openai_realtime.settings import OpenAIRealtimeSettings
from ai_engine.session.ports import Briefing, Said
from ai_engine.text.aside import aside

Message = dict[str, Any]

_KEY = re.compile(r"\bsk-\S+")


@dataclass(frozen=True, slots=True)
class Codec:
    """How sound is written on the wire; ``encode`` and ``decode`` are from and to PCM16 in ``format``."""

    format: AudioFormat
    name: Mapping[str, Any]
    encode: Callable[[bytes], bytes]
    decode: Callable[[bytes], bytes]


CODECS = {
    "pcmu": Codec(SLIN8, {"type": "audio/pcmu"}, pcm_to_ulaw, ulaw_to_pcm),
    "pcma": Codec(SLIN8, {"type": "audio/pcma"}, pcm_to_alaw, alaw_to_pcm),
    "pcm": Codec(AudioFormat(24000), {"type": "audio/pcm", "rate": 24000}, bytes, bytes),
}


def codecs(settings: OpenAIRealtimeSettings) -> tuple[Codec, Codec]:
    """Of the caller's sound, and of the agent's."""
    return CODECS[settings.format], CODECS[settings.output_format or settings.format]


COMMIT: Message = {"type": "input_audio_buffer.commit"}
CLEAR: Message = {"type": "input_audio_buffer.clear"}


def session_update(settings: OpenAIRealtimeSettings, briefing: Briefing) -> Message:
    """Everything the session is to know before anybody speaks."""
    heard, spoken = codecs(settings)
    hears: Message = {"format": heard.name, "turn_detection": None}
    if settings.turn_detection != "engine":
        hears["turn_detection"] = {
            "type": settings.turn_detection,
            "create_response": True,
            "interrupt_response": True,
        }
    if settings.transcription is not None:
        hears["transcription"] = {"model": settings.transcription, "language": briefing.language.partition("-")[0]}
    if settings.noise_reduction is not None:
        hears["noise_reduction"] = {"type": settings.noise_reduction}
    session: Message = {
        "type": "realtime",
        "instructions": briefing.prompt,
        "output_modalities": ["audio"],
        "audio": {
            "input": hears,
            "output": {"format": spoken.name, "voice": settings.voice, "speed": settings.speed},
        },
    }
    if briefing.tools:
        session["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": dict(tool.parameters),
            }
            for tool in briefing.tools
        ]
    if settings.max_output_tokens is not None:
        session["max_output_tokens"] = settings.max_output_tokens
    return {"type": "session.update", "session": session}


def append(sound: bytes) -> Message:
    """Sound of the caller, encoded."""
    return {"type": "input_audio_buffer.append", "audio": b64encode(sound).decode()}


def history(said: Said) -> Message:
    """An entry of what happened before this session."""
    match said.speaker:
        case "caller":
            return _message("user", "input_text", said.text)
        case "agent":
            return _message("assistant", "output_text", said.text)
        case "operator":
            return system_text(aside(said.text))
        case "tool":
            return system_text(f"You have used a tool, and this came of it: {said.text}")


def user_text(text: str) -> Message:
    """Words of the caller."""
    return _message("user", "input_text", text)


def system_text(text: str) -> Message:
    """Something the model should know, and nobody said."""
    return _message("system", "input_text", text)


def tool_output(call_id: str, result: Mapping[str, Any]) -> Message:
    item = {"type": "function_call_output", "call_id": call_id, "output": json.dumps(dict(result))}
    return {"type": "conversation.item.create", "item": item}


def delete(item_id: str) -> Message:
    return {"type": "conversation.item.delete", "item_id": item_id}


def truncate(item_id: str, audio_end_ms: int) -> Message:
    """More than was received is refused."""
    return {
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": 0,
        "audio_end_ms": audio_end_ms,
    }


def create(event_id: str, response: Message) -> Message:
    """Ask for a response; ``response`` is what is different in it."""
    message: Message = {"type": "response.create", "event_id": event_id}
    return {**message, "response": response} if response else message


def cancel(response_id: str) -> Message:
    return {"type": "response.cancel", "response_id": response_id}


def arguments(text: str) -> dict[str, Any]:
    """Those of a function call. Raises ValueError when they are no JSON object."""
    try:
        given = json.loads(text or "{}")
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(given, dict):
        raise ValueError("it is no object")
    return given


def units(usage: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """``input_tokens``, ``input_text_tokens`` … of a ``usage`` object, as deep as it goes."""
    for name, value in usage.items():
        if isinstance(value, Mapping):
            yield from units(value, f"{prefix}{_side(name)}_")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", float(value)


def without_keys(text: str, key: str) -> str:
    """The vendor's own words may quote our key, or half of it."""
    return _KEY.sub("sk-…", text.replace(key, "…") if key else text)


def _side(name: str) -> str:
    return name.removesuffix("_token_details").removesuffix("_tokens_details")


def _message(role: str, kind: str, text: str) -> Message:
    item = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
    return {"type": "conversation.item.create", "item": item}
