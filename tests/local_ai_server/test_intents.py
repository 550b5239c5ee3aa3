"""The small dialog: exact wordings, near ones, and neither."""

import pytest

from local_ai_server.agent import read_agent
from local_ai_server.llm.base import Act, Piece, Verdict
from local_ai_server.llm.intents import Intents, tokens_of
from local_ai_server.llm.templates import fill
from local_ai_server.llm.understanding import Understanding
from tests.local_ai_server.demo_agent import AGENT, FOREIGN, UNDERSTOOD

DEMO = read_agent(AGENT)


@pytest.mark.parametrize(("text", "intent"), UNDERSTOOD.items())
def test_its_own_phrases(text: str, intent: str) -> None:
    found = Understanding(DEMO).find(text)
    assert found is not None
    assert found[0].name == intent


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("Hello, when do you open?", "hours"),
        ("could you tell me your opening hours please", "hours"),
        ("is it open on Sunday", "day"),
        ("I want to speak to a real person!", "human"),
        ("what is the address", "address"),
        ("ok goodbye", "goodbye"),
    ],
)
def test_near_wordings(text: str, intent: str) -> None:
    found = Understanding(DEMO).find(text)
    assert found is not None
    assert found[0].name == intent


@pytest.mark.parametrize("text", [*FOREIGN, "", "...", "you", "the"])
def test_other_talk_is_not_understood(text: str) -> None:
    assert Understanding(DEMO).find(text) is None


def test_a_slot_is_given_back() -> None:
    found = Understanding(DEMO).find("are you open on saturday")
    assert found is not None
    assert found[1] == {"day": "saturday"}


@pytest.mark.parametrize(
    ("answer", "filled"),
    [
        ("Open on {day}.", "Open on monday."),
        ("({day})", "(monday)"),
        ("Open {week} now.", "Open now."),
        ("{day} {day}", "monday monday"),
        ("plain", "plain"),
    ],
)
def test_answers_are_filled(answer: str, filled: str) -> None:
    assert fill(answer, {"day": "monday"}) == filled


@pytest.mark.parametrize("text", ["", " ", "one", "one two  three ", " one"])
def test_tokens_make_the_text(text: str) -> None:
    assert "".join(tokens_of(text)).strip() == text.strip()


@pytest.mark.parametrize(
    ("text", "likely", "exact"), [("goodbye", True, True), ("ok goodbye", True, False), ("banana", False, False)]
)
def test_what_it_has_an_answer_to(text: str, likely: bool, exact: bool) -> None:
    assert Intents().understands(DEMO, text, (), exactly=False) is likely
    assert Intents().understands(DEMO, text, (), exactly=True) is exact


async def pieces(text: str) -> list[Piece]:
    return [piece async for piece in Intents().answer(DEMO, (("caller", text),))]


async def test_an_action_follows_the_answer() -> None:
    answer = await pieces("goodbye")
    assert answer == ["Thank", " you", " for", " calling.", " Goodbye!", Act("hangup")]


async def test_what_it_does_not_know_it_does_not_answer() -> None:
    assert await pieces("banana") == [Verdict.NOT_UNDERSTOOD]
