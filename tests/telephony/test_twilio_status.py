"""Twilio's words as ours."""

import pytest

from ai_engine.jobs.status import Progress, Status
from ai_engine.telephony.twilio_status import progress_of


@pytest.mark.parametrize(
    ("word", "status"),
    [
        ("queued", Status.DIALING),
        ("initiated", Status.DIALING),
        ("ringing", Status.DIALING),
        ("in-progress", Status.IN_PROGRESS),
        ("answered", Status.IN_PROGRESS),
        ("completed", Status.COMPLETED),
        ("busy", Status.BUSY),
        ("no-answer", Status.NO_ANSWER),
        ("no_answer", Status.NO_ANSWER),
        ("failed", Status.FAILED),
        ("canceled", Status.CANCELED),
    ],
)
def test_words(word: str, status: Status) -> None:
    news = progress_of({"CallStatus": word, "CallSid": "CA1", "SequenceNumber": "3"})
    assert news is not None
    assert (news.status, news.provider_call_id, news.sequence, news.answered_by) == (status, "CA1", 3, "")


@pytest.mark.parametrize("word", ["", "exploded", "COMPLETED?", "machine"])
def test_words_we_do_not_know_end_nothing(word: str) -> None:
    assert progress_of({"CallStatus": word, "CallSid": "CA1"}) is None
    assert progress_of({"CallStatus": word, "AnsweredBy": "unknown"}) is None


def test_an_unknown_word_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    progress_of({"CallStatus": "exploded"})
    assert "exploded" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "who"),
    [
        ("human", "human"),
        ("machine_start", "machine"),
        ("machine_end_beep", "machine"),
        ("machine_end_silence", "machine"),
        ("machine_end_other", "machine"),
        ("fax", "machine"),
    ],
)
def test_who_answered_comes_by_itself_or_with_other_news(word: str, who: str) -> None:
    assert progress_of({"CallSid": "CA1", "AnsweredBy": word}) == Progress(Status.IN_PROGRESS, "CA1", answered_by=who)
    news = progress_of({"CallSid": "CA1", "CallStatus": "completed", "AnsweredBy": word})
    assert news is not None
    assert (news.status, news.answered_by) == (Status.COMPLETED, who)


def test_an_unknown_status_is_not_made_up_for_by_who_answered() -> None:
    assert progress_of({"CallStatus": "exploded", "AnsweredBy": "human"}) is None


@pytest.mark.parametrize("number", ["", "x", "-1", "1.5", "9" * 30, "٣"])
def test_numbers_that_are_none(number: str) -> None:
    news = progress_of({"CallStatus": "ringing", "SequenceNumber": number})
    assert news is not None
    assert news.sequence is None


@pytest.mark.parametrize(
    ("sip", "retryable", "reason"),
    [
        ("404", False, "Twilio says failed, SIP 404"),
        ("484", False, "Twilio says failed, SIP 484"),
        ("503", True, "Twilio says failed, SIP 503"),
        ("", True, "Twilio says failed"),
        ("<script>", True, "Twilio says failed"),
    ],
)
def test_why_a_call_failed(sip: str, retryable: bool, reason: str) -> None:
    news = progress_of({"CallStatus": "failed", "SipResponseCode": sip})
    assert news is not None
    assert (news.retryable, news.reason) == (retryable, reason)


def test_twilios_own_error_is_told() -> None:
    news = progress_of({"CallStatus": "failed", "ErrorCode": "13224", "ErrorMessage": "invalid number"})
    assert news is not None
    assert news.reason == "Twilio says failed, error 13224 invalid number"
