import configparser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.errors import ConfigError
from ai_engine.switchboard.settings import StudioSettings, Transports
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.pjsip import PjsipObject, conf_text, objects

SETTINGS = StudioSettings()
SECRET = "s3cr3t;of the trunk"


def number(**fields: Any) -> SipNumber:
    return SipNumber.model_validate({"number": "+14155550123", "address": "sip.example.com", **fields})


def by_kind(trunk: SipNumber, settings: StudioSettings = SETTINGS) -> dict[str, dict[str, str]]:
    return {each.kind: dict(each.fields) for each in objects(trunk, settings)}


TWILIO = number(address="offhook.pstn.twilio.com", username="u", password=SECRET, allowed_ips=["54.172.60.0/30"])
TELNYX = number(address="sip.telnyx.com", port=5061, transport="tls", srtp=True, username="u", password=SECRET)
EXOTEL = number(address="192.0.2.10", port=5070, transport="tcp", allowed_ips=["192.0.2.11", "198.51.100.0/24"])
REGISTERS = number(address="sip.example.com", username="4711", password=SECRET, registers=True)
IPV6 = number(address="2001:db8::5", port=5060, transport="tcp")


@pytest.mark.parametrize(
    ("trunk", "kinds", "contact", "match", "transport"),
    [
        (TWILIO, "auth aor endpoint identify", "sip:{0}", "{0},54.172.60.0/30", "transport-udp"),
        (TELNYX, "auth aor endpoint identify", "sip:{0}:5061;transport=tls", "{0}", "transport-tls"),
        (
            EXOTEL,
            "aor endpoint identify",
            "sip:{0}:5070;transport=tcp",
            "{0},192.0.2.11,198.51.100.0/24",
            "transport-tcp",
        ),
        (REGISTERS, "auth aor endpoint identify registration", "sip:{0}", "{0}", "transport-udp"),
        (IPV6, "aor endpoint identify", "sip:[{0}]:5060;transport=tcp", "{0}", "transport-tcp"),
    ],
)
def test_carriers(trunk: SipNumber, kinds: str, contact: str, match: str, transport: str) -> None:
    made = objects(trunk, SETTINGS)
    assert " ".join(each.kind for each in made) == kinds
    assert {each.id for each in made} == {"studio-14155550123"}
    found = by_kind(trunk)
    assert found["aor"]["contact"] == contact.format(trunk.address)
    assert found["identify"] == {"endpoint": trunk.object_id, "match": match.format(trunk.address)}
    endpoint = found["endpoint"]
    assert endpoint["transport"] == transport
    assert (endpoint["aors"], endpoint["context"]) == (trunk.object_id, "offhook-number")
    assert endpoint["from_domain"] == trunk.address
    assert endpoint["set_var"] == "OFFHOOK_NUMBER=+14155550123"
    assert endpoint.get("outbound_auth") == (trunk.object_id if trunk.username else None)
    assert endpoint.get("media_encryption") == ("sdes" if trunk.srtp else None)


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("port", [None, 5099])
@pytest.mark.parametrize("registers", [False, True])
def test_transport_port_and_registration_go_together(transport: str, port: int | None, registers: bool) -> None:
    trunk = number(transport=transport, port=port, registers=registers, username="u", password=SECRET)
    found = by_kind(trunk, StudioSettings(transports=Transports(udp="u", tcp="t", tls="s")))
    server = (
        "sip:sip.example.com" + (":5099" if port else "") + ("" if transport == "udp" else f";transport={transport}")
    )
    named = {"udp": "u", "tcp": "t", "tls": "s"}[transport]
    assert found["aor"]["contact"] == server
    assert found["endpoint"]["transport"] == named
    assert ("registration" in found) is registers
    if registers:
        registration = found["registration"]
        assert (registration["server_uri"], registration["transport"]) == (server, named)
        assert registration["client_uri"] == "sip:u@sip.example.com"
        assert registration["contact_user"] == "14155550123"
        assert (registration["line"], registration["endpoint"]) == ("yes", trunk.object_id)  # one needs the other
        assert registration["max_random_initial_delay"] == "0"


