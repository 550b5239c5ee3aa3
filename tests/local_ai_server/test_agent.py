"""An agent's definition is taken as documented, and refused by the name of the field."""

import pickle
from typing import Any

import pytest

from local_ai_server.agent import read_agent
from local_ai_server.errors import AgentError
from tests.local_ai_server.demo_agent import AGENT


def test_defaults() -> None:
    agent = read_agent({"name": "x"})
    assert (agent.language, agent.fallback_limit, agent.intents) == ("en-US", 3, ())


def test_it_survives_the_way_to_a_worker() -> None:
    agent = read_agent(AGENT)
    copy = pickle.loads(pickle.dumps(agent))
    assert copy == agent
    assert hash(copy) == hash(agent)
    assert copy.slot_words == agent.slot_words


INTENT = {"phrases": ["hello"], "answer": "hi"}


@pytest.mark.parametrize(
    ("definition", "complaint"),
    [
        ([], "agent must be an object"),
        ({}, "agent.name is missing"),
        ({"name": "x", "colour": "red"}, "unknown field 'colour'"),
        ({"name": "x", "greeting": 1}, "agent.greeting must be text"),
        ({"name": "x", "fallback_limit": 0}, "agent.fallback_limit"),
        ({"name": "x", "fallback_limit": True}, "agent.fallback_limit"),
        ({"name": "x", "intents": []}, "agent.intents must be an object"),
        ({"name": "x", "intents": {"a": {"answer": "hi"}}}, "agent.intents.a.phrases"),
        ({"name": "x", "intents": {"a": {"phrases": [], "answer": "hi"}}}, "agent.intents.a.phrases"),
        ({"name": "x", "intents": {"a": {**INTENT, "phrases": ["(a"]}}}, "lacks"),
        ({"name": "x", "intents": {"a": {**INTENT, "phrases": ["on {day}"]}}}, "unknown slot 'day'"),
        ({"name": "x", "intents": {"a": {**INTENT, "action": "explode"}}}, "agent.intents.a.action"),
        ({"name": "x", "intents": {"a": {**INTENT, "action": []}}}, "agent.intents.a.action"),
        ({"name": "x", "intents": {"a": {**INTENT, "extra": 1}}}, "unknown field 'extra'"),
        ({"name": "x", "slots": {"day": [""]}}, "agent.slots.day"),
        ({"name": "x", "slots": {"day": "monday"}}, "agent.slots.day"),
    ],
)
def test_refusals(definition: Any, complaint: str) -> None:
    with pytest.raises(AgentError, match=complaint.replace(".", r"\.")):
        read_agent(definition)
