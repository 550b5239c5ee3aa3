"""A caller can be sent to the voicemail, after the last word."""

from ai_engine.call.events import TransferAsked
from ai_engine.session.toolbox import Toolbox
from ai_engine.tools.leave_voicemail import LeaveVoicemail
from tests.fakes.tool_call import ToolCall


async def test_the_caller_is_sent_there() -> None:
    call = ToolCall()
    result, _ = await Toolbox([LeaveVoicemail("offhook", "voicemail")]).use("leave_voicemail", {}, call)
    assert result == {"ok": True}
    [asked] = call.events
    assert isinstance(asked, TransferAsked)
    assert (asked.context, asked.extension) == ("offhook", "voicemail")


async def test_not_while_the_caller_speaks() -> None:
    call = ToolCall(caller_speaking=True)
    assert not (await LeaveVoicemail("offhook", "voicemail").run({}, call))["ok"]
    assert call.events == []


async def test_not_where_the_caller_cannot_be_sent_anywhere() -> None:
    call = ToolCall()
    call.reaches_human = False
    assert (await LeaveVoicemail("offhook", "voicemail").run({}, call))["error"] == "there is no voicemail in this call"
    assert call.events == []


def test_the_operator_may_say_when_to_offer_it() -> None:
    assert "voice message" in LeaveVoicemail("offhook", "voicemail").description
    assert LeaveVoicemail("offhook", "voicemail", "At night.").description == "At night."
