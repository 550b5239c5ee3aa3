"""The part of Asterisk's REST Interface that we read, as values: resources and events."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# -- resources --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Channel:
    """A channel as Asterisk describes it."""

    id: str
    name: str = ""
    """``TECHNOLOGY/name-number``, as in ``core show channels``."""
    state: str = ""
    caller_number: str = ""
    dialled: str = ""
    """The extension the channel was in when it was described."""
    application: str = ""
    """The dialplan application that runs, e.g. ``Stasis``."""
    application_data: str = ""
    """Its arguments as the dialplan gave them, with commas between."""

    @property
    def stasis_args(self) -> tuple[str, ...]:
        """What a ``StasisStart`` of this channel said, for when that event was missed."""
        return tuple(self.application_data.split(",")[1:]) if self.application == "Stasis" else ()


@dataclass(frozen=True, slots=True)
class Bridge:
    """A bridge as Asterisk describes it."""

    id: str
    name: str = ""


def parse_channel(data: Mapping[str, Any]) -> Channel:
    """Raises ValueError when ``data`` is not a channel."""
    dialplan = _mapping(data.get("dialplan", {}))
    return Channel(
        id=_text(data, "id"),
        name=_text(data, "name", ""),
        state=_text(data, "state", ""),
        caller_number=_text(_mapping(data.get("caller", {})), "number", ""),
        dialled=_text(dialplan, "exten", ""),
        application=_text(dialplan, "app_name", ""),
        application_data=_text(dialplan, "app_data", ""),
    )


def parse_bridge(data: Mapping[str, Any]) -> Bridge:
    """Raises ValueError when ``data`` is not a bridge."""
    return Bridge(_text(data, "id"), _text(data, "name", ""))


def parse_channel_variables(data: Mapping[str, Any]) -> dict[str, str]:
    """What the description of a channel says of its variables; raises ValueError when that is no object of texts."""
    variables = _mapping(data.get("channelvars", {}))
    return {name: _text(variables, name) for name in variables}


def is_wideband(formats: str) -> bool:
    """Whether the first of a channel's formats, as ``CHANNEL(audionativeformat)`` lists them, carries above 4 kHz."""
    return _WIDEBAND.fullmatch(formats.strip("() ").split("|")[0]) is not None


_WIDEBAND = re.compile(r"g722|g719|opus|celt|amrwb|siren\d+|slin(12|16|24|32|44|48|96|192)|silk(12|16|24)|speex(16|32)")


def parse_arguments(args: Iterable[str]) -> dict[str, str]:
    """``key=value`` arguments of ``Stasis()`` by key; a bare word is a key with an empty value."""
    pairs = (arg.partition("=") for arg in args)
    return {key.strip(): value.strip() for key, _, value in pairs if key.strip()}


# -- events -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AriEvent:
    """Base of the events we act on."""


@dataclass(frozen=True, slots=True)
class ApplicationReplaced(AriEvent):
    """Somebody else connected under our application's name; no event will come here any more."""

    application: str


@dataclass(frozen=True, slots=True)
class ChannelEvent(AriEvent):
    """Base of the events that concern one channel."""

    channel_id: str


@dataclass(frozen=True, slots=True)
class StasisStart(ChannelEvent):
    """A channel entered our application."""

    channel: Channel
    args: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class StasisEnd(ChannelEvent):
    """A channel left our application; it may live on in the dialplan."""


@dataclass(frozen=True, slots=True)
class ChannelHangupRequest(ChannelEvent):
    """A side wants the channel to end; ``cause`` is Q.850, 0 when none was given."""

    cause: int = 0
    soft: bool = False
    """Asterisk itself, or a request of ours, wants it; else the far end."""


@dataclass(frozen=True, slots=True)
class ChannelDestroyed(ChannelEvent):
    """The channel is no more; ``cause`` is Q.850, 0 when none was given."""

    cause: int = 0
    cause_txt: str = ""
    tech_cause: int = 0
    """The SIP status; 0 where there is none, and from an Asterisk that does not tell yet."""


@dataclass(frozen=True, slots=True)
class ChannelStateChange(ChannelEvent):
    """``Ringing``, ``Up`` …, as ``Channel.state``."""

    state: str


