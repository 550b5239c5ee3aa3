"""Keys of a convo.toml that mean nothing on a telephone, and why."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ai_engine.config.convo import Convo
from ai_engine.config.model import Place

_NO_CHANNEL = "there is no RTC channel here: sound comes from Asterisk"
NOT_APPLICABLE: dict[Place, str] = {
    ("atem", "channel"): f"{_NO_CHANNEL}; `studio agent start --channel` names a room",
    ("atem", "rtc_user_id"): _NO_CHANNEL,
    ("atem", "poll_interval_secs"): "nothing is polled, the engine tells what happens",
    ("atem", "hipaa"): "the engine runs where you run it; what your providers keep is between you and them",
    ("atem", "geofence"): "the engine runs where you run it",
    ("atem", "enable_avatar"): "a telephone shows no face",
    ("atem", "encryption"): f"{_NO_CHANNEL}; encrypt the trunk (TLS with SRTP)",
    ("agent", "user_id"): _NO_CHANNEL,
    ("agent", "preset"): "it names settings that the vendor keeps; write them into this file",
    ("agent", "avatar"): "a telephone shows no face",
    ("agent", "llm", "style"): "the server must answer as OpenAI's chat completions do",
    ("agent", "llm", "failure_message"): "another provider takes over, or a human; what is said then is a recording",
    ("agent", "llm", "max_history"): "the model is given the whole call",
}


_AGENT: Place = ("agent", "user_id")


def breaches(convo: Convo, unused: Iterable[tuple[Place, str]]) -> Iterator[tuple[Place, str]]:
    """What is wrong with ``convo`` in strict mode: keys that are ``unused``, and what the vendor cannot do without."""
    if convo.agent.user_id is None:
        yield _AGENT, "must be set"
    for place, why in unused:
        if place != _AGENT:
            yield place, f"means nothing here: {why}"


def not_applicable(written: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """What of ``written`` has no meaning in any pipeline; ``written`` is the file as plain data."""
    for place, why in NOT_APPLICABLE.items():
        value: Any = written
        for key in place:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None and value is not False:
            yield place, why
    for table in ("sal", "parameters"):
        for key in written.get(table, {}):
            yield (table, key), "it is for the vendor's engine, and is not passed on"
