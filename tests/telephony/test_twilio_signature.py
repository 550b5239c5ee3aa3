"""Signatures: vectors of the contract, and the official library as the other opinion."""

import hashlib
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from ai_engine.telephony.incoming import Incoming
from ai_engine.telephony.twilio_signature import form_of, spellings, valid

FORM = "application/x-www-form-urlencoded"
BASE = "https://example.com"
PATH = "/voice?provider=twilio&callId=abc"
FIELDS = {"CallSid": "CA0123", "CallStatus": "in-progress", "From": "+15551234567", "To": "+15557654321"}
VECTOR = "+gnN4plpJmwQkH80dLff84+bqA4="
SOCKET_VECTOR = "jzsVQ1KYEDZz8eXxw0jS+KT76XA="


def posted(
    signature: str,
    body: bytes | None = None,
    *,
    path: str = PATH,
    settings: str = "",
    kind: str = f"{FORM}; charset=UTF-8",
) -> Incoming:
    headers = {"x-twilio-signature": signature, "content-type": kind}
    if settings:
        headers["x-twilio-webhooks-signature-settings"] = settings
    return Incoming("POST", path, headers, urlencode(FIELDS).encode() if body is None else body)


def upgrade(signature: str, path: str = "/voice/stream") -> Incoming:
    return Incoming("GET", path, {"x-twilio-signature": signature, "upgrade": "websocket", "connection": "Upgrade"})


# -- the contract's vectors ----------------------------------------------------------------------------------


def test_a_form() -> None:
    assert valid(posted(VECTOR), BASE, "12345")
    assert valid(posted(VECTOR), BASE + "/", "12345")


def test_a_websocket_in_either_spelling() -> None:
    assert valid(upgrade(SOCKET_VECTOR), BASE, "12345")
    https = RequestValidator("12345").compute_signature(f"{BASE}/voice/stream", {})
    assert valid(upgrade(https), BASE, "12345")


def test_only_a_websocket_has_two_spellings() -> None:
    wss = RequestValidator("12345").compute_signature(f"wss://example.com{PATH}", FIELDS)
    assert not valid(posted(wss), BASE, "12345")


@pytest.mark.parametrize("url", [f"https://example.com:443{PATH}", f"https://example.com{PATH}"])
def test_both_ports(url: str) -> None:
    signature = RequestValidator("12345").compute_signature(url, FIELDS)
    assert valid(posted(signature), BASE, "12345")
    assert valid(posted(signature), f"{BASE}:443", "12345")
    # As the official library has it: without its port, any port is that of the signed address.
    assert valid(posted(signature), f"{BASE}:444", "12345") == (":443" not in url)


@pytest.mark.parametrize(
    ("url", "ways"),
    [
        ("https://example.com/a?b=c:d", ["https://example.com/a?b=c:d", "https://example.com:443/a?b=c:d"]),
        ("http://example.com", ["http://example.com", "http://example.com:80"]),
        ("https://example.com:8443/a", ["https://example.com/a", "https://example.com:8443/a"]),
        ("https://[::1]/a", ["https://[::1]/a", "https://[::1]:443/a"]),
        ("https://[::1]:99/a", ["https://[::1]/a", "https://[::1]:99/a"]),
        ("/voice", []),
        ("https:///voice", []),
        ("gopher://example.com/", []),
    ],
)
def test_spellings(url: str, ways: list[str]) -> None:
    assert spellings(url) == ways


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        posted(""),
        posted("x"),
        posted("ü€\udcff"),
        posted(VECTOR[:-1]),
        posted(VECTOR, b"CallSid=CA0124"),
        posted(VECTOR, urlencode(FIELDS).encode() + b"&More=1"),
        posted(VECTOR, path="/voice?provider=twilio&callId=abd"),
        posted(VECTOR, path="/voice?callId=abc&provider=twilio"),
        posted(VECTOR, kind="text/plain"),
        posted(VECTOR, kind=""),
        posted(VECTOR, b"\xff\xfe"),
        posted(VECTOR, b"a=1&" * 5000),
        posted(VECTOR, settings="key=k,algorithm=HMAC_MD5"),
        posted(VECTOR, settings="algorithm=HMAC_SHA256"),
    ],
)
def test_what_is_not_signed(request_: Incoming) -> None:
    assert not valid(request_, BASE, "12345")


