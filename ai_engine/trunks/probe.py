"""Whether a number's carrier can be reached, and takes its user name and password."""

import asyncio
import secrets
import socket
import ssl
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace

from ai_engine.protocol.sip import Asker, Request, Response, authorization, challenge_of, user_part
from ai_engine.trunks import probe_words as words
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.probe_words import Finding, port_of
from ai_engine.trunks.sip_wire import Wire, stream_wire, udp_wire

__all__ = ["Finding", "probe"]

_PROOFS = 2
"""The second one where the first nonce was too old."""


async def probe(number: SipNumber, *, seconds: float = 5.0, tls: ssl.SSLContext | None = None) -> tuple[Finding, ...]:
    """Ask the carrier with OPTIONS and, where the number registers, with a REGISTER that has no Contact: it changes no
    binding. Each step takes ``seconds`` at most. ``tls``: whom to trust; absent, whom this machine trusts."""
    try:
        async with asyncio.timeout(seconds):
            address = await _resolved(number)
    except OSError as error:
        return (words.unresolved(number, error),)
    if number.transport == "tls" and tls is None:
        tls = await asyncio.to_thread(ssl.create_default_context)
    return (words.resolved(number, address), *await _Probe(number, address, seconds).run(tls))


async def _resolved(number: SipNumber) -> str:
    """Of IPv4 where there is one: Asterisk's transports usually are."""
    kind = socket.SOCK_DGRAM if number.transport == "udp" else socket.SOCK_STREAM
    found = await asyncio.get_running_loop().getaddrinfo(number.address, port_of(number), type=kind)
    found.sort(key=lambda each: each[0] is not socket.AF_INET)
    return str(found[0][4][0])


@dataclass(frozen=True, slots=True)
class _Probe:
    number: SipNumber
    address: str
    seconds: float

    async def run(self, tls: ssl.SSLContext | None) -> list[Finding]:
        if tls is None or self.number.transport != "tls":
            return await self._over(self._wire(None), may_prove=True)
        try:
            return await self._over(self._wire(tls), may_prove=True)
        except ssl.SSLCertVerificationError as error:
            # Asterisk goes on, unless its transport says verify_server=yes; our password stays here.
            found = words.certificate(self.number, error.verify_message or str(error))
            return [found, *await self._over(self._wire(_unverified()), may_prove=False)]

    def _wire(self, tls: ssl.SSLContext | None) -> AbstractAsyncContextManager[Wire]:
        port = port_of(self.number)
        if self.number.transport == "udp":
            return udp_wire(self.address, port)
        return stream_wire(self.address, port, tls, self.number.address)

    async def _over(self, way: AbstractAsyncContextManager[Wire], *, may_prove: bool) -> list[Finding]:
        found: list[Finding] = []
        try:
            async with asyncio.timeout(self.seconds) as limit, way as wire:
                conversation = _Conversation(self.number, wire, may_prove)
                limit.reschedule(None)
                found += await self._options(conversation)
                if self.number.registers and may_prove:
                    found += await self._register(conversation)
        except ssl.SSLCertVerificationError:
            raise
        except (OSError, ValueError) as error:
            found.append(self._unreachable(error, "OPTIONS"))
        return found

    async def _options(self, conversation: "_Conversation") -> list[Finding]:
        try:
            async with asyncio.timeout(self.seconds):
                answer = await conversation.ask("OPTIONS")
        except TimeoutError as error:
            return [self._unreachable(error, "OPTIONS")]  # some carriers answer REGISTER only
        return [
            words.options(
                answer.response,
                proved=answer.proved,
                username=self.number.username,
                may_prove=conversation.may_prove,
            ),
            *words.seen_as(answer.response, conversation.local_host),
        ]

    async def _register(self, conversation: "_Conversation") -> list[Finding]:
        try:
            async with asyncio.timeout(self.seconds):
                answer = await conversation.ask("REGISTER")
        except OSError as error:
            return [replace(self._unreachable(error, "REGISTER"), what="registration")]
        return [words.registration(answer.response, proved=answer.proved, username=self.number.username)]

    def _unreachable(self, error: OSError | ValueError, method: str) -> Finding:
        return words.unreachable(self.number, self.address, error, self.seconds, method)


@dataclass(frozen=True, slots=True)
class _Answer:
    response: Response
    proved: bool
    """It is the answer to user name and password."""


class _Conversation:
    """Requests of one Call-ID."""

    def __init__(self, number: SipNumber, wire: Wire, may_prove: bool) -> None:
        self._number, self._wire = number, wire
        self.may_prove = may_prove
        host, port = wire.local
        self.local_host = host
        self._asked = 0
        user = number.username if number.registers else number.number  # as the endpoint's from_user is
        self._asker = Asker(
            transport=number.transport.upper(),
            local=f"{_bracketed(host)}:{port}",
            uri=f"sip:{_bracketed(number.address)}" + (f":{number.port}" if number.port else ""),
            user_uri=f"sip:{user_part(user)}@{_bracketed(number.address)}",
            call_id=secrets.token_hex(16),
            tag=secrets.token_hex(8),
        )

    async def ask(self, method: str) -> _Answer:
        """May raise what ``Wire.exchange`` does, and waits without end as it does."""
        response, proved = await self._exchange(method, None), False
        for _ in range(_PROOFS):
            if response.status not in (401, 407) or not self._number.username or not self.may_prove:
                break
            challenge = challenge_of(response)
            if challenge is None or (proved and not challenge.stale):
                break
            proof = authorization(
                challenge,
                method,
                self._asker.uri,
                username=self._number.username,
                password=self._number.password.get_secret_value(),
                cnonce=secrets.token_hex(8),
            )
            response, proved = await self._exchange(method, proof), True
        return _Answer(response, proved)

    async def _exchange(self, method: str, proof: tuple[str, str] | None) -> Response:
        self._asked += 1
        branch = f"z9hG4bK{secrets.token_hex(8)}"
        return await self._wire.exchange(Request(self._asker, method, self._asked, branch, proof))


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
