"""At which address a request was made, when proxies have a say in it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from ai_engine.jobs.settings import Server
from ai_engine.telephony.incoming import TooLarge, address_of, headers_of, path_of, public_base, read

OURS = "https://voice.example.com/calls"
SERVER = Server(
    trusted_proxies=("10.0.0.0/8", "::1/128"), allowed_hosts=("voice.example.net", "192.0.2.7", "2001:db8::1")
)


@pytest.mark.parametrize(
    ("peer", "host", "proto", "base"),
    [
        ("10.1.2.3", "voice.example.net", "https", "https://voice.example.net/calls"),
        ("::ffff:10.1.2.3", "voice.example.net", "https", "https://voice.example.net/calls"),
        ("::1", "VOICE.example.net:8443", "HTTPS", "https://voice.example.net:8443/calls"),
        ("10.1.2.3", "voice.example.com", "http", "http://voice.example.com/calls"),
        ("10.1.2.3", "voice.example.net, inner.local", "https, http", "https://voice.example.net/calls"),
        ("10.1.2.3", "192.0.2.7", "", "https://192.0.2.7/calls"),
        ("10.1.2.3", "[2001:db8::1]:444", "https", "https://[2001:db8::1]:444/calls"),
    ],
)
def test_what_a_trusted_proxy_says_counts(peer: str, host: str, proto: str, base: str) -> None:
    headers = {"x-forwarded-host": host, "x-forwarded-proto": proto}
    assert public_base(SERVER, peer, headers, OURS + "/") == base


@pytest.mark.parametrize(
    ("peer", "host", "proto"),
    [
        ("192.0.2.1", "voice.example.net", "https"),  # nobody we trust
        ("", "voice.example.net", "https"),
        ("unix:", "voice.example.net", "https"),
        ("10.1.2.3", "evil.example.org", "https"),
        ("10.1.2.3", "user@voice.example.net", "https"),
        ("10.1.2.3", "voice.example.net@evil.org", "https"),
        ("10.1.2.3", "voice.example.net/x", "https"),
        ("10.1.2.3", "voice.example.net:99999", "https"),
        ("10.1.2.3", "voice.example.net:x", "https"),
        ("10.1.2.3", "voice..example.net", "https"),
        ("10.1.2.3", "-voice.example.net", "https"),
        ("10.1.2.3", "voice.example.net", "gopher"),
        ("10.1.2.3", "", "https"),
    ],
)
def test_else_what_is_configured_stands(peer: str, host: str, proto: str) -> None:
    headers = {"x-forwarded-host": host, "x-forwarded-proto": proto}
    assert public_base(SERVER, peer, headers, OURS) == OURS


def test_without_trusted_proxies_nobody_has_a_say() -> None:
    headers = {"x-forwarded-host": "voice.example.net", "x-forwarded-proto": "https"}
    assert public_base(Server(), "127.0.0.1", headers, OURS) == OURS
    assert public_base(Server(), "127.0.0.1", headers, "") == ""


@given(st.text(), st.text(), st.text())
def test_whatever_a_proxy_says_the_host_is_one_of_ours(peer: str, host: str, proto: str) -> None:
    headers = {"x-forwarded-host": host, "x-forwarded-proto": proto}
    assert public_base(SERVER, peer, headers, OURS) == OURS
    base = public_base(SERVER, "10.0.0.1", headers, OURS)
    assert base == OURS or base.split("/")[2].rpartition(":")[0] in ("", *SERVER.allowed_hosts, "voice.example.com")


@pytest.mark.parametrize(
    ("peer", "said", "address"),
    [
        ("192.0.2.1", "198.51.100.9", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.9, 10.0.0.2", "198.51.100.9"),
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "rubbish", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.9, rubbish", "10.0.0.1"),
    ],
)
def test_who_asks(peer: str, said: str, address: str) -> None:
    assert address_of(SERVER, peer, {"x-forwarded-for": said}) == address


# -- requests as they came -----------------------------------------------------------------------------------


def request(body: list[bytes], headers: list[tuple[bytes, bytes]] | None = None) -> Request:
    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body.pop(0), "more_body": bool(body)}

    scope = {"type": "http", "method": "POST", "path": "/voice x", "raw_path": b"/voice%20x",
             "query_string": b"a=%2f&b", "headers": headers or []}  # fmt: skip
    return Request(scope, receive)


async def test_every_escape_stays_as_it_was() -> None:
    incoming = await read(request([b"a", b"", b"b"]), 2)
    assert (incoming.method, incoming.url, incoming.body) == ("POST", "/voice%20x?a=%2f&b", b"ab")


async def test_a_body_has_an_end() -> None:
    with pytest.raises(TooLarge):
        await read(request([b"aa", b"b", b"c" * 1_000_000]), 2)


def test_a_path_without_its_escapes_and_a_header_that_is_there_twice() -> None:
    one = request([b""], [(b"X-One", b"1"), (b"X-Two", b"a"), (b"x-two", b"b")])
    del one.scope["raw_path"]
    one.scope["query_string"] = b""
    assert path_of(one) == "/voice x"
    assert headers_of(one) == {"x-one": "1", "x-two": ""}
