"""The grammar and vocabulary made from an agent."""

from local_ai_server.agent import read_agent
from local_ai_server.stt.grammar import DECOYS, brief_grammar_of, grammar_of, vocabulary_of

AGENT = read_agent(
    {
        "name": "x",
        "slots": {"day": ["Monday", "next Tuesday"]},
        "intents": {
            "open": {"phrases": ["are you open [on {day}]", "opening hours"], "answer": ""},
            "bye": {"phrases": ["(good bye|see you)"], "answer": ""},
        },
    }
)


def test_grammar() -> None:
    lines = grammar_of(AGENT).splitlines()[1:]
    assert lines[0] == "grammar agent;"
    assert lines[1] == (
        "public <turn> = <other> | ( are you open [on (monday | next tuesday)] ) | ( opening hours )"
        " | ( (good bye | see you) );"
    )
    assert lines[2].startswith(f"<other> = ( {DECOYS[0]} ) | (")


def test_vocabulary() -> None:
    expected = "are you open on monday next tuesday opening hours good bye see"
    assert vocabulary_of(AGENT) == set(expected.split())


def test_an_agent_without_intents_has_no_grammar() -> None:
    assert grammar_of(read_agent({"name": "x"})) == ""


def test_a_brief_turn_may_be_an_aside_of_the_language() -> None:
    brief = brief_grammar_of(AGENT)
    for said in ("( opening hours )", "( excuse me )", "( uh huh )", f"( {DECOYS[0]} )"):
        assert said in brief
    assert "( stop )" in brief_grammar_of(read_agent({"name": "x"}))
    assert brief_grammar_of(read_agent({"name": "x", "language": "de-DE"})) == ""
