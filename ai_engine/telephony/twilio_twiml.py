"""What Twilio is told to do with a call that was answered: TwiML."""

from collections.abc import Mapping

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>'
_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;", "\n": "&#10;", "\t": "&#09;"}
)

HANG_UP = f"{_HEAD}<Response><Hangup /></Response>"


def connect_stream(url: str, parameters: Mapping[str, str]) -> str:
    """Connect the call with our media stream, both ways; ``parameters`` come with its ``start``.

    Queries of ``url`` do not. When we close the socket there is nothing more to do, and the call ends.
    """
    inside = "".join(f'<Parameter name="{_x(name)}" value="{_x(value)}" />' for name, value in parameters.items())
    return f'{_HEAD}<Response><Connect><Stream url="{_x(url)}">{inside}</Stream></Connect></Response>'


def connect_number(number: str, caller_id: str) -> str:
    """Connect the call with ``number``, which sees ``caller_id``; when either hangs up there is nothing more to do."""
    return f'{_HEAD}<Response><Dial callerId="{_x(caller_id)}">{_x(number)}</Dial></Response>'


def _x(text: str) -> str:
    """As the value of an attribute; what XML cannot hold is left out."""
    return "".join(c for c in text if _allowed(c)).translate(_ESCAPES)


def _allowed(c: str) -> bool:
    return c in "\t\n\r" or "\x20" <= c <= "\ud7ff" or "\ue000" <= c <= "\ufffd" or c >= "\U00010000"
