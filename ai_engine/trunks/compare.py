"""Whether a PJSIP object is in Asterisk as we want it, though Asterisk spells values its own way."""

import re
from collections.abc import Iterable, Mapping
from ipaddress import ip_address, ip_network

from ai_engine.trunks.pjsip import Kind, PjsipObject
from ai_engine.trunks.ports import Pbx

OPTIONAL: Mapping[str, Mapping[str, str]] = {
    "endpoint": {
        "outbound_auth": "",
        "media_address": "",
        "bind_rtp_to_media_address": "no",
        "media_encryption": "no",
    },
}
"""Attributes that only some of our objects have, with Asterisk's defaults: one that is gone must not live on there."""

KINDS: tuple[Kind, ...] = ("auth", "aor", "endpoint", "identify", "registration")
"""In the order they are to be created."""


async def stands(pbx: Pbx, object_id: str, wanted: Iterable[PjsipObject]) -> bool:
    """Whether Asterisk has exactly the objects ``wanted`` under this id. Raises AsteriskError."""
    by_kind = {each.kind: each for each in wanted}
    for kind in KINDS:
        found = await pbx.read(kind, object_id)
        if (found is None) != (kind not in by_kind):
            return False
        if found is not None and not same(by_kind[kind], found):
            return False
    return True


async def lacking(pbx: Pbx, object_id: str, wanted: Iterable[PjsipObject]) -> tuple[Kind, ...]:
    """Which of the objects Asterisk does not have. Raises AsteriskError."""
    return tuple([each.kind for each in wanted if await pbx.read(each.kind, object_id) is None])


def same(wanted: PjsipObject, found: Iterable[tuple[str, str]]) -> bool:
    """``found`` are all attributes of the object in Asterisk."""
    there = _by_name(found)
    ours = {**_by_name(OPTIONAL.get(wanted.kind, {}).items()), **_by_name(wanted.fields)}
    return all(_equal(name, values, there.get(name, frozenset())) for name, values in ours.items())


def _by_name(fields: Iterable[tuple[str, str]]) -> dict[str, frozenset[str]]:
    values: dict[str, frozenset[str]] = {}
    for name, value in fields:
        values[name] = values.get(name, frozenset()) | _spelled(name, value)
    values.pop("set_var", None)  # Asterisk does not tell it
    return values


def _equal(name: str, wanted: frozenset[str], found: frozenset[str]) -> bool:
    if name == "match" and any(re.search(r"[a-z]", value) and ":" not in value for value in wanted):
        return bool(found)  # host names were looked up when it was written, and cannot be compared
    return wanted == found


def _spelled(name: str, value: str) -> frozenset[str]:
    """The values of a list; one value, or none, of anything else."""
    match name:
        case "allow" | "match":
            parts = [part for part in re.split(r"[\s,|()]+", value) if part and part != "!all"]
            return frozenset(_network(part) if name == "match" else part for part in parts)
        case "username" | "password" | "from_user" | "contact_user":
            return frozenset({value} - {""})
    return frozenset({_TRUTH.get(value.lower(), value)} - {""})


_TRUTH = {"true": "yes", "yes": "yes", "on": "yes", "1": "yes", "false": "no", "no": "no", "off": "no", "0": "no"}


def _network(text: str) -> str:
    address, slash, mask = text.partition("/")
    try:
        bits = str(int(ip_address(mask)).bit_count()) if ":" in mask else mask  # Asterisk's way, ffff:ffff::
        return str(ip_network(f"{address}{slash}{bits}", strict=False))
    except ValueError:
        return text.lower()
