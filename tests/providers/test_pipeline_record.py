"""What a language model is told of the conversation."""

import pytest

from ai_engine.call.events import ReplyId
from ai_engine.providers.pipeline.ports import Message, ToolCall
from ai_engine.providers.pipeline.record import INTERRUPTED, Record
from ai_engine.session.ports import Said

ONE, TWO = ReplyId(1), ReplyId(2)
CALL = ToolCall("a", "weather", "{}")


def reply(record: Record, id: ReplyId, *clauses: tuple[str, float], made: bool = True) -> None:
    record.reply_began(id)
    for text, ms in clauses:
        record.reply_said(id, text)
        record.reply_sounded(id, ms / 2)
        record.reply_sounded(id, ms / 2)
    if made:
        record.reply_made(id)


def said(record: Record) -> list[str]:
    return [message.text for message in record.messages()[1:]]


def test_the_prompt_comes_first() -> None:
    record = Record("Be kind.")
    record.caller_said("hi")
    assert record.messages() == [Message("system", "Be kind."), Message("user", "hi")]


@pytest.mark.parametrize(
    ("heard_ms", "text"),
    [
        (0, None),
        (100, None),
        (250, f"We {INTERRUPTED}"),
        (1000, f"We are open today. {INTERRUPTED}"),
        (1250, f"We are open today. Until {INTERRUPTED}"),
        (1500, f"We are open today. Until five {INTERRUPTED}"),
        (2000, "We are open today. Until five o'clock, sharp."),
        (9000, "We are open today. Until five o'clock, sharp."),
    ],
)
def test_only_what_was_heard_is_remembered(heard_ms: float, text: str | None) -> None:
    record = Record("")
    reply(record, ONE, ("We are open today.", 1000), ("Until five o'clock, sharp.", 1000))
    record.reply_cut(ONE, heard_ms)
    assert said(record) == ([text] if text else [])


def test_a_reply_that_was_not_made_to_its_end_was_interrupted_even_if_all_its_sound_was_heard() -> None:
    record = Record("")
    reply(record, ONE, ("We are open", 1000), made=False)
    record.reply_cut(ONE, 1000)
    assert said(record) == [f"We are open {INTERRUPTED}"]


def test_words_without_spaces_are_cut_by_their_characters() -> None:
    record = Record("")
    reply(record, ONE, ("\u6211\u4eec\u4e5d\u70b9\u5f00\u95e8\u5427\u3002", 1000))
    record.reply_cut(ONE, 500)
    assert said(record) == [f"\u6211\u4eec\u4e5d\u70b9 {INTERRUPTED}"]


def test_results_follow_the_call_they_answer_however_late_they_come() -> None:
    record = Record("")
    record.caller_said("weather?")
    reply(record, ONE, ("One moment.", 500))
    other = ToolCall("b", "news", "{}")
    answer = record.tools_asked(ONE, (CALL, other))
    record.caller_said("hello?")
    answer.results[1] = {"ok": True}
    before = record.messages()[1:]
    answer.results[0] = {"sky": "bl\u00fc"}
    after = record.messages()[1:]
    assert [message.role for message in before] == ["user", "assistant", "tool", "tool", "user"]
    assert before[1] == Message("assistant", "One moment.", (CALL, other))
    assert "still running" in before[2].text
    assert after[2:4] == [
        Message("tool", '{"sky": "bl\u00fc"}', call_id="a"),
        Message("tool", '{"ok": true}', call_id="b"),
    ]


def test_what_tools_did_is_remembered_though_nothing_of_the_reply_was_heard() -> None:
    record = Record("")
    reply(record, ONE, ("One moment.", 500))
    record.tools_asked(ONE, (CALL,)).results[0] = {}
    record.reply_cut(ONE, 0)
    record.tools_asked(TWO, (CALL,)).results[0] = {}
    assert [(message.role, message.text) for message in record.messages()[1:]] == [
        ("assistant", ""), ("tool", "{}"), ("assistant", ""), ("tool", "{}"),
    ]  # fmt: skip


def test_the_history_of_another_agent_is_told() -> None:
    record = Record("Be kind.", [Said("agent", "Hello."), Said("tool", "weather({}) -> {}"), Said("caller", "hi")])
    assert record.messages() == [
        Message("system", "Be kind.\n\nWhat tools did earlier in this call:\nweather({}) -> {}"),
        Message("assistant", "Hello."),
        Message("user", "hi"),
    ]


def test_the_oldest_turns_are_dropped_whole() -> None:
    record = Record("Be kind.", most_turns=2)
    for number in range(4):
        record.caller_said(f"question {number}")
        id = ReplyId(number)
        reply(record, id, (f"answer {number}", 100))
        record.tools_asked(id, (CALL,)).results[0] = {}
    assert [message.role for message in record.messages()] == ["system", *(["user", "assistant", "tool"] * 2)]
    assert said(record)[0] == "question 2"


def test_an_unknown_reply_is_ignored() -> None:
    record = Record("")
    record.reply_said(ONE, "x")
    record.reply_sounded(ONE, 10)
    record.reply_cut(ONE, 10)
    record.reply_made(ONE)
    assert said(record) == []
