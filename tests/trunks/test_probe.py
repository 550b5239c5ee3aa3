import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.probe import Finding, probe
from scripts.trial.asterisk import Trial

Answer = Callable[[str], Iterable[bytes]]
"""What a peer sends back, message by message, for a request."""

SECRET = "s3cr3t"


def number(port: int, **fields: Any) -> SipNumber:
    return SipNumber.model_validate({"number": "+14155550123", "address": "127.0.0.1", "port": port, **fields})


def account(port: int, **fields: Any) -> SipNumber:
    return number(port, **{"username": "4711", "password": SECRET, "registers": True, **fields})


def shown(findings: Iterable[Finding]) -> dict[str, tuple[bool, str]]:
    return {each.what: (each.ok, each.detail) for each in findings}


def reply(request: str, status: str, *headers: str) -> bytes:
    """An answer as the RFC has it: Via, From, To, Call-ID and CSeq of the request."""
    kept = [line for line in request.split("\r\n") if line.startswith(("Via", "From", "To", "Call-ID", "CSeq"))]
    return "\r\n".join((f"SIP/2.0 {status}", *kept, *headers, "", "")).encode()


class _Peer(asyncio.DatagramProtocol):
    def __init__(self, answer: Answer) -> None:
        self.asked: list[str] = []
        self._answer = answer

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.asked.append(data.decode())
        for message in self._answer(self.asked[-1]):
            self._transport.sendto(message, addr)


@asynccontextmanager
async def udp_peer(answer: Answer) -> AsyncIterator[tuple[int, list[str]]]:
    transport, peer = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: _Peer(answer), local_addr=("127.0.0.1", 0)
    )
    try:
        yield transport.get_extra_info("sockname")[1], peer.asked
    finally:
        transport.close()


@asynccontextmanager
async def tcp_peer(
    answer: Answer, tls: ssl.SSLContext | None = None, greeting: bytes = b""
) -> AsyncIterator[tuple[int, list[str]]]:
    asked: list[str] = []
    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        writer.write(greeting)
        try:
            while True:
                asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
                for message in answer(asked[-1]):
                    writer.write(message)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls) as server:
        yield server.sockets[0].getsockname()[1], asked
    await asyncio.gather(*filter(None, serving))


def always(status: str, *headers: str) -> Answer:
    return lambda request: [reply(request, status, *headers)]


def guarded(status_with_proof: str, challenge: str = 'Digest realm="r", nonce="n"', code: int = 401) -> Answer:
    name = "Proxy-Authenticate" if code == 407 else "WWW-Authenticate"

    def answer(request: str) -> list[bytes]:
        if "uthorization: Digest" in request:
            return [reply(request, status_with_proof)]
        return [reply(request, f"{code} Unauthorized", f"{name}: {challenge}")]

    return answer


# -- a real Asterisk as the carrier ------------------------------------------------------------------------


@pytest.mark.asterisk
@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_real_registrar_takes_the_password_and_no_other(asterisk: Trial, transport: str) -> None:
    right = account(
        asterisk.sip_port, transport=transport, username=asterisk.phone_user, password=asterisk.phone_password
    )
    found = shown(await probe(right))
    assert found["answer"] == (True, "answers and takes user name and password")
    assert found["registration"] == (True, "takes the user name and password; registered now: 0")
    assert found["seen as"][1].startswith("the carrier sees 127.0.0.1:")
    wrong = right.model_copy(update={"password": account(1).password})
    found = shown(await probe(wrong))
    assert not found["answer"][0]
    assert found["registration"] == (False, "401 Unauthorized: wrong user name or password (1000)")
    assert shown(await probe(right))["registration"][1].endswith("registered now: 0")


@pytest.mark.asterisk
async def test_a_real_asterisk_that_does_not_know_us_by_our_address(asterisk: Trial) -> None:
    ok, detail = shown(await probe(number(asterisk.sip_port)))["answer"]
    assert not ok
    assert "let this machine's address in at the carrier" in detail


# -- what is wrong on the way ------------------------------------------------------------------------------


async def test_a_name_that_does_not_resolve() -> None:
    (finding,) = await probe(number(5060, address="no-such-carrier.invalid"))
    assert (finding.what, finding.ok) == ("name", False)
    assert "no-such-carrier.invalid does not resolve" in finding.detail


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_port_where_nothing_listens(transport: str) -> None:
    async with udp_peer(always("200 OK")) as (port, _):
        pass
    found = shown(await probe(number(port, transport=transport)))
    assert found.keys() == {"name", "connection"}
    assert not found["connection"][0]
    assert f"refused: nothing listens at 127.0.0.1 port {port}/{transport.upper()}" in found["connection"][1]