def test_another_token_another_address_and_none() -> None:
    assert not valid(posted(VECTOR), BASE, "12346")
    assert not valid(posted(VECTOR), "https://example.org", "12345")
    assert not valid(posted(VECTOR), "http://example.com", "12345")
    assert not valid(posted(VECTOR), "", "12345")


def test_without_a_secret_nothing_is_valid() -> None:
    anybody = RequestValidator("").compute_signature(BASE + PATH, FIELDS)
    assert not valid(posted(anybody), BASE, "")


# -- newer kinds ---------------------------------------------------------------------------------------------


def test_a_shared_key() -> None:
    signature = RequestValidator("the key").compute_signature(BASE + PATH, FIELDS, "HMAC_SHA256")
    settings = "key=webhooks_sharedkey_1, algorithm=hmac_sha256"
    assert valid(posted(signature, settings=settings), BASE, "12345", "the key")
    assert not valid(posted(signature, settings=settings), BASE, "12345", "another key")
    assert not valid(posted(signature), BASE, "12345", "the key")
    assert not valid(posted(VECTOR, settings=settings), BASE, "12345", "the key")


def test_without_a_key_of_ours_the_token_is_the_key() -> None:
    signature = RequestValidator("12345").compute_signature(BASE + PATH, FIELDS, "HMAC_SHA256")
    assert valid(posted(signature, settings="key=k,algorithm=HMAC_SHA256"), BASE, "12345")


def test_the_hash_of_json() -> None:
    body = b'{"a": 1}'
    path = f"/voice?bodySHA256={hashlib.sha256(body).hexdigest()}"
    signature = RequestValidator("12345").compute_signature(BASE + path, {})
    kind = "application/json"
    assert valid(posted(signature, body, path=path, kind=kind), BASE, "12345")
    assert RequestValidator("12345").validate(BASE + path, body.decode(), signature)
    assert not valid(posted(signature, b'{"a": 2}', path=path, kind=kind), BASE, "12345")
    unhashed = RequestValidator("12345").compute_signature(f"{BASE}/voice", {})
    assert not valid(posted(unhashed, body, path="/voice", kind=kind), BASE, "12345")


# -- the other opinion ---------------------------------------------------------------------------------------

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(
    fields=st.dictionaries(_text.filter(bool), st.lists(_text, min_size=1, max_size=3), max_size=6),
    token=_text.filter(bool),
    algorithm=st.sampled_from(["HMAC_SHA1", "HMAC_SHA256"]),
    port=st.sampled_from(["", ":443", ":8443"]),
)
def test_we_agree_with_the_official_library(
    fields: dict[str, list[str]], token: str, algorithm: str, port: str
) -> None:
    pairs = [(name, value) for name, values in fields.items() for value in values]
    request = posted(
        "", urlencode(pairs).encode(), settings="" if algorithm == "HMAC_SHA1" else f"algorithm={algorithm}"
    )
    assert sorted(form_of(request)) == sorted(pairs)
    base = f"https://example.com{port}"
    request.headers = {
        **request.headers,
        "x-twilio-signature": RequestValidator(token).compute_signature(base + PATH, _Many(fields), algorithm),
    }
    assert valid(request, base, token)
    assert not valid(request, base, token + "x")


class _Many(dict):  # type: ignore[type-arg]
    """As web frameworks hand on fields that are there more than once."""

    def getlist(self, name: str) -> list[str]:
        return list(self[name])
