"""The phrase language: what it means, what it refuses, and that grammar and matcher agree."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_ai_server import phrases
from local_ai_server.errors import AgentError

SLOTS = {"day": ("monday", "the next tuesday")}


@pytest.mark.parametrize(
    ("source", "grammar"),
    [
        ("When are you OPEN?", "when are you open"),
        ("that\u2019s all", "that's all"),
        ("yes [please]", "yes [please]"),
        ("(a person|a human being) now", "(a person | a human being) now"),
        ("open on {day}", "open on (monday | the next tuesday)"),
        ("[(can|may) i] speak", "[(can | may) i] speak"),
    ],
)
def test_grammar(source: str, grammar: str) -> None:
    assert phrases.jsgf(phrases.parse(source), SLOTS) == grammar


@pytest.mark.parametrize(
    ("source", "said", "values"),
    [
        ("yes [please]", "yes", {}),
        ("yes [please]", "yes please", {}),
        ("yes [please]", "please", None),
        ("open on {day}", "open on the next tuesday", {"day": "the next tuesday"}),
        ("open on {day}", "open on wednesday", None),
        ("open [on {day}]", "open", {}),
        ("(call|ring) (me|us)", "ring us", {}),
        ("(call|ring) (me|us)", "ring", None),
    ],
)
def test_matching(source: str, said: str, values: dict[str, str] | None) -> None:
    assert phrases.Matcher(phrases.parse(source), SLOTS).match(said.split()) == values


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("", "nothing"),
        ("[please]", "nothing"),
        ("([a]|[b])", "nothing"),
        ("(a|b", "lacks a '\\)'"),
        ("(a|b]", "lacks a '\\)'"),
        ("a)", "too many"),
        ("a | b", "too many"),
        ("(a|)", "empty choice"),
        ("open on {the day}", "not a {slot}"),
        ("open {", "not a {slot}"),
        ("hello ...", "not a word"),
        ("(" * 30 + "a" + ")" * 30, "too deeply"),
    ],
)
def test_bad_phrases_are_named(source: str, complaint: str) -> None:
    with pytest.raises(AgentError, match=complaint):
        phrases.parse(source)


WORDS = st.sampled_from(["open", "are", "you", "now"])
SOURCES = st.recursive(
    WORDS,
    lambda inner: (
        st.lists(inner, min_size=1, max_size=3).map(" ".join)
        | st.lists(inner, min_size=1, max_size=3).map(lambda options: f"({'|'.join(options)})")
        | inner.map(lambda option: f"[{option}]")
    ),
    max_leaves=6,
)


@given(SOURCES)
def test_every_variant_is_matched(source: str) -> None:
    phrase = phrases.parse(f"hello {source}")
    matcher = phrases.Matcher(phrase, {})
    assert all(matcher.match(variant) == {} for variant in phrases.variants(phrase))


@given(st.text(alphabet="ab[](){}| -'.", max_size=30))
def test_any_text_is_a_phrase_or_an_agent_error(source: str) -> None:
    try:
        phrase = phrases.parse(source)
    except AgentError:
        return
    assert all(variant for variant in phrases.variants(phrase))
