"""Why Asterisk says that a call ended, as our status: a table."""

from collections.abc import Mapping

from ai_engine.jobs.dialing import Ended
from ai_engine.jobs.status import HANDED_OVER, Progress, Status

_PHRASES = {
    401: "Unauthorized",
    402: "Payment Required",
    403: "Forbidden",
    404: "Not Found",
    407: "Proxy Authentication Required",
    408: "Request Timeout",
    410: "Gone",
    480: "Temporarily Unavailable",
    484: "Address Incomplete",
    485: "Ambiguous",
    486: "Busy Here",
    488: "Not Acceptable Here",
    500: "Server Internal Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Server Time-out",
    600: "Busy Everywhere",
    603: "Decline",
    604: "Does Not Exist Anywhere",
    606: "Not Acceptable",
}

_Meaning = tuple[Status, str, bool]
"""Status, what it is called before the network's own words, and whether dialling again may help."""

_BUSY = (Status.BUSY, "", True)
_NO_ANSWER = (Status.NO_ANSWER, "", True)
_NO_SUCH_NUMBER = (Status.FAILED, "no such number", False)
_REJECTED = (Status.FAILED, "rejected", True)
_CONGESTION = (Status.FAILED, "congestion", True)
_NO_CODEC = (Status.FAILED, "no codec in common", False)

_BY_SIP: dict[int, _Meaning] = {
    **dict.fromkeys((486, 600), _BUSY),
    # A person who declines can be reached, and does not want to be now.
    603: (Status.BUSY, "rejected", True),
    **dict.fromkeys((408, 480), _NO_ANSWER),
    **dict.fromkeys((401, 402, 403, 407), _REJECTED),
    **dict.fromkeys((404, 410, 484, 485, 604), _NO_SUCH_NUMBER),
    **dict.fromkeys(range(500, 600), _CONGESTION),
    **dict.fromkeys((488, 606), _NO_CODEC),
}

_BY_CAUSE: dict[int, _Meaning] = {
    17: _BUSY,
    **dict.fromkeys((18, 19), _NO_ANSWER),
    21: _REJECTED,
    **dict.fromkeys((1, 22, 28), _NO_SUCH_NUMBER),
    **dict.fromkeys((34, 38, 41, 42), _CONGESTION),
    58: _NO_CODEC,
}
"""Q.850, for channels that are not SIP's, and for an Asterisk that does not tell the SIP status."""


def progress_of(ended: Ended) -> Progress:
    """What an attempt came to."""
    if ended.answered:
        return Progress(Status.COMPLETED, reason=HANDED_OVER if ended.to_human else "", answered_by=ended.answered_by)
    if ended.answered_by == "machine":
        return Progress(Status.NO_ANSWER, reason="an answering machine answered", answered_by="machine")
    if ended.our_hangup:
        return Progress(Status.CANCELED, reason="we hung up before anybody answered")
    if not ended.cause and not ended.tech_cause:
        return Progress(Status.FAILED, reason="lost: it ended while nobody could tell us how")
    if not ended.rang and not ended.refused:
        return Progress(Status.FAILED, reason="unreachable: no reply")
    if not ended.refused and ended.cause in (18, 19):
        return Progress(Status.NO_ANSWER, reason="it rang, and nobody answered")
    return _refusal(ended)


def ended_of(payload: Mapping[str, str]) -> Ended | None:
    """The end of a call in plain words: ``cause``, ``cause_txt`` and ``tech_cause`` as ARI's ChannelDestroyed has them,
    ``answered``, ``our_hangup``, ``rang``, ``refused`` (``true`` or not), ``answered_by``. None without a ``cause``."""
    cause, tech_cause = payload.get("cause", ""), payload.get("tech_cause", "") or "0"
    if not (_is_number(cause) and _is_number(tech_cause)):
        return None
    flags = {name: payload.get(name) == "true" for name in ("answered", "our_hangup", "rang")}
    return Ended(
        int(cause),
        payload.get("cause_txt", ""),
        int(tech_cause),
        refused=payload.get("refused", "true") == "true",
        answered_by=payload.get("answered_by", ""),
        **flags,
    )


def _refusal(ended: Ended) -> Progress:
    by_cause = _BY_CAUSE.get(ended.cause, (Status.FAILED, "", True))
    status, word, retryable = _BY_SIP.get(ended.tech_cause, by_cause)
    said = f"{ended.tech_cause} {_PHRASES.get(ended.tech_cause, ended.cause_txt)}" if ended.tech_cause else ""
    said = said.strip() or ended.cause_txt or f"cause {ended.cause}"
    return Progress(status, reason=f"{word}: {said}" if word else said, retryable=retryable)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4