async def test_a_carrier_that_says_nothing_is_asked_again_and_again() -> None:
    async with udp_peer(lambda _: []) as (port, asked):
        found = shown(await probe(number(port), seconds=2.5))
    assert len(asked) == 3  # at 0, 0.5 and 1.5 seconds
    assert len(set(asked)) == 1
    assert not found["answer"][0]
    assert "nothing answers OPTIONS" in found["answer"][1]
    assert "firewall" in found["answer"][1]


async def test_an_answer_to_the_second_request_is_as_good() -> None:
    async with udp_peer(lambda request: [reply(request, "200 OK")] if len(asked) > 1 else []) as (port, asked):
        found = shown(await probe(number(port)))
    assert found["answer"] == (True, "answers")


async def test_a_carrier_that_answers_registrations_alone() -> None:
    answer = guarded("200 OK")
    async with udp_peer(lambda request: answer(request) if request.startswith("REGISTER") else []) as (port, _):
        found = shown(await probe(account(port), seconds=0.7))
    assert not found["answer"][0]
    assert found["registration"][0]


@pytest.mark.parametrize("transport", ["tcp", "tls"])
async def test_a_server_that_takes_the_connection_and_says_nothing(transport: str) -> None:
    async with tcp_peer(lambda _: []) as (port, _):
        found = shown(await probe(number(port, transport=transport), seconds=0.3))
    assert not found["answer"][0]
    assert "within 0.3 s" in found["answer"][1]


def hang_up(_: str) -> list[bytes]:
    raise ConnectionAbortedError


async def test_a_server_that_closes_the_connection() -> None:
    async with tcp_peer(hang_up) as (port, _):
        found = shown(await probe(number(port, transport="tcp")))
    assert "closed the connection without an answer" in found["answer"][1]


