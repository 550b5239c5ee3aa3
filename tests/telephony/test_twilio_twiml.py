"""TwiML, beside what the official library makes of the same."""

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.twiml.voice_response import Connect, Stream, VoiceResponse

from ai_engine.jobs.ports import Urls
from ai_engine.jobs.settings import Server
from ai_engine.telephony.twilio import TwilioTelephony
from ai_engine.telephony.twilio_twiml import HANG_UP, connect_number, connect_stream
from tests.telephony.twilio_parts import Door, attempt, settings

_xml = st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("\t\r\n"), min_size=1)


def official(url: str, parameters: dict[str, str]) -> str:
    stream = Stream(url=url)
    for name, value in parameters.items():
        stream.parameter(name=name, value=value)
    response, connect = VoiceResponse(), Connect()
    connect.append(stream)
    response.append(connect)
    return str(response)


@given(url=_xml, parameters=st.dictionaries(_xml, _xml, min_size=1, max_size=3))
def test_it_is_what_the_official_library_makes(url: str, parameters: dict[str, str]) -> None:
    if not {"\ufffe", "\uffff"} & set(url + "".join(parameters) + "".join(parameters.values())):
        assert connect_stream(url, parameters) == official(url, parameters)


@given(st.text())
def test_whatever_a_parameter_holds_it_is_xml(text: str) -> None:
    root = ElementTree.fromstring(connect_stream("wss://example.com/", {"callId": text}))
    parameter = root.find("Connect/Stream/Parameter")
    assert parameter is not None
    assert parameter.get("value") == "".join(filter(_in_xml, text))


def _in_xml(c: str) -> bool:
    return c in "\t\r\n" or (c >= " " and not "\ud800" <= c <= "\udfff" and c not in "\ufffe\uffff")


def test_hanging_up() -> None:
    response = VoiceResponse()
    response.hangup()
    assert str(response) == HANG_UP


def test_a_human() -> None:
    response = VoiceResponse()
    response.dial("+14155550199", caller_id="+15005550006")
    assert str(response) == connect_number("+14155550199", "+15005550006")


@pytest.mark.parametrize(
    ("public", "url"),
    [
        ("https://voice.example.com", "wss://voice.example.com/voice/stream"),
        ("https://example.com/calls/", "wss://example.com/calls/voice/stream"),
        ("http://127.0.0.1:4545", "ws://127.0.0.1:4545/voice/stream"),
    ],
)
def test_a_call_is_connected_with_our_stream(public: str, url: str) -> None:
    telephony = TwilioTelephony(settings(), Server(), Door())
    one = attempt()
    answer = telephony.build_voice_response(one, Urls("http://127.0.0.1:4545", public))
    assert answer == official(url, {"callId": one.call_id, "token": one.token})