@dataclass(frozen=True, slots=True)
class Dial(ChannelEvent):
    """An attempt to call the channel got further."""

    status: str
    """``RINGING``, ``ANSWER``, ``BUSY``, ``NOANSWER`` …; empty at the beginning."""


@dataclass(frozen=True, slots=True)
class ChannelDtmfReceived(ChannelEvent):
    """A key was pressed and released."""

    digit: str


@dataclass(frozen=True, slots=True)
class ChannelHold(ChannelEvent):
    """The far end put us on hold."""


@dataclass(frozen=True, slots=True)
class ChannelUnhold(ChannelEvent):
    """The far end is back from hold."""


@dataclass(frozen=True, slots=True)
class PlaybackStarted(ChannelEvent):
    """A file began to play on the channel, or goes on after a pause."""

    playback_id: str


@dataclass(frozen=True, slots=True)
class PlaybackFinished(ChannelEvent):
    """A file is over on the channel: played, stopped, or (``failed``) not playable, or cut by the channel's end."""

    playback_id: str
    failed: bool = False


def parse_event(message: object) -> AriEvent | None:
    """The event in one decoded message of the event socket, or None if it is of a type we do not act on.

    Raises ValueError when the message is not an event, or lacks what an event of its type must have.
    """
    data = _mapping(message)
    kind = _text(data, "type")
    match kind:
        case "ApplicationReplaced":
            return ApplicationReplaced(_text(data, "application", ""))
        case "PlaybackStarted" | "PlaybackFinished":
            return _playback_event(kind, _mapping(data.get("playback")))
        case "Dial":
            return Dial(_text(_mapping(data.get("peer")), "id"), _text(data, "dialstatus", ""))
        case _ if kind in _CHANNEL_EVENTS:
            return _channel_event(kind, data)
    return None


def _channel_event(kind: str, data: Mapping[str, Any]) -> ChannelEvent:
    channel = parse_channel(_mapping(data.get("channel")))
    match kind:
        case "StasisStart":
            return StasisStart(channel.id, channel, _texts(data.get("args", [])))
        case "StasisEnd":
            return StasisEnd(channel.id)
        case "ChannelHangupRequest":
            return ChannelHangupRequest(channel.id, _number(data, "cause"), data.get("soft") is True)
        case "ChannelDestroyed":
            return _destroyed(channel.id, data)
        case "ChannelStateChange":
            return ChannelStateChange(channel.id, channel.state)
        case "ChannelHold":
            return ChannelHold(channel.id)
        case "ChannelUnhold":
            return ChannelUnhold(channel.id)
        case _:
            return ChannelDtmfReceived(channel.id, _text(data, "digit"))


def _destroyed(channel_id: str, data: Mapping[str, Any]) -> ChannelDestroyed:
    # Not every Asterisk says more than the cause, and that a channel is gone must not be missed for that.
    text, tech_cause = data.get("cause_txt"), data.get("tech_cause")
    return ChannelDestroyed(
        channel_id,
        _number(data, "cause"),
        text if isinstance(text, str) else "",
        tech_cause if isinstance(tech_cause, int) else 0,
    )


_CHANNEL_EVENTS = frozenset(
    {
        "StasisStart",
        "StasisEnd",
        "ChannelHangupRequest",
        "ChannelDestroyed",
        "ChannelStateChange",
        "ChannelDtmfReceived",
        "ChannelHold",
        "ChannelUnhold",
    }
)


def _playback_event(kind: str, playback: Mapping[str, Any]) -> ChannelEvent | None:
    where, _, channel_id = _text(playback, "target_uri").partition(":")
    if where != "channel":
        return None
    playback_id = _text(playback, "id")
    if kind == "PlaybackStarted":
        return PlaybackStarted(channel_id, playback_id)
    return PlaybackFinished(channel_id, playback_id, failed=_text(playback, "state", "") == "failed")


# -- reading JSON that may be anything ----------------------------------------------------------------------


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"expected an object, got {type(value).__name__}")
    return value


def _text(data: Mapping[str, Any], key: str, default: str | None = None) -> str:
    value = data.get(key, default)
    if not isinstance(value, str):
        raise ValueError(f"{key!r} must be text")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError("expected a list of texts")
    return tuple(value)


def _number(data: Mapping[str, Any], key: str) -> int:
    value = data.get(key, 0)
    if not isinstance(value, int):
        raise ValueError(f"{key!r} must be a number")
    return value
