import re
from contextlib import suppress
from dataclasses import replace
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.protocol.sip import (
    Asker,
    Challenge,
    Request,
    Response,
    ResponseStream,
    authorization,
    challenge_of,
    parse_response,
    user_part,
)

ASKER = Asker("UDP", "192.0.2.1:5062", "sip:sip.example.com", "sip:4711@sip.example.com", "call-1", "tag-1")
REQUEST = Request(ASKER, "REGISTER", 2, "z9hG4bK1")
ANSWER = (
    b"SIP/2.0 200 OK\r\n"
    b"Via: SIP/2.0/UDP 192.0.2.1:5062;rport=4242;received=203.0.113.9;branch=z9hG4bK1\r\n"
    b"f: <sip:4711@sip.example.com>;tag=tag-1\r\n"
    b"CSeq: 2 REGISTER\r\n"
    b"Contact: <sip:a@b>\r\nContact: <sip:c@d>\r\n"
    b"Subject: on two\r\n  lines\r\n"
    b"l: 4\r\n\r\nbody"
)


def test_a_request_is_what_rfc_3261_asks_for() -> None:
    assert bytes(REQUEST).decode() == (
        "REGISTER sip:sip.example.com SIP/2.0\r\n"
        "Via: SIP/2.0/UDP 192.0.2.1:5062;rport;branch=z9hG4bK1\r\n"
        "Max-Forwards: 70\r\n"
        "From: <sip:4711@sip.example.com>;tag=tag-1\r\n"
        "To: <sip:4711@sip.example.com>\r\n"
        "Call-ID: call-1\r\n"
        "CSeq: 2 REGISTER\r\n"
        "User-Agent: Offhook\r\n"
        "Content-Length: 0\r\n\r\n"
    )
    options = bytes(Request(ASKER, "OPTIONS", 1, "z9hG4bK2", ("Authorization", "Digest x"))).decode()
    assert "\r\nTo: <sip:sip.example.com>\r\n" in options
    assert "\r\nAuthorization: Digest x\r\n" in options
    assert "Contact" not in options


def test_an_answer_is_read_with_compact_names_and_lines_that_go_on() -> None:
    answer = parse_response(ANSWER)
    assert (answer.status, answer.reason, answer.final) == (200, "OK", True)
    assert answer.all("contact") == ("<sip:a@b>", "<sip:c@d>")
    assert answer.header("from") == "<sip:4711@sip.example.com>;tag=tag-1"
    assert answer.header("subject") == "on two lines"
    assert answer.header("content-length") == "4"
    assert answer.header("nothing") == ""


def test_an_answer_belongs_to_one_request() -> None:
    answer = parse_response(ANSWER)
    assert REQUEST.is_answered_by(answer)
    assert not replace(REQUEST, branch="z9hG4bK2").is_answered_by(answer)
    assert not replace(REQUEST, number=3).is_answered_by(answer)
    assert not replace(REQUEST, method="OPTIONS").is_answered_by(answer)
    assert not REQUEST.is_answered_by(Response(200, "", ()))


@pytest.mark.parametrize(
    ("via", "seen"),
    [
        ("SIP/2.0/UDP 10.0.0.1:5060;rport=4242;received=203.0.113.9;branch=b", "203.0.113.9:4242"),
        ("SIP/2.0/UDP 10.0.0.1:5060;branch=b;rport=4242", "10.0.0.1:4242"),
        ("SIP/2.0/TCP [2001:db8::1]:5060;rport=7;received=2001:db8::2", "[2001:db8::2]:7"),
        ("SIP/2.0/TCP [2001:db8::1]:5060;rport=7", "[2001:db8::1]:7"),
        ("SIP/2.0/UDP 10.0.0.1:5060;rport;branch=b", ""),
        ("SIP/2.0/UDP 10.0.0.1:5060;branch=b, SIP/2.0/UDP 10.0.0.2;rport=1", ""),
        ("", ""),
    ],
)
def test_where_we_are_seen(via: str, seen: str) -> None:
    assert Response(200, "", (("via", via),)).seen_as == seen


@pytest.mark.parametrize(
    "data", [b"", b"\r\n\r\n", b"OPTIONS sip:a SIP/2.0\r\n\r\n", b"SIP/2.0 99 x", b"HTTP/1.1 200 OK"]
)
def test_what_is_no_answer_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="no answer of SIP"):
        parse_response(data)


@given(st.lists(st.integers(1, len(ANSWER) * 2)))
def test_a_stream_gives_the_same_answers_however_it_is_cut(cuts: list[int]) -> None:
    data = ANSWER + b"\r\n\r\n" + ANSWER
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    stream = ResponseStream()
    found = [answer for start, end in zip(edges, edges[1:], strict=False) for answer in stream.feed(data[start:end])]
    assert found == [parse_response(ANSWER)] * 2


@pytest.mark.parametrize(
    "data",
    [
        b"SIP/2.0 200 OK\r\nContent-Length: 99999999\r\n\r\n",
        b"SIP/2.0 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"SIP/2.0 200 OK\r\nContent-Length: many\r\n\r\n",
        b"x" * 70_000,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
    ],
)
def test_a_stream_of_something_else_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match="SIP|bytes"):
        ResponseStream().feed(data)


