"""Each capability is there, or says in a sentence why not and what to do."""

from pathlib import Path
from typing import Any

import pytest

from ai_engine.app.capabilities import Standing, capabilities
from ai_engine.config import load

SECRETS = {
    **{"ASTERISK_ARI_USERNAME": "u", "ASTERISK_ARI_PASSWORD": "p", "CALL_AGENT_TOKEN": "t"},
    **{"OPENAI_API_KEY": "k", "TWILIO_AUTH_TOKEN": "t"},
}
FILE = """\
default_agent: a
downstream_mode: {mode}
recording: {{enabled: {recording}}}
barge_in: {{enabled: {barge_in}}}
agents: {{a: {{provider: {provider}, tools: {tools}}}}}
providers: {{deaf: {{type: openai_realtime, transcription: null}}}}
studio: {studio}
call_agent:
  enabled: {desk}
  telephony: {{provider: {network}}}
  twilio: {{account_sid: "AC{sid}", from_number: "+15550100"}}
  asterisk: {{trunks: {trunks}}}
"""
ALL: dict[str, Any] = {
    **{"mode": "stream", "recording": "true", "barge_in": "true", "provider": "local", "tools": "[hangup, send_dtmf]"},
    **{"desk": "true", "network": "asterisk", "trunks": "{}", "sid": "0" * 32, "studio": "{}"},
}
UP = Standing(asterisk_up=True, numbers=("+15550101",), routed=("+15550101",))
NAMES = ["phone_call", "inbound_call", "web_session", "barge_in", "tools", "transcript", "dtmf", "recording"]
TRUNK = "{t: {dial: 'PJSIP/{number}@t'}}"


@pytest.mark.parametrize(
    ("changes", "standing", "absent"),
    [
        ({}, UP, {}),
        ({}, Standing(asterisk_up=False, numbers=("+1",), routed=("+1",)), {
            "phone_call": "Asterisk is not connected",
            "inbound_call": "Asterisk is not connected",
            "web_session": "Asterisk is not connected",
        }),
        ({}, Standing(asterisk_up=True), {
            "phone_call": "there is no number to call from: `studio number import`",
            "inbound_call": "no number leads to it: `studio number import … --inbound-agent a`",
        }),
        ({"trunks": TRUNK}, Standing(asterisk_up=True), {"inbound_call": "no number"}),
        ({"network": "mock"}, Standing(asterisk_up=True), {"inbound_call": "no number"}),
        ({"network": "twilio"}, Standing(asterisk_up=True), {"inbound_call": "no number"}),
        ({"desk": "false", "studio": "null"}, UP, {"phone_call": "the engine places no calls"}),
        ({"mode": "file"}, UP, {"barge_in": "downstream_mode is `file`"}),
        ({"barge_in": "false"}, UP, {"barge_in": "barge_in.enabled is false"}),
        ({"tools": "[]"}, UP, {"tools": "its `tools` is an empty list", "dtmf": "it hears what callers press, but"}),
        ({"tools": "[hangup]"}, UP, {"dtmf": "it hears what callers press, but"}),
        ({"provider": "deaf"}, UP, {"transcript": "`transcription` of the provider deaf is null"}),
        ({"recording": "false"}, UP, {"recording": "recording.enabled is false"}),
    ],
)  # fmt: skip
def test_table(tmp_path: Path, changes: dict[str, Any], standing: Standing, absent: dict[str, str]) -> None:
    (tmp_path / "c.yaml").write_text(FILE.format(**ALL | changes))
    found = capabilities(load(tmp_path / "c.yaml", SECRETS), "a", standing)
    assert [one.name for one in found] == NAMES
    reasons: dict[str, str] = {one.name: one.reason for one in found if not one.present}
    assert reasons.keys() == absent.keys()
    for name, reason in absent.items():
        assert reasons[name].startswith(reason)
    assert all(one.reason == "" for one in found if one.present)
