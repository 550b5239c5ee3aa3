"""ARI's JSON, good and bad, against the values it becomes."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_engine.protocol.ari import (
    ApplicationReplaced,
    AriEvent,
    Bridge,
    Channel,
    ChannelDestroyed,
    ChannelDtmfReceived,
    ChannelHangupRequest,
    ChannelHold,
    ChannelStateChange,
    ChannelUnhold,
    PlaybackFinished,
    PlaybackStarted,
    StasisEnd,
    StasisStart,
    is_wideband,
    parse_arguments,
    parse_bridge,
    parse_channel,
    parse_channel_variables,
    parse_event,
)

# As Asterisk 22.10.1 sent it.
CHANNEL = {
    "id": "1763676508.12",
    "name": "PJSIP/1000-00000003",
    "state": "Up",
    "protocol_id": "5e1f",
    "caller": {"name": "Ada", "number": "1000"},
    "connected": {"name": "", "number": ""},
    "accountcode": "",
    "dialplan": {
        "context": "offhook",
        "exten": "100",
        "priority": 3,
        "app_name": "Stasis",
        "app_data": "asterisk-ai-voice-agent,agent=reception,vip",
    },
    "creationtime": "2026-11-20T22:28:28.196+0000",
    "language": "en",
}
PLAYBACK = {
    "id": "p1",
    "media_uri": "sound:/tmp/x",
    "target_uri": "channel:1763676508.12",
    "language": "en",
    "state": "done",
}
ADA = Channel(
    "1763676508.12",
    "PJSIP/1000-00000003",
    "Up",
    "1000",
    "100",
    "Stasis",
    "asterisk-ai-voice-agent,agent=reception,vip",
)


@pytest.mark.parametrize(
    ("message", "event"),
    [
        (
            {"type": "StasisStart", "args": ["agent=reception", "vip"], "channel": CHANNEL},
            StasisStart(ADA.id, ADA, ("agent=reception", "vip")),
        ),
        ({"type": "StasisEnd", "channel": CHANNEL}, StasisEnd(ADA.id)),
        ({"type": "ChannelHangupRequest", "channel": CHANNEL, "cause": 17}, ChannelHangupRequest(ADA.id, 17)),
        ({"type": "ChannelHangupRequest", "channel": CHANNEL}, ChannelHangupRequest(ADA.id, 0)),
        ({"type": "ChannelDestroyed", "channel": CHANNEL, "cause": 16}, ChannelDestroyed(ADA.id, 16)),
        (
            {"type": "ChannelDestroyed", "channel": CHANNEL, "cause": 17, "cause_txt": "User busy", "tech_cause": 486},
            ChannelDestroyed(ADA.id, 17, "User busy", 486),
        ),
        (
            {"type": "ChannelDestroyed", "channel": CHANNEL, "cause": 17, "cause_txt": None, "tech_cause": "486"},
            ChannelDestroyed(ADA.id, 17),
        ),
        (
            {"type": "ChannelHangupRequest", "channel": CHANNEL, "cause": 32, "soft": True},
            ChannelHangupRequest(ADA.id, 32, soft=True),
        ),
        (
            {"type": "ChannelStateChange", "channel": {**CHANNEL, "state": "Ringing"}},
            ChannelStateChange(ADA.id, "Ringing"),
        ),
        (
            {"type": "ChannelDtmfReceived", "channel": CHANNEL, "digit": "#", "duration_ms": 100},
            ChannelDtmfReceived(ADA.id, "#"),
        ),
        ({"type": "ChannelHold", "channel": CHANNEL, "musicclass": "default"}, ChannelHold(ADA.id)),
        ({"type": "ChannelUnhold", "channel": CHANNEL}, ChannelUnhold(ADA.id)),
        ({"type": "PlaybackStarted", "playback": {**PLAYBACK, "state": "playing"}}, PlaybackStarted(ADA.id, "p1")),
        ({"type": "PlaybackFinished", "playback": PLAYBACK}, PlaybackFinished(ADA.id, "p1")),
        (
            {"type": "PlaybackFinished", "playback": {**PLAYBACK, "state": "failed"}},
            PlaybackFinished(ADA.id, "p1", failed=True),
        ),
        (
            {"type": "PlaybackFinished", "playback": {**PLAYBACK, "target_uri": "channel:Local/7:x"}},
            PlaybackFinished("Local/7:x", "p1"),
        ),
        ({"type": "PlaybackFinished", "playback": {**PLAYBACK, "target_uri": "bridge:b"}}, None),
        ({"type": "PlaybackContinuing", "playback": PLAYBACK}, None),
        ({"type": "ApplicationReplaced", "application": "ai"}, ApplicationReplaced("ai")),
        ({"type": "ChannelVarset", "channel": CHANNEL, "variable": "X", "value": "1"}, None),
        ({"type": "AnEventOfTheFuture"}, None),
    ],
)
def test_event_is_read(message: dict[str, object], event: AriEvent | None) -> None:
    assert parse_event(message) == event


@pytest.mark.parametrize(
    "message",
    [
        None,
        [],
        "StasisEnd",
        {},
        {"type": 7},
        {"type": "StasisEnd"},
        {"type": "StasisEnd", "channel": "c"},
        {"type": "StasisEnd", "channel": {"id": 5}},
        {"type": "StasisStart", "channel": CHANNEL, "args": "agent=x"},
        {"type": "StasisStart", "channel": CHANNEL, "args": [1]},
        {"type": "ChannelDestroyed", "channel": CHANNEL, "cause": "busy"},
        {"type": "ChannelDtmfReceived", "channel": CHANNEL},
        {"type": "StasisEnd", "channel": {"id": "c", "caller": None}},
        {"type": "PlaybackFinished"},
        {"type": "PlaybackFinished", "playback": {"id": "p"}},
        {"type": "PlaybackStarted", "playback": {"id": 1, "target_uri": "channel:c"}},
        {"type": "PlaybackFinished", "playback": {"id": "p", "target_uri": "channel:c", "state": 7}},
    ],
)
def test_what_is_no_event_is_refused(message: object) -> None:
    with pytest.raises(ValueError, match="must be|expected"):
        parse_event(message)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    kind=st.sampled_from(["StasisStart", "StasisEnd", "ChannelDestroyed", "ChannelDtmfReceived", "PlaybackFinished"]),
    channel=JSON,
    args=JSON,
    cause=JSON,
    digit=JSON,
)
def test_any_json_is_an_event_or_a_value_error(
    kind: str, channel: object, args: object, cause: object, digit: object
) -> None:
    message = {"type": kind, "channel": channel, "playback": channel, "args": args, "cause": cause, "digit": digit}
    with suppress(ValueError):
        assert isinstance(parse_event(message), AriEvent)


def test_arguments_are_known_by_key() -> None:
    args = ("agent=reception", " did = 100", "vip", "formula=a=b", "", "=x")
    assert parse_arguments(args) == {"agent": "reception", "did": "100", "vip": "", "formula": "a=b"}


def test_arguments_of_a_missed_start_are_read_from_the_dialplan() -> None:
    assert parse_channel(CHANNEL).stasis_args == ("agent=reception", "vip")


def test_a_channel_outside_stasis_has_no_arguments() -> None:
    assert Channel("c", application="Dial", application_data="PJSIP/1,30").stasis_args == ()


def test_a_bare_channel_is_enough() -> None:
    assert parse_channel({"id": "c"}) == Channel("c")


def test_variables_of_a_channel_are_read() -> None:
    assert parse_channel_variables({**CHANNEL, "channelvars": {"A": "1"}}) == {"A": "1"}
    assert parse_channel_variables(CHANNEL) == {}
    with pytest.raises(ValueError, match="must be text"):
        parse_channel_variables({"channelvars": {"A": 1}})


@pytest.mark.parametrize(
    "formats",
    ["(g722)", "(g722|ulaw)", "slin16", "(slin48)", "(opus)", "(silk16)", "(speex32)", "(siren7)", "(slin192)"],
)
def test_wideband_formats(formats: str) -> None:
    assert is_wideband(formats)


@pytest.mark.parametrize(
    "formats",
    ["", "(nothing)", "(ulaw)", "(ulaw|g722)", "(slin)", "(silk8)", "(speex)", "(gsm)", "(g729)", "(g726)", "(slin8x)"],
)
def test_formats_of_the_old_telephone_and_unknown_ones(formats: str) -> None:
    assert not is_wideband(formats)


def test_bridge_is_read() -> None:
    assert parse_bridge({"id": "b", "name": "app", "channels": []}) == Bridge("b", "app")
