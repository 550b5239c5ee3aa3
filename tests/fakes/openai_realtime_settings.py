"""The settings of an OpenAI Realtime session, as the vendor begins, checks and changes them."""

import math
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from ai_engine.audio.g711 import alaw_to_pcm, pcm_to_alaw, pcm_to_ulaw, ulaw_to_pcm
from tests.fakes.openai_realtime_wire import Refusal, Violation, Wire, dotted, invalid, missing, wrong_type

VOICES = ("alloy", "ash", "ballad", "coral", "echo", "sage", "shimmer", "verse", "marin", "cedar")

_TURN_DETECTIONS: dict[str, Wire] = {
    "server_vad": {
        "type": "server_vad",
        "threshold": 0.5,
        "prefix_padding_ms": 300,
        "silence_duration_ms": 500,
        "idle_timeout_ms": None,
        "create_response": True,
        "interrupt_response": True,
    },
    "semantic_vad": {
        "type": "semantic_vad",
        "eagerness": "auto",
        "create_response": True,
        "interrupt_response": True,
    },
}

_SEMANTIC_SILENCE_MS = {"low": 1200, "medium": 600, "auto": 600, "high": 300}
"""Ours: the vendor's depends on what was said."""

_NULLABLE = {"turn_detection", "noise_reduction", "transcription", "tracing", "prompt", "idle_timeout_ms"}
"""The SDK's types let everything be null, the vendor does not."""

_RANGES: dict[str, tuple[float, float]] = {
    "threshold": (0, 1),
    "prefix_padding_ms": (0, 60_000),
    "silence_duration_ms": (0, 60_000),
    "idle_timeout_ms": (5000, 30_000),
    "speed": (0.25, 1.5),
    "max_output_tokens": (1, 4096),
}


@dataclass(frozen=True, slots=True)
class Codec:
    """How sound is written; ``decode`` and ``encode`` are from and to PCM16."""

    rate: int
    width: int
    """Bytes of a sample."""
    decode: Callable[[bytes], bytes]
    encode: Callable[[bytes], bytes]


CODECS = {
    "audio/pcm": Codec(24000, 2, bytes, bytes),
    "audio/pcmu": Codec(8000, 1, ulaw_to_pcm, pcm_to_ulaw),
    "audio/pcma": Codec(8000, 1, alaw_to_pcm, pcm_to_alaw),
}


def at_first(id: str, model: str) -> Wire:
    """What ``session.created`` says."""
    pcm = {"type": "audio/pcm", "rate": 24000}
    return {
        "type": "realtime",
        "object": "realtime.session",
        "id": id,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": "Be a helpful, witty and friendly voice.",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "audio": {
            "input": {
                "format": dict(pcm),
                "transcription": None,
                "noise_reduction": None,
                "turn_detection": dict(_TURN_DETECTIONS["server_vad"]),
            },
            "output": {"format": dict(pcm), "voice": "marin", "speed": 1.0},
        },
    }


def updated(settings: Wire, change: Wire, *, spoken: bool) -> Wire:
    """The settings after ``session.update``; raises Refusal.

    ``spoken``: sound of the assistant has been sent.
    """
    if change["type"] != "realtime":
        raise invalid("session.type", change["type"], "'realtime'")
    check(change, "session")
    if change.get("model", settings["model"]) != settings["model"]:
        raise Refusal("invalid_value", "Cannot change the model of a session.", "session.model")
    result = deepcopy(settings)
    for name, value in change.items():
        if name == "audio":
            for side in ("input", "output"):
                result["audio"][side] |= deepcopy(value.get(side, {}))
        else:
            result[name] = deepcopy(value)
    result["audio"]["input"]["turn_detection"] = _completed(
        change.get("audio", {}).get("input", {}), settings["audio"]["input"]["turn_detection"]
    )
    if spoken and result["audio"]["output"]["voice"] != settings["audio"]["output"]["voice"]:
        raise Refusal(
            "cannot_update_voice", "Cannot update a conversation's voice if assistant audio is present.", None
        )
    return result


def check(change: Wire, under: str) -> None:
    """What the SDK's types leave open, in a session or in the parameters of a response; raises Violation."""
    for path, value in _leaves(change, (under,)):
        name, param = path[-1], dotted(path)
        if value is None and name not in _NULLABLE:
            raise wrong_type(param, "got null")
        low, high = _RANGES.get(str(name), (-math.inf, math.inf))
        if isinstance(value, int | float) and not low <= value <= high:
            raise invalid(param, value, f"{low} to {high}")
    for side, one in change.get("audio", {}).items():
        _check_sound(one, f"{under}.audio.{side}")
    if change.get("conversation", "auto") not in ("auto", "none"):
        raise invalid(f"{under}.conversation", change["conversation"], "'auto' or 'none'")
    if len(change.get("output_modalities", ["audio"])) != 1:
        raise invalid(f"{under}.output_modalities", change["output_modalities"], "['text'] or ['audio']")
    for number, tool in enumerate(change.get("tools", ())):
        _check_tool(tool, f"{under}.tools[{number}]")


def silence_ms(turn_detection: Wire) -> int:
    """After how much silence a turn is over."""
    if turn_detection["type"] == "server_vad":
        return int(turn_detection["silence_duration_ms"])
    return _SEMANTIC_SILENCE_MS[turn_detection["eagerness"]]


def _completed(change: Wire, before: Wire | None) -> Wire | None:
    if "turn_detection" not in change:
        return before
    asked: Wire | None = change["turn_detection"]
    if asked is None:
        return None
    same = before is not None and before["type"] == asked["type"]
    return {**(before if same and before else _TURN_DETECTIONS[asked["type"]]), **asked}


def _check_sound(side: Wire, param: str) -> None:
    format = side.get("format")
    if format is not None:
        if "type" not in format:
            raise missing(f"{param}.format.type")
        if format["type"] == "audio/pcm" and "rate" not in format:
            raise missing(f"{param}.format.rate")
    voice = side.get("voice", VOICES[0])
    if isinstance(voice, str) and voice not in VOICES:
        raise Violation("invalid_value", f"Invalid value: '{voice}'. Supported values are: {VOICES}.", f"{param}.voice")


def _check_tool(tool: Wire, param: str) -> None:
    if "type" not in tool:
        raise missing(f"{param}.type")
    if tool["type"] == "function":
        if "name" not in tool:
            raise missing(f"{param}.name")
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", tool["name"]):
            raise invalid(f"{param}.name", tool["name"], "1 to 64 letters, digits, '_' and '-'")


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """Everything that is no object; the schemas of tools are the client's own."""
    if isinstance(value, dict):
        for name, one in value.items():
            if name not in ("tools", "input", "metadata") or path[-1] == "audio":
                yield from _leaves(one, (*path, name))
    else:
        yield path, value
