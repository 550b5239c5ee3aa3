"""The record keeps what the caller heard."""

import pytest

from local_ai_server.record import Record


def spoken_record() -> Record:
    record = Record([("caller", "before")])
    record.caller_said("hello")
    reply = record.agent_begins(7)
    reply.begin("One two three four.")
    reply.sounded(500)
    reply.sounded(500)
    reply.begin("Five six.")
    reply.sounded(1000)
    return record


@pytest.mark.parametrize(
    ("heard_ms", "text"),
    [
        (0, None),
        (249, None),
        (250, "One"),
        (999, "One two three"),
        (1000, "One two three four."),
        (1500, "One two three four. Five"),
        (9000, "One two three four. Five six."),
    ],
)
def test_a_cut_reply_keeps_the_words_that_were_heard(heard_ms: float, text: str | None) -> None:
    record = spoken_record()
    record.cut(7, heard_ms)
    agent = [] if text is None else [("agent", text)]
    assert list(record.entries) == [("caller", "before"), ("caller", "hello"), *agent]


def test_an_uncut_reply_is_kept_whole() -> None:
    assert spoken_record().entries[-1] == ("agent", "One two three four. Five six.")


def test_an_unknown_reply_cuts_nothing() -> None:
    record = spoken_record()
    before = record.entries
    record.cut(8, 0)
    assert record.entries == before


def test_a_clause_that_made_no_sound_counts_as_heard_with_what_came_before() -> None:
    record = spoken_record()
    reply = record.agent_begins(9)
    reply.begin("Well.")
    reply.sounded(500)
    reply.begin("...")
    record.cut(9, 500)
    assert record.entries[-1] == ("agent", "Well. ...")


def test_nothing_is_heard_of_a_clause_before_its_sound() -> None:
    record = Record()
    record.agent_begins(1).begin("One two three four.")
    record.cut(1, 0)
    assert record.entries == ()
