"""Marks come out of a token stream however they are cut, and nothing else does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_server.llm.base import Act
from local_ai_server.llm.marks import MarkFilter

NAMES = ("hangup", "transfer")


def filtered(tokens: list[str]) -> tuple[str, list[Act]]:
    marks = MarkFilter(NAMES)
    pieces = [piece for token in tokens for piece in marks.feed(token)] + marks.flush()
    return "".join(p for p in pieces if isinstance(p, str)), [p for p in pieces if isinstance(p, Act)]


@pytest.mark.parametrize(
    ("said", "spoken", "acts"),
    [
        ("Goodbye! [hangup]", "Goodbye! ", ["hangup"]),
        ("One moment.[transfer]\n", "One moment.\n", ["transfer"]),
        ("Bye [Hang up] now [ TRANSFER ]", "Bye  now ", ["hangup", "transfer"]),
        ("[hang_up]Bye", "Bye", ["hangup"]),
        ("Take [the] red [one", "Take [the] red [one", []),
        ("[[hangup]]", "[]", ["hangup"]),
        ("[hangup", "[hangup", []),
        ("[hang          up          ]", "[hang          up          ]", []),
        ("<think>He is angry. [hangup]</think>Hello.", "Hello.", []),
        ("<THINK>\nhm < 3 </Think>\nHello.", "\nHello.", []),
        ("2 < 3 and 5 > 4 <b>", "2 < 3 and 5 > 4 <b>", []),
        ("Hello. <think>and never an end [hangup]", "Hello. ", []),
        ("", "", []),
    ],
)
def test_a_whole_answer(said: str, spoken: str, acts: list[str]) -> None:
    expected = (spoken, [Act(name) for name in acts])
    assert filtered([said]) == expected
    assert filtered(list(said)) == expected


PARTS = st.lists(
    st.sampled_from(["Hello", " ", "[", "]", "<", ">", "hang", "up", "[hangup]", "<think>", "</think>", "."])
)


@given(PARTS, st.lists(st.integers(0, 60)))
def test_how_it_is_cut_does_not_matter(parts: list[str], cuts: list[int]) -> None:
    said = "".join(parts)
    places = [0, *sorted(min(cut, len(said)) for cut in cuts), len(said)]
    tokens = [said[start:end] for start, end in zip(places, places[1:], strict=False)]
    assert filtered(tokens) == filtered([said])


@given(st.text(alphabet="ab <>[].", max_size=40))
def test_text_without_marks_is_left_alone(said: str) -> None:
    assert filtered(list(said)) == (said, [])


def test_plain_text_is_not_held_back() -> None:
    marks = MarkFilter(NAMES)
    assert marks.feed("Hello, ") == ["Hello, "]
    assert marks.feed("there [") == ["there "]
    assert marks.feed("a") == ["[", "a"]
