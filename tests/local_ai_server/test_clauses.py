"""Cutting replies into clauses, whatever the size of the tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_server.tts.clauses import ClauseSplitter


def split(text: str, size: int) -> list[str]:
    splitter = ClauseSplitter()
    clauses = [clause for i in range(0, len(text), size) for clause in splitter.feed(text[i : i + size])]
    return clauses + splitter.flush()


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("", []),
        ("   ", []),
        ("Hello.", ["Hello."]),
        ("Hello. How are you?", ["Hello.", "How are you?"]),
        ("Well, we are open, of course, at nine.", ["Well, we are open,", "of course, at nine."]),
        ("Yes! It costs 9.30 euros. Ask Mr. Smith.", ["Yes!", "It costs 9.30 euros.", "Ask Mr. Smith."]),
        ('He said: "Go." Then he went.', ['He said: "Go."', "Then he went."]),
        ("We open at 9 a.m. on Monday.", ["We open at 9 a.m. on Monday."]),
        ("Wait... what?", ["Wait...", "what?"]),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_clauses(text: str, clauses: list[str], size: int) -> None:
    assert split(text, size) == clauses


def test_the_first_clause_is_out_before_the_reply_is_complete() -> None:
    splitter = ClauseSplitter()
    out = [splitter.feed(word + " ") for word in ["We", "are", "open,", "from", "nine", "to", "five."]]
    assert out[:3] == [[], [], ["We are open,"]]


def test_no_clause_is_endless() -> None:
    clauses = split("word " * 100, 7)
    assert [len(clause.split()) for clause in clauses] == [30, 30, 30, 10]


@given(st.lists(st.sampled_from([*"ab.,;?!", " ", " ", "Mr", "word "]), max_size=60), st.integers(1, 9))
def test_no_word_is_lost_and_token_size_does_not_matter(pieces: list[str], size: int) -> None:
    text = "".join(pieces)
    clauses = split(text, size)
    assert " ".join(clauses).split() == text.split()
    assert clauses == split(text, 1)
