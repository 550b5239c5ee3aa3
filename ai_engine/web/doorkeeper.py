"""Who may ask for calls: those with a token, or, where there are no tokens, this machine."""

import asyncio
import hashlib
import hmac
from collections import Counter
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.types import Scope

from ai_engine.web.problems import Problem

log = structlog.get_logger(__name__)

_FORWARDING = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")

_SHORTEST_TOKEN = 16

_MOST_WAITING = 8
"""Wrong tokens of one address that are waiting for their answer; further requests from there are not looked at. So
many in ``penance_seconds`` can be tried, while a script with a stale token shuts nobody else out."""
_MOST_WAITING_IN_ALL = 512


class Doorkeeper:
    """Asked before a request is read any further."""

    def __init__(
        self,
        tokens: Sequence[SecretStr],
        trusted_proxies: Sequence[str] = (),
        *,
        run_token: SecretStr | None = None,
        penance_seconds: float = 1.0,
    ) -> None:
        """Empty tokens are none. An answer to a wrong one takes ``penance_seconds``. ``run_token`` is as good as the
        others, and does not count as one of them: who may ask without a token still may."""
        given = [token.get_secret_value() for token in tokens if token.get_secret_value()]
        if any(len(token) < _SHORTEST_TOKEN for token in given):
            log.warning("a token is easily guessed", shortest=_SHORTEST_TOKEN, advice="openssl rand -hex 32")
        self._digests = [_digest(token) for token in given]
        self._run = [_digest(run_token.get_secret_value())] if run_token is not None else []
        self._proxies = [ip_network(proxy) for proxy in trusted_proxies]
        self._penance_seconds = penance_seconds
        self._waiting: Counter[str] = Counter()
        self._closing = asyncio.Event()
        self.turned_away: Counter[str] = Counter()
        """How many, by reason: ``no_token``, ``wrong_token``, ``too_many``, ``not_local``."""

    async def admit(self, scope: Scope) -> None:
        """Return when the request may go on. Raises Problem."""
        headers = Headers(scope=scope)
        if self._digests:
            await self._check_token(headers, self._address(scope, headers))
        elif self._is_known(_bearer(headers)):
            return
        elif reason := _not_local(scope, headers):
            self.turned_away["not_local"] += 1
            log.warning("request turned away", reason=reason, path=scope["path"])
            raise Problem(403, "not-allowed", f"{reason}. Set CALL_AGENT_TOKEN for the engine, and send it as a bearer"
                          " token: without one only requests from its own machine are taken.")  # fmt: skip

    async def demand_token(self, scope: Scope) -> None:
        """The same for what nobody may ask without a token, from wherever."""
        headers = Headers(scope=scope)
        await self._check_token(headers, self._address(scope, headers))

    async def knows(self, scope: Scope) -> bool:
        """Whether an open page may tell more. Raises Problem where a token is sent, and wrong: no page is a place to
        try them."""
        headers = Headers(scope=scope)
        if self._digests and "authorization" not in headers:
            return False
        if not self._digests and not self._is_known(_bearer(headers)) and _not_local(scope, headers):
            return False
        await self.admit(scope)
        return True

    def close(self) -> None:
        """Let nobody wait any longer."""
        self._closing.set()

    async def _check_token(self, headers: Headers, address: str) -> None:
        if self._waiting[address] >= _MOST_WAITING or self._waiting.total() >= _MOST_WAITING_IN_ALL:
            self.turned_away["too_many"] += 1
            raise Problem(429, "not-allowed", "Too many wrong tokens at once; try again later.", headers=_later(1))
        token = _bearer(headers)
        if token is None:
            self.turned_away["no_token"] += 1
            log.warning("request turned away", reason="no token", address=address)
            raise _unauthorized("Send the engine's CALL_AGENT_TOKEN: 'Authorization: Bearer …'.", "")
        if not self._is_known(token):
            self.turned_away["wrong_token"] += 1
            log.warning("request turned away", reason="wrong token", address=address)
            await self._penance(address)
            raise _unauthorized(
                "This token is none of the engine's; compare it with CALL_AGENT_TOKEN.", "invalid_token"
            )

    def _is_known(self, token: str | None) -> bool:
        if token is None:
            return False
        # All are compared, whichever fits: how long it takes tells nothing.
        digest = _digest(token)
        return sum([hmac.compare_digest(digest, own) for own in (*self._digests, *self._run)]) > 0

    async def _penance(self, address: str) -> None:
        self._waiting[address] += 1
        try:
            async with asyncio.timeout(self._penance_seconds):
                await self._closing.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]

    def _address(self, scope: Scope, headers: Headers) -> str:
        """Whose it is: of those who come through a tunnel or a trusted proxy, what that says of them."""
        peer = _peer(scope)
        told = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        if peer is None or not told or not (peer.is_loopback or any(peer in proxy for proxy in self._proxies)):
            return _group(peer)
        return _group(_ip(told) or peer)


def _bearer(headers: Headers) -> str | None:
    given = headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" else None


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def _unauthorized(detail: str, error: str) -> Problem:
    challenge = 'Bearer realm="offhook"' + (f', error="{error}"' if error else "")
    return Problem(401, "not-allowed", detail, headers={"WWW-Authenticate": challenge})


def _later(seconds: int) -> Mapping[str, str]:
    return {"Retry-After": str(seconds)}


def _peer(scope: Scope) -> IPv4Address | IPv6Address | None:
    return _ip((scope.get("client") or ("",))[0].partition("%")[0])


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    """What a socket for both kinds calls ``::ffff:192.0.2.1`` is 192.0.2.1."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _group(address: IPv4Address | IPv6Address | None) -> str:
    """One name for all addresses that one customer of a provider has."""
    if isinstance(address, IPv6Address):
        return str(ip_network((address, 64), strict=False))
    return str(address)


def _not_local(scope: Scope, headers: Headers) -> str:
    """Why a request cannot be taken for one of our own machine's; empty when it can.

    A browser there may be sent to us by any page (cross-site requests), even under another name (DNS rebinding): so
    Host must be a local name, and Origin, where there is one, the same as Host.
    """
    peer, host, origin = _peer(scope), headers.get("host", ""), headers.get("origin")
    if peer is None or not peer.is_loopback:
        return f"The request comes from {peer or 'an unknown address'}"
    if any(name in headers for name in _FORWARDING):
        return "The request comes through a proxy or a tunnel"
    if not _local_name(host):
        return f"The request is for {host[:100]!r}, which is no name of this machine"
    if origin is not None and urlsplit(origin).netloc != host:
        return f"The request is sent by a page of {origin[:100]!r}"
    return ""


def _local_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False