NAMES = [b"Via: SIP/2.0/UDP ", b"WWW-Authenticate: Digest ", b"Proxy-Authenticate: digest ", b"CSeq:", b" ", b"l:"]
VALUES = st.one_of(
    st.binary(max_size=40), st.text('nonce="\\,qop= authlgrimMD5;rported:[]', max_size=80).map(str.encode)
)
HEADS = st.sampled_from([b"SIP/2.0 401 ", b"SIP/2.0 407 x", b"SIP/2.0 200 \xff"])
LINES = st.lists(st.tuples(st.sampled_from(NAMES), VALUES).map(b"".join), max_size=6)
HOSTILE = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda head, lines: b"\r\n".join((head, *lines, b"", b"")), HEADS, LINES),
)


@given(HOSTILE)
def test_hostile_bytes_are_an_answer_or_a_value_error(data: bytes) -> None:
    with suppress(ValueError):
        answer = parse_response(data)
        assert isinstance(answer.seen_as, str)
        assert not REQUEST.is_answered_by(answer) or b"z9hG4bK1" in data
        if challenge := challenge_of(answer):
            name, value = authorization(challenge, "OPTIONS", "sip:a", username="u", password="geheim", cnonce="c")
            proved = Request(ASKER, "OPTIONS", 2, "b", (name, value))
            assert b"geheim" not in bytes(proved).replace(data, b"")
            assert "\n" not in value
    with suppress(ValueError):
        ResponseStream().feed(data)


@pytest.mark.parametrize(
    "text", ["a" * 60_000, 'a="\\"' * 15_000, "a=" * 30_000, " " * 60_000, "a " * 30_000, ";" * 60_000]
)
def test_an_answer_made_to_cost_time_costs_none(text: str) -> None:
    began = process_time()
    lines = "\r\n".join(["SIP/2.0 401 x", f"Via: {text}", f"WWW-Authenticate: Digest {text}", f"CSeq: {text}", "", ""])
    answer = parse_response(lines.encode())
    assert answer.seen_as == ""
    assert not REQUEST.is_answered_by(answer)
    with suppress(ValueError):
        challenge_of(answer)
    assert process_time() - began < 0.5


def challenge(text: str, status: int = 401) -> Challenge | None:
    name = "proxy-authenticate" if status == 407 else "www-authenticate"
    return challenge_of(Response(status, "", ((name, text),)))


def fields_of(value: str) -> dict[str, str]:
    return {name: text.strip('"') for name, text in re.findall(r'(\w+)=("[^"]*"|[^ ,]+)', value)}


def test_digest_md5_as_in_rfc_2617() -> None:
    """Section 3.5's example, which has no colleague for SIP."""
    asked = challenge(
        'Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",'
        ' opaque="5ccc069c403ebaf9f0171e9517f40e41"'
    )
    assert asked is not None
    name, value = authorization(
        asked, "GET", "/dir/index.html", username="Mufasa", password="Circle Of Life", cnonce="0a4f113b"
    )
    assert name == "Authorization"
    fields = fields_of(value)
    assert fields["response"] == "6629fae49393a05397450978507c4ef1"
    assert (fields["qop"], fields["nc"], fields["opaque"]) == ("auth", "00000001", "5ccc069c403ebaf9f0171e9517f40e41")


def test_digest_sha_256_as_in_rfc_7616() -> None:
    asked = challenge(
        'Digest realm="http-auth@example.org", qop="auth", algorithm=SHA-256,'
        ' nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"',
        407,
    )
    assert asked is not None
    name, value = authorization(
        asked,
        "GET",
        "/dir/index.html",
        username="Mufasa",
        password="Circle of Life",
        cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    )
    assert name == "Proxy-Authorization"
    assert fields_of(value)["response"] == "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"


def test_digest_without_qop_as_in_rfc_2069() -> None:
    """With the correction of its erratum 749."""
    asked = challenge('Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"')
    assert asked is not None
    _, value = authorization(asked, "GET", "/dir/index.html", username="Mufasa", password="CircleOfLife", cnonce="c")
    fields = fields_of(value)
    assert fields["response"] == "1949323746fe6a43ef61f9606e7febea"
    assert "nc" not in fields


def test_the_first_challenge_that_can_be_met_is_taken() -> None:
    answer = Response(
        401,
        "",
        (
            ("www-authenticate", 'Digest realm="a", nonce="1", algorithm=SHA-512-256'),
            ("www-authenticate", 'Digest realm="b", nonce="2", algorithm=SHA-256, qop="auth", stale=TRUE'),
            ("www-authenticate", 'Digest realm="c", nonce="3"'),
        ),
    )
    taken = challenge_of(answer)
    assert taken == Challenge("b", "2", "SHA-256", qop=True, opaque=None, stale=True, proxy=False)
    assert challenge_of(Response(401, "", ())) is None
    for text in ('Basic realm="a"', 'Digest realm="a"', 'Digest nonce="1", qop="auth-int"', 'AKA nonce="1"'):
        with pytest.raises(ValueError, match="neither digest MD5 nor SHA-256"):
            challenge(text)


def test_what_is_quoted_stays_within_its_quotes() -> None:
    asked = challenge(r'Digest realm="a \"b\" \\", nonce="n"')
    assert asked is not None
    assert asked.realm == 'a "b" \\'
    _, value = authorization(asked, "OPTIONS", "sip:a", username='u", realm="x', password="p", cnonce="c")
    assert r'username="u\", realm=\"x", realm="a \"b\" \\"' in value


def test_a_user_of_a_uri_is_escaped() -> None:
    assert user_part("+14155550123") == "+14155550123"
    assert user_part("name@realm>;x ü") == "name%40realm%3E%3Bx%20%C3%BC"
