"""What Asterisk's res_pjsip is told of a number's trunk."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from ai_engine.errors import ConfigError
from ai_engine.protocol.sip import user_part
from ai_engine.switchboard.settings import StudioSettings
from ai_engine.trunks.number import SipNumber

Kind = Literal["auth", "aor", "endpoint", "identify", "registration"]
Fields = tuple[tuple[str, str], ...]

_QUALIFY_SECONDS = 30
"""Often enough to keep the way through a NAT open, too."""
_LINE = 4000
"""Bytes of a value; Asterisk reads lines of 8191, and escapes need some."""


@dataclass(frozen=True, slots=True)
class PjsipObject:
    """An object of sorcery's ``res_pjsip``; it has no secret in its repr."""

    kind: Kind
    id: str
    fields: Fields = field(repr=False)
    """Attributes and values, in Asterisk's words."""


def objects(number: SipNumber, settings: StudioSettings) -> tuple[PjsipObject, ...]:
    """In the order they are to be created; deleted they are in the reverse one. Raises ConfigError for a password that
    Asterisk cannot be told."""
    id, transport = number.object_id, getattr(settings.transports, number.transport)
    found = [PjsipObject("aor", id, _aor(number)), PjsipObject("endpoint", id, _endpoint(number, settings, transport))]
    found.append(PjsipObject("identify", id, (("endpoint", id), ("match", _sources(number)))))
    if number.username:
        found.insert(0, PjsipObject("auth", id, _auth(number)))
    if number.registers:
        found.append(PjsipObject("registration", id, _registration(number, transport)))
    return tuple(found)


def conf_text(objects: Iterable[PjsipObject]) -> str:
    """The same as a part of pjsip.conf. Raises ConfigError for what no line of it can hold."""
    return "".join(f"[{each.id}]\ntype = {each.kind}\n" + "".join(_lines(each)) + "\n" for each in objects)


def _auth(number: SipNumber) -> Fields:
    return (
        ("auth_type", "userpass"),  # `digest` is the same, and unknown to Asterisk before 20.11
        ("username", number.username),
        ("password", _password(number)),
    )


def _aor(number: SipNumber) -> Fields:
    return (("contact", _server(number)), ("qualify_frequency", str(_QUALIFY_SECONDS)))


def _endpoint(number: SipNumber, settings: StudioSettings, transport: str) -> Fields:
    id = number.object_id
    return (
        ("transport", transport),
        ("context", settings.context),
        ("allow", ",".join(("!all", *number.codecs))),
        ("aors", id),
        *((("outbound_auth", id),) if number.username else ()),
        # Carriers know a line that registers by its name in From; its number is in P-Asserted-Identity.
        ("from_user", user_part(number.username if number.registers else number.number)),
        ("from_domain", number.address),
        ("send_pai", "yes"),
        ("trust_id_inbound", "no"),
        ("dtmf_mode", "rfc4733"),
        ("direct_media", "no"),  # sound must pass through Asterisk to reach the engine
        ("rtp_symmetric", "yes"),
        ("force_rport", "yes"),
        ("rewrite_contact", "yes"),
        *((("media_encryption", "sdes"),) if number.srtp else ()),
        *_media(settings.media_address),
        # An identify matches addresses, so a carrier's calls to all of our numbers come in by one of their endpoints:
        # this is the number only where what was dialled is none of ours.
        ("set_var", f"OFFHOOK_NUMBER={number.number}"),
    )


def _media(address: str) -> Fields:
    return (("media_address", address), ("bind_rtp_to_media_address", "yes")) if address else ()


def _registration(number: SipNumber, transport: str) -> Fields:
    return (
        ("transport", transport),
        ("server_uri", _server(number)),
        ("client_uri", f"sip:{user_part(number.username)}@{_host(number)}"),
        ("outbound_auth", number.object_id),
        ("contact_user", number.number.removeprefix("+")),  # what the carrier then dials
        ("expiration", "600"),
        ("retry_interval", "30"),
        ("forbidden_retry_interval", "300"),
        ("fatal_retry_interval", "300"),
        ("max_retries", "1000000"),  # a carrier may be away for longer than the ten of the default
        ("max_random_initial_delay", "0"),
        ("line", "yes"),
        ("endpoint", number.object_id),
    )


def _server(number: SipNumber) -> str:
    port = f":{number.port}" if number.port else ""
    transport = "" if number.transport == "udp" else f";transport={number.transport}"
    return f"sip:{_host(number)}{port}{transport}"


def _host(number: SipNumber) -> str:
    return f"[{number.address}]" if ":" in number.address else number.address


def _sources(number: SipNumber) -> str:
    return ",".join(dict.fromkeys((number.address, *number.allowed_ips)))


def _password(number: SipNumber) -> str:
    secret = number.password.get_secret_value()
    if not _fits(secret):
        raise ConfigError(
            f"{number.number}: Asterisk cannot be told this password: it has a control character, a space at one of its"
            f" ends, or more than {_LINE} bytes"
        )
    return secret


def _lines(object: PjsipObject) -> Iterator[str]:
    for name, value in object.fields:
        if not _fits(value) or not re.fullmatch(r"[a-z_0-9]+", name):
            raise ConfigError(f"{object.id}: {object.kind}: {name}: no line of pjsip.conf can hold its value")
        escaped = value.replace(";", r"\;")  # a bare one begins a comment
        yield f"{name} = {escaped}\n"


def _fits(value: str) -> bool:
    if value != value.strip() or re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", value):
        return False
    return len(value.encode()) <= _LINE
