"""A request of a telephone network as it reached us: whose it is, and at which public address it was made."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from starlette.requests import HTTPConnection, Request
from yarl import URL

from ai_engine.jobs.settings import Server

_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)", re.ASCII)
"""RFC 1123."""

_AUTHORITY = re.compile(r"(?P<host>[^\s:/@\[\]]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?", re.ASCII)


@dataclass(slots=True)
class Incoming:
    """Implements ``SignedRequest``."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


class TooLarge(Exception):
    """The body has more bytes than are read."""


async def read(request: Request, most_bytes: int) -> Incoming:
    """The whole request. Raises TooLarge."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > most_bytes:
            raise TooLarge
    return Incoming(request.method, path_of(request), headers_of(request), bytes(body))


def handshake(connection: HTTPConnection) -> Incoming:
    """That of a WebSocket."""
    return Incoming("GET", path_of(connection), headers_of(connection))


def path_of(connection: HTTPConnection) -> str:
    """Path and query as they were requested, with every escape as it was."""
    scope = connection.scope
    path = bytes(scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    query = bytes(scope.get("query_string") or b"").decode("latin-1")
    return f"{path}?{query}" if query else path


def headers_of(connection: HTTPConnection) -> Mapping[str, str]:
    """Of one that is there twice, which no network sends, neither counts."""
    found: dict[str, str] = {}
    for name, value in connection.headers.items():
        found[name.lower()] = "" if name.lower() in found else value
    return found


def public_base(settings: Server, peer: str, headers: Mapping[str, str], public_base_url: str) -> str:
    """The base URL at which the request was made: ``public_base_url``, unless a trusted proxy says another one.

    What a proxy says counts when it is one of ``trusted_proxies``, and the host is one of ``allowed_hosts`` (or that of
    ``public_base_url``) and a name of RFC 1123 or an address; with the path of ``public_base_url``, which proxies take
    off. Without a slash at the end.
    """
    ours = public_base_url.rstrip("/")
    public = URL(ours) if ours else URL()
    said = _first(headers.get("x-forwarded-host", ""))
    scheme = _first(headers.get("x-forwarded-proto", "")).lower() or public.scheme or "https"
    if not said or not _trusted(settings, peer) or scheme not in ("http", "https"):
        return ours
    host = _host(said)
    allowed = {name.lower().rstrip(".") for name in settings.allowed_hosts} | {(public.host or "").lower()}
    if not host or host.strip("[]") not in allowed:
        return ours
    return f"{scheme}://{said.lower()}{public.raw_path.rstrip('/')}"


def address_of(settings: Server, peer: str, headers: Mapping[str, str]) -> str:
    """Who asks: the last one in ``X-Forwarded-For`` who is no trusted proxy, where our peer is one; else the peer."""
    address = peer
    for said in reversed(headers.get("x-forwarded-for", "").split(",")):
        if not _trusted(settings, address) or _ip(said.strip()) is None:
            break
        address = said.strip()
    return address


def _first(header: str) -> str:
    return header.split(",", 1)[0].strip()


def _host(authority: str) -> str:
    """The name or address in ``host:port``, in lower case; empty where it is none."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None or (found["port"] is not None and not 0 < int(found["port"]) < 65536):
        return ""
    host = found["host"].lower()
    if host.startswith("["):
        return host if _ip(host.strip("[]")) is not None else ""
    labels = host.rstrip(".").split(".")
    return ".".join(labels) if len(host) <= 253 and all(_LABEL.fullmatch(label) for label in labels) else ""


def _trusted(settings: Server, peer: str) -> bool:
    address = _ip(peer)
    if address is None:
        return False
    return any(address in ip_network(network) for network in settings.trusted_proxies)


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
