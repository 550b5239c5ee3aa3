"""Where a carrier's SIP server is, as its papers and its web page write it."""

import re
from dataclasses import dataclass
from typing import cast, get_args

from ai_engine.trunks.number import Transport

_TRANSPORTS = get_args(Transport)
_FORM = "HOST[:PORT][;transport=udp|tcp|tls]"
_ADDRESS = re.compile(
    r"(?:(?P<scheme>sips?):)?(?:(?P<user>[^@]*)@)?(?:\[(?P<ip6>[0-9a-fA-F:.]+)\]|(?P<host>[^:;\[\]]+))(?::(?P<port>\d{1,5}))?"
    r"(?P<parameters>(?:;[^;]*)*)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class TrunkAddress:
    address: str
    port: int | None
    transport: Transport


def parse(text: str) -> TrunkAddress:
    """``sip.example.com``, ``sip.example.com:5061;transport=tls``, ``sips:[2001:db8::1]``. Raises ValueError."""
    match = _ADDRESS.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not {_FORM}")
    if match["user"] is not None:
        raise ValueError("the user name goes to --sip-username, and the password to none of the two: see --help")
    transport = "tls" if (match["scheme"] or "").lower() == "sips" else "udp"
    for parameter in filter(None, match["parameters"].split(";")):
        name, _, value = parameter.partition("=")
        if name.strip().lower() != "transport":
            raise ValueError(f"{name!r} means nothing here: {_FORM}")
        transport = value.strip().lower()
    if transport not in _TRANSPORTS:
        raise ValueError(f"there is no transport {transport!r}: {', '.join(_TRANSPORTS)}")
    port = int(match["port"]) if match["port"] else None
    return TrunkAddress(match["ip6"] or match["host"], port, cast(Transport, transport))
