"""The wire: the shared captures both ways, refusals, and any text at all."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_server import protocol
from local_ai_server.agent import Agent, read_agent
from local_ai_server.errors import ProtocolError
from local_ai_server.tools import Tool

CAPTURES = Path(__file__).parents[1] / "captures" / "local_ai"


def captured(side: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CAPTURES / side / f"{name}.json").read_text())
    return found


def test_there_is_a_capture_of_every_message() -> None:
    assert {path.stem.partition(".")[0] for path in CAPTURES.glob("client/*.json")} == set(protocol.CLIENT_TYPES)
    assert {path.stem.partition(".")[0] for path in CAPTURES.glob("server/*.json")} == set(protocol.SERVER_TYPES)


@pytest.mark.parametrize("name", sorted(path.stem for path in CAPTURES.glob("client/*.json")))
def test_client_captures(name: str) -> None:
    wire = captured("client", name)
    message = protocol.decode_client(json.dumps(wire))
    assert type(message) is protocol.CLIENT_TYPES[wire["type"]]
    for each in fields(message):
        value = getattr(message, each.name)
        if each.name not in wire:
            assert value == each.default
        elif isinstance(value, Agent):
            assert value == read_agent(wire["agent"])
        else:
            assert plain(value) == wire[each.name]


def plain(value: Any) -> Any:
    """As it was in JSON."""
    if isinstance(value, Tool | protocol.Context):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    return [plain(item) for item in value] if isinstance(value, tuple | frozenset) else value


@pytest.mark.parametrize("name", sorted(path.stem for path in CAPTURES.glob("server/*.json")))
def test_server_captures(name: str) -> None:
    wire = captured("server", name)
    given = {key: value for key, value in wire.items() if key != "type"}
    if "backends" in given:
        given["backends"] = protocol.Backends(**given["backends"])
    message = protocol.SERVER_TYPES[wire["type"]](**given)
    assert json.loads(protocol.encode(message)) == wire


def test_a_client_may_know_nothing_of_what_was_added_later() -> None:
    wire = captured("client", "start")
    del wire["rate"], wire["agent"]["goodbye"]
    start = protocol.decode_client(json.dumps(wire))
    assert isinstance(start, protocol.Start)
    assert start.rate is None
    assert start.agent.goodbye == "I cannot hear you. Goodbye."
    assert start.parts == {"stt", "llm", "tts"}
    assert start.tools is None
    assert protocol.decode_client('{"type": "turn_end", "turn": 1}') == protocol.TurnEnd(1, brief=False)
    assert protocol.decode_client('{"type": "nudge"}') == protocol.Nudge(last=False)


def test_sound_capture() -> None:
    frame = (CAPTURES / "server" / "sound.bin").read_bytes()
    assert protocol.unpack_sound(frame) == (2, b"\x00\x00\xff\x7f\x00\x80")
    assert protocol.pack_sound(2, b"\x00\x00\xff\x7f\x00\x80") == frame


AGENT = {"name": "x"}


def start(**more: Any) -> str:
    return json.dumps({"type": "start", "protocol": 1, "call_id": "c", "agent": AGENT, **more})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must be JSON"),
        ("{", "must be JSON"),
        ("[" * 100_000, "must be JSON"),
        ("[]", "JSON object"),
        ("{}", "unknown message type 'None'"),
        ('{"type": "fly"}', "unknown message type 'fly'"),
        ('{"type": ["start"]}', "unknown message type"),
        ('{"type": "greet", "loud": true}', "'greet' has the unknown field 'loud'"),
        ('{"type": "turn_begin"}', "'turn_begin' lacks the field 'turn'"),
        ('{"type": "turn_begin", "turn": "1"}', "turn must be a whole number"),
        ('{"type": "turn_begin", "turn": true}', "turn must be a whole number"),
        ('{"type": "turn_begin", "turn": -1}', "turn must be a whole number"),
        ('{"type": "turn_begin", "turn": 1.5}', "turn must be a whole number"),
        ('{"type": "cancel", "reply": 1, "heard_ms": -1}', "heard_ms must be a number"),
        ('{"type": "cancel", "reply": 1, "heard_ms": NaN}', "heard_ms must be a number"),
        ('{"type": "cancel", "reply": 1, "heard_ms": Infinity}', "heard_ms must be a number"),
        ('{"type": "digit", "digit": "12"}', "digit must be one of"),
        ('{"type": "digit", "digit": ""}', "digit must be one of"),
        ('{"type": "say", "text": null}', "text must be text"),
        ('{"type": "turn_end", "turn": 1, "brief": 1}', "brief must be true or false"),
        ('{"type": "nudge", "last": null}', "last must be true or false"),
        (
            json.dumps({"type": "start", "protocol": 1, "call_id": "c", "agent": AGENT, "rate": 44100}),
            "rate must be one of",
        ),
        (
            json.dumps({"type": "start", "protocol": 1, "call_id": "c", "agent": AGENT, "rate": True}),
            "rate must be one of",
        ),
        ('{"type": "tool_result", "id": "1", "result": []}', "result must be an object"),
        (start(parts=[]), "parts must be a list of some of stt, llm, tts"),
        (start(parts=["ears"]), "parts must be a list of some of"),
        (start(parts=[["stt"]]), "parts must be a list of some of"),
        (start(parts="stt"), "parts must be a list of some of"),
        (start(tools={}), "tools must be a list of tools"),
        (start(tools=[{"name": "two words"}]), "letters, digits, dashes and underscores"),
        (start(tools=[{"name": "a", "colour": "red"}]), "tools must have name, description and parameters"),
        (start(tools=[{"name": "a", "parameters": []}]), "tools must have name, description and parameters"),
        (start(tools=[{"name": "a", "description": 7}]), "describes a by something that is not text"),
        (start(tools=[{"name": "a"}, {"name": "a"}]), "tools has a name twice"),
        ('{"type": "say", "text": "a", "continues": 1}', "continues must be true or false"),
        ('{"type": "text", "turn": 1, "text": "a", "context": {"mood": "sad"}}', "context may only have prompt"),
        (
            '{"type": "text", "turn": 1, "text": "a", "context": {"history": ["a"]}}',
            "context has a history that must be a list",
        ),
        (json.dumps({"type": "start", "protocol": 2, "call_id": "c", "agent": AGENT}), "protocol must be 1"),
        (json.dumps({"type": "start", "protocol": True, "call_id": "c", "agent": AGENT}), "protocol must be 1"),
        (json.dumps({"type": "start", "protocol": 1, "call_id": "c", "agent": {}}), "agent.name is missing"),
        (json.dumps({"type": "start", "protocol": 1, "call_id": "c", "agent": AGENT, "history": [["a"]]}), "history"),
    ],
)
def test_refusals_say_why(text: str, complaint: str) -> None:
    with pytest.raises(ProtocolError) as refusal:
        protocol.decode_client(text)
    assert complaint in str(refusal.value)


@pytest.mark.parametrize("frame", [b"\0", bytes(65537), bytes(65538)])
def test_bad_sound_from_a_client(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.check_sound(frame)


@pytest.mark.parametrize("frame", [b"", b"\0\0\0", b"\0\0\0\1\0"])
def test_bad_sound_from_a_server(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.unpack_sound(frame)


@given(st.integers(0, 2**32 - 1), st.binary(max_size=700))
def test_sound_round_trip(reply: int, pcm: bytes) -> None:
    pcm += bytes(len(pcm) % 2)
    assert protocol.unpack_sound(protocol.pack_sound(reply, pcm)) == (reply, pcm)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    [
        "turn",
        "text",
        "reply",
        "heard_ms",
        "digit",
        "id",
        "result",
        "protocol",
        "call_id",
        "agent",
        "history",
        "rate",
        "brief",
        "last",
        "parts",
        "tools",
        "context",
        "continues",
    ]
)


@given(st.sampled_from(sorted(protocol.CLIENT_TYPES)), st.dictionaries(FIELDS, JSON, max_size=4))
def test_any_fields_are_a_message_or_a_protocol_error(name: str, given: dict[str, Any]) -> None:
    try:
        message = protocol.decode_client(json.dumps({**given, "type": name}))
    except ProtocolError:
        return
    assert type(message) is protocol.CLIENT_TYPES[name]


@given(st.text(max_size=60))
def test_any_text_is_a_protocol_error(text: str) -> None:
    with pytest.raises(ProtocolError):
        protocol.decode_client(text)
