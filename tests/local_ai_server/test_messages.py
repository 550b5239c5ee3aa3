"""A record becomes what the strictest chat template takes, whole or shortened."""

from hypothesis import given
from hypothesis import strategies as st

from local_ai_server.agent import Agent
from local_ai_server.llm.messages import Record, messages_of, without_oldest
from local_ai_server.tools import Tool

AGENT = Agent("demo", prompt="Be brief.")
SPEAKERS = st.tuples(st.sampled_from(["caller", "agent"]), st.text(min_size=1))
USED = [("tool", 'look_up({"a": 1}) -> {"ok": true}'), ("tool", "look_up(a) -> b"), ("tool", "look_up({} -> {}")]
RECORDS = st.lists(SPEAKERS, max_size=12).map(lambda said: (*said, ("caller", "Hello?")))


def test_a_conversation() -> None:
    record = (("agent", "Hello."), ("caller", "Er."), ("caller", "[key 3]"), ("agent", "Yes?"), ("caller", "Open?"))
    assert messages_of(AGENT, record, marks=False) == [
        {"role": "system", "content": "Be brief.\n\nYou have already said to the caller: Hello."},
        {"role": "user", "content": "Er.\n[key 3]"},
        {"role": "assistant", "content": "Yes?"},
        {"role": "user", "content": "Open?"},
    ]


def test_marks_are_told_of_where_there_are_no_tools() -> None:
    (system, _) = messages_of(AGENT, (("caller", "Open?"),), marks=True)
    assert system["content"].startswith("Be brief.\n\n")
    assert "[hangup]" in system["content"]
    assert "[transfer]" in system["content"]


def test_without_anything_to_tell_there_is_no_system_message() -> None:
    assert messages_of(Agent("x"), (("caller", "Open?"),), marks=False) == [{"role": "user", "content": "Open?"}]


@given(RECORDS)
def test_user_and_assistant_take_turns(record: Record) -> None:
    roles = [message["role"] for message in messages_of(AGENT, record, marks=False)]
    assert roles[0] == "system"
    assert roles[1:] == ["user", "assistant"] * (len(roles) // 2 - 1) + ["user"]


def test_marks_are_for_tools_that_need_no_arguments() -> None:
    tools = (
        Tool("leave_voicemail", "Records a message.", {"type": "object", "properties": {}}),
        Tool("look_up", "Looks it up.", {"type": "object", "required": ["what"]}),
    )
    (system, _) = messages_of(AGENT, (("caller", "Open?"),), tools, marks=True)
    assert "[leave_voicemail]: Records a message." in system["content"]
    assert "look_up" not in system["content"]
    (system, _) = messages_of(AGENT, (("caller", "Open?"),), tools[1:], marks=True)
    assert system["content"] == "Be brief."


@given(st.lists(SPEAKERS | st.sampled_from(USED), max_size=12).map(lambda said: (*said, USED[0])))
def test_tools_used_before_are_part_of_the_strictest_conversation(record: Record) -> None:
    roles = [message["role"] for message in messages_of(AGENT, record, marks=True)]
    assert roles[1:] == ["user", "assistant"] * (len(roles) // 2 - 1) + ["user"]


@given(st.lists(SPEAKERS | st.sampled_from(USED), max_size=12))
def test_each_tool_message_answers_the_call_before_it(record: list[tuple[str, str]]) -> None:
    messages = messages_of(AGENT, tuple(record), marks=False)
    ids = []
    for before, message in zip(messages, messages[1:], strict=False):
        if message["role"] == "tool":
            [call] = before["tool_calls"]
            assert message["tool_call_id"] == call["id"]
            ids.append(call["id"])
        else:
            assert "tool_calls" not in before
    assert len(set(ids)) == len(ids)
    assert [message["role"] for message in messages[1:2]] != ["tool"]


@given(RECORDS)
def test_a_shorter_record_is_the_end_of_it_and_begins_with_the_caller(record: Record) -> None:
    shorter = without_oldest(record)
    if len(record) == 1:
        assert shorter is None
        return
    assert shorter
    assert len(shorter) <= max(1, len(record) - len(record) // 2)
    assert shorter == record[-len(shorter) :]
    assert shorter[0][0] == "caller"