async def test_a_server_that_is_no_sip() -> None:
    async with tcp_peer(lambda _: [b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"]) as (port, _):
        found = shown(await probe(number(port, transport="tcp")))
        assert found["answer"] == (False, f"127.0.0.1 port {port}/TCP: no answer of SIP: is it the right port?")


async def test_a_port_that_does_not_speak_tls() -> None:
    async with tcp_peer(lambda _: [], greeting=b"220 smtp\r\n") as (port, _):
        found = shown(await probe(number(port, transport="tls")))
    assert not found["connection"][0]
    assert f"no TLS at 127.0.0.1 port {port}/TLS" in found["connection"][1]


# -- what it says ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "ok", "says"),
    [
        ("200 OK", True, "answers"),
        ("404 Not Found", True, "404 Not Found"),
        ("405 Method Not Allowed", True, "only a call can show more"),
        ("501 Not Implemented", True, "only a call can show more"),
        ("302 Moved", False, "it is elsewhere; import <sip:other.example.com>"),
        ("401 Unauthorized", False, "does not know us by our address"),
        ("403 Forbidden", False, "is our address let in there"),
        ("503 Service Unavailable", False, "out of order"),
        ("603 Decline\x1b[2J", False, "603 Decline[2J: refused"),
    ],
)
async def test_answers_to_options(status: str, ok: bool, says: str) -> None:
    async with udp_peer(always(status, "Contact: <sip:other.example.com>")) as (port, _):
        found = shown(await probe(number(port)))
    assert found["answer"][0] is ok
    assert says in found["answer"][1]


@pytest.mark.parametrize(
    ("status", "ok", "says"),
    [
        ("200 OK", True, "registered now: 0"),
        ("401 Unauthorized", False, "wrong user name or password (4711)"),
        ("403 Forbidden", False, "may not register from here"),
        ("404 Not Found", False, "does not know the user 4711"),
        ("405 Method Not Allowed", False, "--no-register"),
        ("503 Service Unavailable", False, "takes no registrations now"),
        ("420 Bad Extension", False, "420 Bad Extension: ask the carrier"),
    ],
)
async def test_answers_to_a_registration(status: str, ok: bool, says: str) -> None:
    answer = guarded(status)
    async with udp_peer(lambda request: always("200 OK")(request) if request[0] == "O" else answer(request)) as (
        port,
        asked,
    ):
        found = shown(await probe(account(port)))
    assert found["registration"][0] is ok
    assert says in found["registration"][1]
    registers = [request for request in asked if request.startswith("REGISTER sip:127.0.0.1:")]
    assert len(registers) == 2
    assert "\r\nContact:" not in "".join(registers)
    assert [int(sequence) for sequence in re.findall(r"CSeq: (\d)", "".join(asked))] == [1, 2, 3]
    assert SECRET not in "".join(asked)


async def test_a_proxy_is_proved_to_like_a_server_and_a_stale_nonce_is_no_wrong_password() -> None:
    def answer(request: str) -> list[bytes]:
        if 'nonce="second"' in request:
            return [reply(request, "200 OK")]
        nonce = 'nonce="second", stale=true' if 'nonce="first"' in request else 'nonce="first"'
        challenge = f'Proxy-Authenticate: Digest realm="r", {nonce}, qop="auth"'
        return [reply(request, "407 Proxy Authentication Required", challenge)]

    async with udp_peer(answer) as (port, asked):
        found = shown(await probe(account(port, registers=False)))
    assert found["answer"] == (True, "answers and takes user name and password")
    assert ["Proxy-Authorization" in request for request in asked] == [False, True, True]
    assert "registration" not in found


async def test_a_server_that_wants_another_proof() -> None:
    async with udp_peer(always("401 Unauthorized", 'WWW-Authenticate: Basic realm="r"')) as (port, asked):
        found = shown(await probe(account(port)))
    assert "neither digest MD5 nor SHA-256" in found["answer"][1]
    assert SECRET not in "".join(asked)


async def test_a_nonce_that_is_always_stale_ends() -> None:
    challenge = 'WWW-Authenticate: Digest realm="r", nonce="n", stale=true'
    async with udp_peer(always("401 Unauthorized", challenge)) as (port, asked):
        found = shown(await probe(account(port, registers=False), seconds=1))
    assert not found["answer"][0]
    assert len(asked) == 3


async def test_where_the_carrier_sees_us() -> None:
    def answer(request: str) -> list[bytes]:
        return [
            reply(request, "100 Trying"),
            reply(request, "200 OK").replace(b";rport;", b";rport=7;received=203.0.113.9;"),
        ]

    async with udp_peer(answer) as (port, _):
        found = shown(await probe(number(port)))
    assert found["seen as"] == (
        True,
        "the carrier sees 203.0.113.9:7, though it is 127.0.0.1 here (NAT): the address to let in there",
    )


HOSTILE = [
    b"",
    b"\x00" * 100,
    b"\xff" * 60_000,
    b"SIP/2.0 200 OK",
    b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKother\r\nCSeq: 1 OPTIONS\r\n\r\n",
    b"SIP/2.0 401 x\r\nWWW-Authenticate: Digest nonce=" + b'"\\' * 1000 + b"\r\n\r\n",
    b"SIP/2.0 999999999999 x\r\n\r\n",
    b"OPTIONS sip:a SIP/2.0\r\n\r\n",
]


async def test_bytes_of_strangers_before_the_answer_are_left_alone() -> None:
    async with udp_peer(lambda request: [*HOSTILE, reply(request, "200 OK")]) as (port, _):
        assert shown(await probe(number(port)))["answer"] == (True, "answers")


@pytest.mark.parametrize("data", HOSTILE)
@pytest.mark.parametrize("peer", [udp_peer, tcp_peer])
async def test_bytes_of_strangers_alone_are_a_finding(data: bytes, peer: Callable[[Answer], Any]) -> None:
    async with peer(lambda _: [data]) as (port, _):
        findings = await probe(account(port, transport=peer.__name__[:3]), seconds=0.15)
    assert not [each for each in findings if each.what != "name" and each.ok]


# -- TLS ---------------------------------------------------------------------------------------------------


def certificate(folder: Path, name: str) -> ssl.SSLContext:
    """A server's context with a certificate for ``name`` that vouches for itself; it is ``folder/cert.pem``."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "carrier")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address(name))]), critical=False)
        .sign(key, SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.fixture
def trusted(tmp_path: Path) -> Callable[[], ssl.SSLContext]:
    return lambda: ssl.create_default_context(cafile=tmp_path / "cert.pem")


async def test_a_carrier_over_tls_whose_certificate_is_right(
    tmp_path: Path, trusted: Callable[[], ssl.SSLContext]
) -> None:
    async with tcp_peer(guarded("200 OK"), certificate(tmp_path, "127.0.0.1")) as (port, asked):
        findings = await probe(account(port, transport="tls"), tls=trusted())
    assert all(each.ok for each in findings)
    assert shown(findings)["registration"][0]
    assert "Via: SIP/2.0/TLS 127.0.0.1:" in asked[0]


@pytest.mark.parametrize(("name", "trusts"), [("127.0.0.1", False), ("192.0.2.1", True)])
async def test_a_certificate_that_is_not_right_is_named_and_gets_no_proof(
    tmp_path: Path, trusted: Callable[[], ssl.SSLContext], name: str, trusts: bool
) -> None:
    async with tcp_peer(guarded("200 OK"), certificate(tmp_path, name)) as (port, asked):
        findings = shown(await probe(account(port, transport="tls"), tls=trusted() if trusts else None))
    assert not findings["certificate"][0]
    assert "not one for 127.0.0.1 that this machine trusts" in findings["certificate"][1]
    assert findings["answer"] == (True, "401 Unauthorized: it wants user name and password, which were not sent")
    assert "registration" not in findings
    assert "uthorization:" not in "".join(asked)
