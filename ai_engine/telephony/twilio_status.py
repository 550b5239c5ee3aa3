"""Twilio's words for how far a call has come, as ours."""

from collections.abc import Mapping

import structlog

from ai_engine.jobs.status import Progress, Status, normal

_WORDS = {
    "queued": Status.DIALING,
    "initiated": Status.DIALING,
    "ringing": Status.DIALING,
    "answered": Status.IN_PROGRESS,
    "in_progress": Status.IN_PROGRESS,
    "completed": Status.COMPLETED,
    "busy": Status.BUSY,
    "no_answer": Status.NO_ANSWER,
    "failed": Status.FAILED,
    "canceled": Status.CANCELED,
}

_NO_SUCH_NUMBER = frozenset({"404", "410", "484", "604"})
"""SIP: dialling again does not make it exist."""

log = structlog.get_logger(__name__)


def progress_of(payload: Mapping[str, str]) -> Progress | None:
    """What a callback's fields (or a call's, under the same names) say; None for words that are no news, or none of
    those we know: they are logged, and end nothing."""
    word = normal(payload.get("CallStatus", ""))
    answered_by = answered_by_of(payload.get("AnsweredBy", ""))
    status = _WORDS.get(word)
    if status is None:
        if word:
            log.warning("Twilio has a status that we do not know", status=payload["CallStatus"][:40])
        # What answering machine detection finds comes by itself, and only of a call that was answered.
        status = Status.IN_PROGRESS if answered_by and not word else None
    if status is None:
        return None
    return Progress(
        status,
        payload.get("CallSid", ""),
        sequence=sequence_of(payload),
        reason=_reason(word, payload) if status.over and status is not Status.COMPLETED else "",
        retryable=not (status is Status.FAILED and _sip(payload) in _NO_SUCH_NUMBER),
        answered_by=answered_by,
    )


def sequence_of(payload: Mapping[str, str]) -> int | None:
    """``SequenceNumber``, from 0 for each call; None where there is none."""
    text = payload.get("SequenceNumber", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def answered_by_of(word: str) -> str:
    """``human``, ``machine``, or empty where Twilio does not know."""
    if word == "fax" or word.startswith("machine"):
        return "machine"
    return "human" if word == "human" else ""


def _reason(word: str, payload: Mapping[str, str]) -> str:
    parts = [f"Twilio says {word.replace('_', '-')}"]
    if sip := _sip(payload):
        parts.append(f"SIP {sip}")
    if code := payload.get("ErrorCode", ""):
        parts.append(f"error {code} {payload.get('ErrorMessage', '')}".strip()[:200])
    return ", ".join(parts)


def _sip(payload: Mapping[str, str]) -> str:
    code = payload.get("SipResponseCode", "")
    return code if code.isascii() and code.isdigit() and len(code) == 3 else ""