def test_who_calls_is_named_as_the_carrier_expects_it() -> None:
    assert by_kind(TWILIO)["endpoint"]["from_user"] == "+14155550123"
    assert by_kind(REGISTERS)["endpoint"]["from_user"] == "4711"
    odd = number(username="name@realm", password=SECRET, registers=True)
    assert by_kind(odd)["registration"]["client_uri"] == "sip:name%40realm@sip.example.com"
    assert by_kind(odd)["endpoint"]["from_user"] == "name%40realm"  # Asterisk refuses a bare @ here


def test_codecs_and_media_address_are_as_asked_for() -> None:
    trunk = number(codecs=["g722", "alaw"])
    assert by_kind(trunk)["endpoint"]["allow"] == "!all,g722,alaw"
    assert "media_address" not in by_kind(trunk)["endpoint"]
    endpoint = by_kind(trunk, StudioSettings(media_address="192.0.2.1"))["endpoint"]
    assert (endpoint["media_address"], endpoint["bind_rtp_to_media_address"]) == ("192.0.2.1", "yes")


def test_the_password_is_in_the_fields_of_auth_alone_and_in_no_repr() -> None:
    made = objects(REGISTERS, SETTINGS)
    assert SECRET not in repr(made)
    assert [each.kind for each in made if SECRET in dict(each.fields).values()] == ["auth"]


def test_the_file_has_a_section_for_each_object_in_its_order() -> None:
    text = conf_text(objects(REGISTERS, SETTINGS))
    types = [line.removeprefix("type = ") for line in text.splitlines() if line.startswith("type = ")]
    assert types == ["auth", "aor", "endpoint", "identify", "registration"]
    assert text.count("[studio-14155550123]\n") == 5
    assert r"password = s3cr3t\;of the trunk" in text.splitlines()


def as_asterisk_reads(line: str) -> str:
    """``process_text_line`` of Asterisk's main/config.c: an unescaped semicolon begins a comment."""
    kept = ""
    for position, char in enumerate(line):
        if char == ";":
            if position == 0 or line[position - 1] != "\\":
                break
            kept = kept[:-1]
        kept += char
    return kept.split("=", 1)[1].strip()


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=60).map(str.strip).filter(len))
def test_any_password_is_one_line_and_comes_out_as_it_was(password: str) -> None:
    text = conf_text(objects(number(username="u", password=password), SETTINGS))
    lines = [line for line in text.split("\n") if line.startswith("password = ")]
    assert [as_asterisk_reads(line) for line in lines] == [password]
    parser = configparser.RawConfigParser(strict=False, comment_prefixes=(), delimiters="=", interpolation=None)
    parser.read_string(text)
    assert parser.sections() == ["studio-14155550123"]


@pytest.mark.parametrize(
    "password", ["a\nb", "a\r\ntype = endpoint", "a\x00", "a\x7f", " geheim", "geheim ", "x" * 5000, "ü" * 2500]
)
def test_a_password_that_asterisk_cannot_be_told_is_refused_and_not_told(password: str) -> None:
    with pytest.raises(ConfigError, match=r"\+14155550123: Asterisk cannot be told this password") as caught:
        objects(number(username="u", password=password), SETTINGS)
    assert password not in str(caught.value)


@pytest.mark.parametrize("field", [("contact", "sip:a\n[general]"), ("con tact", "x"), ("contact\n", "x"), ("a", " x")])
def test_nothing_breaks_out_of_its_line(field: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="no line of pjsip.conf"):
        conf_text([PjsipObject("aor", "studio-1", (field,))])


@given(
    st.fixed_dictionaries(
        {"username": st.text(max_size=20), "password": st.text(max_size=20), "address": st.text(max_size=20)}
    )
)
def test_whatever_is_imported_stays_within_its_sections(fields: dict[str, str]) -> None:
    try:
        text = conf_text(objects(number(**fields), SETTINGS))
    except (ValueError, ConfigError):
        return
    headers = {line for line in text.split("\n") if line.startswith("[")}
    assert headers == {"[studio-14155550123]"}
    assert not [line for line in text.split("\n") if line.startswith("#")]
