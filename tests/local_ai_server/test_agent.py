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
TOOL = {**INTENT, "action": "look_up", "results": [{"when": {"a.0": 1}, "say": "x"}, {"say": "y", "action": "hangup"}]}


def test_an_intent_with_a_tool_survives_it_too() -> None:
    needs = {"other.ok": True, "other.x": None}
    agent = read_agent({"name": "x", "intents": {"a": {**TOOL, "arguments": {"n": 1}, "needs": needs}}})
    copy = pickle.loads(pickle.dumps(agent))
    assert copy == agent
    assert hash(copy) == hash(agent)
    assert [(need.tool, need.path, need.value) for need in agent.intents[0].needs] == [
        ("other", "ok", True),
        ("other", "x", None),
    ]


def nested(depth: int) -> dict[str, Any]:
    """An intent whose result leads to a tool, whose result leads to a tool …"""
    step: dict[str, Any] = {"say": "done"}
    for _ in range(depth):
        step = {"say": "on", "action": "look_up", "results": [step]}
    return {**INTENT, "action": "look_up", "results": [step]}


def test_as_many_tools_in_a_row_as_the_protocol_says() -> None:
    read_agent({"name": "x", "intents": {"a": nested(4)}})


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
        ({"name": "x", "intents": {"a": {**INTENT, "action": "look up"}}}, "agent.intents.a.action"),
        ({"name": "x", "intents": {"a": {**INTENT, "action": []}}}, "agent.intents.a.action"),
        ({"name": "x", "intents": {"a": {**INTENT, "action": "look_up"}}}, "agent.intents.a.results are"),
        ({"name": "x", "intents": {"a": {**INTENT, "results": [{}]}}}, "agent.intents.a.results are"),
        ({"name": "x", "intents": {"a": {**TOOL, "action": "hangup"}}}, "agent.intents.a.results are"),
        ({"name": "x", "intents": {"a": {**TOOL, "results": {}}}}, "agent.intents.a.results must be a list"),
        ({"name": "x", "intents": {"a": {**TOOL, "results": [1]}}}, "agent.intents.a.results.0 must be an object"),
        ({"name": "x", "intents": {"a": {**TOOL, "results": [{"when": {"a": 1}}]}}}, "agent.intents.a.results.0.when"),
        ({"name": "x", "intents": {"a": {**TOOL, "results": [{}, {}]}}}, "agent.intents.a.results.0.when"),
        ({"name": "x", "intents": {"a": {**TOOL, "results": [{"if": 1}]}}}, "unknown field 'if'"),
        ({"name": "x", "intents": {"a": nested(5)}}, "nested too deeply"),
        ({"name": "x", "intents": {"a": {**INTENT, "arguments": {"x": 1}}}}, "agent.intents.a.arguments are"),
        ({"name": "x", "intents": {"a": {**TOOL, "arguments": {"x": []}}}}, "agent.intents.a.arguments.x must be"),
        ({"name": "x", "intents": {"a": {**TOOL, "arguments": []}}}, "agent.intents.a.arguments must be an object"),
        ({"name": "x", "intents": {"a": {**TOOL, "needs": ""}}}, "agent.intents.a.needs must be"),
        ({"name": "x", "intents": {"a": {**TOOL, "needs": {"look_up": True}}}}, "agent.intents.a.needs must be"),
        ({"name": "x", "intents": {"a": {**TOOL, "needs": 1}}}, "agent.intents.a.needs must be"),
        ({"name": "x", "intents": {"a": {**INTENT, "extra": 1}}}, "unknown field 'extra'"),
        ({"name": "x", "slots": {"day": [""]}}, "agent.slots.day"),
        ({"name": "x", "slots": {"day": "monday"}}, "agent.slots.day"),
    ],
)
def test_refusals(definition: Any, complaint: str) -> None:
    with pytest.raises(AgentError, match=complaint.replace(".", r"\.")):
        read_agent(definition)
