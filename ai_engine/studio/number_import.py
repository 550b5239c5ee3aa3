"""Takes a number: checks it, keeps it, has it applied, and says what the carrier's side must know."""

import asyncio
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from ai_engine.studio import trunk_address
from ai_engine.studio.agent_names import agent_names
from ai_engine.studio.errors import CALL_FAILED, OK, USAGE, Stop, plainly
from ai_engine.studio.numbers import open_store, plain
from ai_engine.studio.output import remark, say, show_facts, show_json, state
from ai_engine.studio.password import sip_password
from ai_engine.studio.place import Place, place
from ai_engine.studio.trunk_states import applied
from ai_engine.studio.where import Where
from ai_engine.switchboard.models import TrunkState
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.store import NumberExists

_SIP_PORT, _SIPS_PORT = 5060, 5061
_DISCARD = ("192.0.2.1", 9)
"""An address of documentation: nothing is sent there, but the system says by which of ours it would be."""
_OPTIONS = {
    "number": "--number",
    "address": "--trunk-address",
    "port": "--trunk-address",
    "transport": "--trunk-address",
    "username": "--sip-username",
    "password": "--sip-password",
    "registers": "--register",
    "allowed_ips": "--allowed-ip",
    "codecs": "--codec",
}
"""What fields are called on the command line, where that is something else."""


@dataclass(frozen=True, slots=True)
class Given:
    """The options of `studio number import`; the password comes by a way of its own."""

    number: str
    trunk_address: str
    username: str
    password: str | None
    password_file: Path | None
    label: str
    register: bool
    inbound_agent: str | None
    allowed_ips: tuple[str, ...]
    codecs: str
    srtp: bool | None
    calls: int
    test: bool
    replace: bool
    json: bool


def import_number(where: Where, given: Given) -> int:
    """The exit status. Raises Stop and ConfigError."""
    here = place(where)
    store = open_store(where, here)
    number = _number(given, where.given())
    if not given.replace and store.find(number.number):  # before anything is asked of anybody
        raise Stop(USAGE, f"{number.number} is there already; --replace puts this one in its place")
    if number.inbound_agent is not None and number.inbound_agent not in agent_names(here):
        remark(
            f"there is no agent {number.inbound_agent!r} yet; `studio agent create {number.inbound_agent}` makes one"
        )
    try:
        store.add(number, replace=given.replace)
    except NumberExists as error:
        raise Stop(USAGE, str(error)) from error
    findings = _probe(number) if given.test else []
    trunk = applied(where, here, number, wait=given.test)
    if given.json:
        show_json({**plain(number), "trunk": trunk.as_json() if trunk else None, "findings": findings})
    else:
        _tell(number, here, trunk, findings)
    bad = [one for one in findings if not one["ok"]]
    return CALL_FAILED if bad or (given.test and trunk is not None and trunk.state != "online") else OK


def _number(given: Given, environ: Mapping[str, str]) -> SipNumber:
    try:
        address = trunk_address.parse(given.trunk_address)
    except ValueError as error:
        raise Stop(USAGE, f"--trunk-address: {error}") from error
    if not given.username and (given.password is not None or given.password_file is not None):
        raise Stop(USAGE, "a password needs --sip-username; a trunk without both is known by our address")
    fields: dict[str, object] = {
        "number": _compact(given.number),
        "address": address.address,
        "port": address.port,
        "transport": address.transport,
        "username": given.username,
        "label": given.label,
        "registers": given.register,
        "inbound_agent": given.inbound_agent,
        "allowed_ips": given.allowed_ips,
        "codecs": tuple(codec.strip() for codec in given.codecs.lower().split(",") if codec.strip()),
        "srtp": address.transport == "tls" if given.srtp is None else given.srtp,
        "calls": given.calls,
    }
    if given.username:
        # Asked for last: nobody types a password for the sake of an option that is wrong.
        _checked({**fields, "password": "unknown yet"})
        fields["password"] = sip_password(given.password, given.password_file, environ, given.username)
    return _checked(fields)


def _checked(fields: Mapping[str, object]) -> SipNumber:
    try:
        return SipNumber.model_validate(fields)
    except ValidationError as error:
        raise Stop(USAGE, "; ".join(_complaints(error))) from None  # its text has the values


def _complaints(error: ValidationError) -> Iterable[str]:
    for one in error.errors(include_url=False, include_input=False, include_context=False):
        field = str(one["loc"][0]) if one["loc"] else ""
        option = _OPTIONS.get(field, f"--{field.replace('_', '-')}") if field else ""
        text = plainly(one["msg"])
        if field == "number":
            text = "must be in the international form, like +4930123456"
        yield f"{option}: {text}" if option else text


def _compact(number: str) -> str:
    """Without what people write between digits; 0049 is +49."""
    digits = "".join(character for character in number if character not in " -().\u00a0/")
    return "+" + digits[2:] if digits.startswith("00") else digits


def _probe(number: SipNumber) -> list[dict[str, object]]:
    from ai_engine.trunks.probe import probe  # noqa: PLC0415  only --test needs it

    findings = asyncio.run(probe(number))
    return [{"what": one.what, "ok": one.ok, "detail": one.detail} for one in findings]


def _tell(number: SipNumber, here: Place, trunk: TrunkState | None, findings: list[dict[str, object]]) -> None:
    say(f"{number.number} is imported.", "bold")
    if trunk is not None:
        show_facts([("in Asterisk", state(trunk.state)), ("", trunk.detail)])
    for one in findings:
        mark = ("yes", "green") if one["ok"] else ("no", "red")
        show_facts([(str(one["what"]), mark), ("", str(one["detail"]))])
    say("")
    say("What the carrier's side must know:", "bold")
    show_facts(_for_the_carrier(number, here.settings.media_address))
    say("")
    say("What the firewall must let through:", "bold")
    show_facts(_for_the_firewall(number))
    if number.inbound_agent is None:
        say("")
        say("Calls to it are politely refused until it has an agent: --inbound-agent NAME --replace")


def _for_the_carrier(number: SipNumber, media_address: str) -> Iterable[tuple[str, str]]:
    ours = media_address or _our_address()
    if number.registers:
        yield "calls to us", f"come by the registration of {number.username}; nothing to set"
    else:
        port = _SIPS_PORT if number.transport == "tls" else _SIP_PORT
        target = f"[{ours}]" if ":" in ours else ours
        yield "origination", f"sip:{number.number}@{target}:{port};transport={number.transport}"
    if not number.username:
        yield "we are known by", f"our address, {ours}: the carrier has to allow it"
    if not media_address:
        yield "behind NAT", f"the public address counts, not {ours}; Asterisk has it as external_signaling_address"
    yield "codecs", ", ".join(number.codecs) + (", SRTP (SDES)" if number.srtp else "")


def _for_the_firewall(number: SipNumber) -> Iterable[tuple[str, str]]:
    protocol = "udp" if number.transport == "udp" else "tcp"
    port = number.port or (_SIPS_PORT if number.transport == "tls" else _SIP_PORT)
    yield "out", f"{protocol}, to {number.address} port {port}"
    sources = ", ".join((number.address, *number.allowed_ips))
    if number.registers:
        yield "in", "answers only: the registration holds the way open"
    else:
        yield "in", f"{protocol} port {_SIPS_PORT if number.transport == 'tls' else _SIP_PORT}, from {sources}"
    yield "sound", "udp ports of Asterisk's rtp.conf (10000-20000 where it says nothing), both ways"


def _our_address() -> str:
    """Of this machine, as far as it knows."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_DISCARD)
        except OSError:
            return "THIS-MACHINE"
        return str(probe.getsockname()[0])
