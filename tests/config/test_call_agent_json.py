"""The JSON of the call_agent plugin loads as it is, on top of the YAML, and its mistakes are named by its own lines."""

import json
from pathlib import Path

import pytest

from ai_engine.config import load
from ai_engine.errors import ConfigError
from ai_engine.jobs.settings import CallAgentSettings

SECRETS = {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish"}
BARE = "default_agent: a\nagents: {a: {}}\n"
WITH_FILE = BARE + "call_agent:\n  file: j.json\n"
EXAMPLE = (Path(__file__).parents[2] / "config" / "examples" / "call-agent.json").read_text()
SEED = """\
{
  "telephony": {
    "provider": "twilio"
  },
  "server": {
    "port": 4545,
    "publicBaseUrl": "https://<public-host>"
  },
  "twilio": {
    "accountSid": "AC...",
    "authToken": "...",
    "fromNumber": "+15551234567",
    "validateSignature": true
  },
  "mock": {
    "enabled": true
  },
  "openai": {
    "apiKey": "sk-...",
    "model": "gpt-4o-realtime-preview",
    "voice": "alloy",
    "inputFormat": "audio/pcmu",
    "outputFormat": "audio/pcm",
    "outputSampleRate": 24000
  },
  "calendar": {
    "baseUrl": "http://127.0.0.1:9100",
    "token": "optional"
  },
  "notify": {
    "hooksUrl": "http://127.0.0.1:19000/hooks",
    "hooksToken": "...",
    "sessionKey": "optional"
  },
  "defaults": {
    "timezone": "America/Los_Angeles",
    "workingHours": { "start": "09:00", "end": "17:00", "days": [1,2,3,4,5] }
  },
  "retry": {
    "maxAttempts": 3,
    "initialDelayMs": 60000,
    "backoffFactor": 2,
    "retryStatuses": ["busy", "no-answer", "failed"]
  },
  "tunnel": {
    "provider": "auto"
  }
}
"""
"""Every key of the contract, with the values of the plugin's own documentation."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def loaded(given: str, text: str = WITH_FILE, **environ: str) -> CallAgentSettings:
    Path("c.yaml").write_text(text)
    Path("j.json").write_text(given)
    settings = load(Path("c.yaml"), SECRETS | environ).call_agent
    assert settings is not None
    return settings


def problems(given: str, text: str = WITH_FILE, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(given, text, **environ)
    return str(caught.value).splitlines()


@pytest.mark.parametrize("by_variable", [True, False])
def test_the_plugins_file_loads_as_it_is(folder: Path, by_variable: bool) -> None:
    settings = loaded(SEED, BARE, CALL_AGENT_CONFIG="j.json") if by_variable else loaded(SEED)
    assert settings.telephony.provider == "twilio"
    assert (settings.server.port, settings.server.public_base_url) == (4545, "https://<public-host>")
    assert (settings.twilio.account_sid, settings.twilio.from_number) == ("AC...", "+15551234567")
    assert settings.twilio.auth_token.get_secret_value() == "..."
    assert settings.mock.enabled is True
    assert settings.openai.api_key.get_secret_value() == "sk-..."
    assert (settings.openai.output_format, settings.openai.output_sample_rate) == ("audio/pcm", 24000)
    assert (settings.calendar.base_url, settings.calendar.token.get_secret_value()) == (
        "http://127.0.0.1:9100",
        "optional",
    )
    assert settings.notify.hooks_token.get_secret_value() == "..."
    assert (settings.notify.hooks_url, settings.notify.session_key) == ("http://127.0.0.1:19000/hooks", "optional")
    assert settings.defaults.working_hours.days == (1, 2, 3, 4, 5)
    assert settings.retry.statuses == {"busy", "no_answer", "failed"}
    assert settings.tunnel.provider == "auto"


def test_the_example_has_every_key_of_the_plugin() -> None:
    def keys(data: object) -> object:
        return {key: keys(value) for key, value in data.items()} if isinstance(data, dict) else None

    assert keys(json.loads(EXAMPLE)) == keys(json.loads(SEED))


def test_an_empty_text_is_no_value_where_none_is_needed(folder: Path) -> None:
    settings = loaded(EXAMPLE.replace("https://calls.example.com", ""), TWILIO_AUTH_TOKEN="t")
    assert (settings.server.public_base_url, settings.notify.session_key) == (None, None)


def test_it_is_laid_over_the_yaml_key_by_key_within_a_section(folder: Path) -> None:
    text = WITH_FILE + (
        "  telephony: {provider: mock}\n"
        "  server: {host: '::1', port: 1}\n"
        "  defaults: {timezone: Europe/Berlin, working_hours: {start: '10:00', days: [1]}}\n"
        "  manners: {ring_seconds: 20}\n"
    )
    settings = loaded('{"server": {"port": 2}, "defaults": {"workingHours": {"end": "16:00"}}}', text)
    assert (settings.server.host, settings.server.port) == ("::1", 2)
    hours = settings.defaults.working_hours
    assert (settings.defaults.timezone, hours.start, hours.end) == ("Europe/Berlin", "09:00", "16:00")
    assert hours.days == (1, 2, 3, 4, 5), "what is deeper is replaced as a whole"
    assert settings.manners.ring_seconds == 20


def test_the_environment_beats_it(folder: Path) -> None:
    settings = loaded(SEED, OPENAI_API_KEY="sk-env", TWILIO_AUTH_TOKEN="env", CALL_AGENT_PORT="7")
    assert settings.openai.api_key.get_secret_value() == "sk-env"
    assert (settings.twilio.auth_token.get_secret_value(), settings.server.port) == ("env", 7)


def test_the_variable_beats_the_key_of_the_yaml(folder: Path) -> None:
    Path("other.json").write_text('{"telephony": {"provider": "mock"}, "server": {"port": 9}}')
    assert loaded("no JSON", CALL_AGENT_CONFIG="other.json").server.port == 9


def test_the_key_of_the_yaml_is_relative_to_its_folder(folder: Path) -> None:
    Path("deep").mkdir()
    Path("deep/c.yaml").write_text(WITH_FILE)
    Path("deep/j.json").write_text('{"telephony": {"provider": "mock"}}')
    settings = load(Path("deep/c.yaml"), SECRETS).call_agent
    assert settings is not None
    assert settings.telephony.provider == "mock"


def test_snake_case_tabs_and_a_byte_order_mark_are_taken(folder: Path) -> None:
    given = '\ufeff{\n\t"telephony":\t{"provider": "mock"},\n\t"server": {"public_base_url": "https://x"}\n}'
    assert loaded(given).server.public_base_url == "https://x"


def test_names_of_trunks_stay_as_they_are(folder: Path) -> None:
    trunk = '{"mainTrunk": {"dial": "X/{number}", "callerId": "1", "headers": {"xKey": "v"}}}'
    settings = loaded(f'{{"telephony": {{"provider": "asterisk"}}, "asterisk": {{"trunks": {trunk}}}}}')
    [(name, found)] = settings.asterisk.trunks.items()
    assert (name, found.caller_id, dict(found.headers)) == ("mainTrunk", "1", {"xKey": "v"})


MOCK = '{"telephony": {"provider": "mock"},\n'


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ('"twilio": {"acountSid": "x"}}', "twilio.acountSid: unknown key (did you mean accountSid?)"),
        ('"twilio": {"apiSecret": "x"}}', "twilio.apiSecret: unknown key (known here: "),
        ('"bananas": {}}', "bananas: unknown key (known here: agent, asterisk, "),
        ('"openai": {"outputSampleRate": 16000}}', "openai.outputSampleRate: must be 24000, not 16000"),
        ('"retry": {"retryStatuses": ["busy", "x"]}}', "retry.retryStatuses[1]: 'x' is none of busy, no_answer"),
        ('"server": {"port": "4545"}}', 'server.port: must be a valid integer, not "4545"'),
        ('"server": {"port": 1, "port": 2}}', "server.port: written twice (first in line 2)"),
        (
            '"server": {"publicBaseUrl": "https://a", "public_base_url": "https://b"}}',
            "server.public_base_url: written",
        ),
        ('"file": "k.json"}', "file: this file cannot name another one"),
        ('"server": 7}', "server: must be a section with keys of its own"),
        ('"agent": "nobody"}', "agent: there is no agent 'nobody' below agents"),
        (
            '"asterisk": {"trunks": {"a": {"dial": "X/{number}", "callsPerMinute": 0}}}}',
            "trunks.a.callsPerMinute: must",
        ),
        ('"asterisk": {"trunks": {"a": {}}}}', "asterisk.trunks.a.dial: must be set"),
    ],
)
def test_mistakes_are_named_by_the_line_of_the_json(folder: Path, given: str, message: str) -> None:
    [found] = problems(MOCK + given)
    assert found.startswith("j.json:2: ")
    assert message in found


def test_what_neither_file_says_is_missing_in_the_yaml(folder: Path) -> None:
    text = WITH_FILE + "  twilio: {account_sid: AC1}\n"
    assert problems('{"twilio": {"authToken": "t"}}', text)[0].startswith("c.yaml:5: call_agent.twilio.from_number: ")
    found = problems('{"twilio":\n {"authToken": "t"}}', BARE, CALL_AGENT_CONFIG="j.json")
    assert [line.partition(" needed")[0] for line in found] == [
        "j.json:1: twilio.accountSid:",
        "j.json:1: twilio.fromNumber:",
    ]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ('{\n"a": tru}', "j.json:2: this is not JSON: Expecting value"),
        ('{"a": 1,}', "j.json:1: this is not JSON: "),
        ('{"a": NaN}', "j.json: this is not JSON: NaN is no number"),
        ("[" * 100_000, "j.json: this is not JSON: "),
        ("[]", 'j.json:1: must be an object, like {"telephony": {…}}'),
        ("a: b", "j.json:1: this is not JSON: "),
    ],
)
def test_what_is_no_json(folder: Path, given: str, message: str) -> None:
    assert problems(given)[0].startswith(message)


def test_a_file_that_is_not_there(folder: Path) -> None:
    Path("c.yaml").write_text(BARE)
    with pytest.raises(ConfigError, match=r"gone\.json: cannot be read: .*No such file"):
        load(Path("c.yaml"), SECRETS | {"CALL_AGENT_CONFIG": "gone.json"})


def test_a_secret_of_the_json_is_not_repeated_in_what_is_complained_about(folder: Path) -> None:
    found = problems(SEED.replace('"..."', '"swordfish"').replace('"alloy"', '"hal"').replace("24000", "1"))
    assert len(found) >= 1
    assert not any("swordfish" in line or "sk-..." in line for line in found)
