"""The `call_agent` section: from YAML, JSON and environment, and every mistake in it by name and line."""

import json
from pathlib import Path
from typing import Any

import pytest

from ai_engine.config import EngineConfig, load
from ai_engine.config.call_agent import SECRETS as ITS_SECRETS
from ai_engine.config.call_agent import shown
from ai_engine.errors import ConfigError
from ai_engine.jobs.settings import CallAgentSettings

SECRETS = {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish"}
BARE = "default_agent: a\nagents: {a: {}, b: {}}\n"
MOCK = BARE + "call_agent:\n  telephony: {provider: mock}\n"
TWILIO = BARE + 'call_agent:\n  twilio: {account_sid: AC1, from_number: "+15551234567"}\n'


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("c.yaml")


def engine(file: Path, text: str, **environ: str) -> EngineConfig:
    file.write_text(text)
    return load(file, SECRETS | environ)


def loaded(file: Path, text: str, **environ: str) -> CallAgentSettings:
    settings = engine(file, text, **environ).call_agent
    assert settings is not None
    return settings


def problems(file: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        engine(file, text, **environ)
    return str(caught.value).splitlines()


def test_without_the_section_there_are_no_calls(file: Path) -> None:
    everything = dict.fromkeys(ITS_SECRETS, "x") | {"CALL_AGENT_PORT": "1", "CALL_AGENT_PROVIDER": "mock"}
    config = engine(file, BARE, **everything)
    assert config.call_agent is None
    assert not list(config.warnings())
    with pytest.raises(KeyError):
        config.provider_settings("call_agent_openai")


def test_defaults_are_those_of_the_contract(file: Path) -> None:
    settings = loaded(file, MOCK)
    assert CallAgentSettings().telephony.provider == "twilio"
    assert (settings.server.port, settings.server.public_base_url) == (4545, None)
    assert (settings.twilio.account_sid, settings.twilio.from_number, settings.twilio.validate_signature) == ("", "", 1)
    assert settings.mock.enabled is None
    openai = settings.openai
    assert (openai.model, openai.voice) == ("gpt-4o-realtime-preview", "alloy")
    assert (openai.input_format, openai.output_format, openai.output_sample_rate) == ("audio/pcmu", "audio/pcm", 24000)
    assert (settings.notify.hooks_url, settings.notify.session_key) == (None, None)
    assert settings.defaults.timezone is None
    hours = settings.defaults.working_hours
    assert (hours.start, hours.end, hours.days) == ("09:00", "17:00", (1, 2, 3, 4, 5))
    retry = settings.retry
    assert (retry.max_attempts, retry.initial_delay_ms, retry.backoff_factor) == (3, 60_000, 2)
    assert retry.statuses == {"busy", "no_answer", "failed"}
    assert settings.tunnel.provider == "auto"


def test_secrets_come_from_the_environment_and_from_env_file(file: Path) -> None:
    text = MOCK + "  openai: {}\n  calendar: {import_urls: ['caldavs://my-work@dav.example/', x.ics]}\n"
    file.write_text(text)
    Path(".env").write_text("TWILIO_AUTH_TOKEN=from-file\nCALENDAR_TOKEN='cal'\n")
    environ = {
        "CALL_AGENT_TOKEN": "tok-1, tok-2,",
        "TWILIO_SIGNATURE_KEY": "sig",
        "OPENAI_API_KEY": "sk-1",
        "NOTIFY_HOOKS_TOKEN": "nfy-1",
        "CALL_AGENT_DATABASE_URL": "postgresql://u:p@h/d",
        "CALDAV_MY_WORK_USER": "ann",
        "CALDAV_MY_WORK_PASSWORD": "pw",
    }
    config = load(file, SECRETS | environ, Path(".env"))
    settings = config.call_agent
    assert settings is not None
    assert [token.get_secret_value() for token in settings.tokens] == ["tok-1", "tok-2"]
    assert settings.twilio.auth_token.get_secret_value() == "from-file"
    assert settings.twilio.signature_key.get_secret_value() == "sig"
    assert settings.openai.api_key.get_secret_value() == "sk-1"
    assert settings.calendar.token.get_secret_value() == "cal"
    assert settings.notify.hooks_token.get_secret_value() == "nfy-1"
    assert settings.store.database_url.get_secret_value() == "postgresql://u:p@h/d"
    [(name, login)] = settings.calendar.logins.items()
    assert (name, login.user, login.password.get_secret_value()) == ("my-work", "ann", "pw")
    for secret in ("tok-1", "from-file", "sk-1", "nfy-1", "u:p", "'pw'"):
        assert secret not in repr(config)
        assert secret not in json.dumps(shown(settings))


@pytest.mark.parametrize(
    ("lines", "variable"),
    [
        ("twilio: {auth_token: x}", "TWILIO_AUTH_TOKEN"),
        ("twilio: {authToken: x}", "TWILIO_AUTH_TOKEN"),
        ("twilio: {signature_key: x}", "TWILIO_SIGNATURE_KEY"),
        ("openai: {api_key: x}", "OPENAI_API_KEY"),
        ("calendar: {token: x}", "CALENDAR_TOKEN"),
        ("calendar: {logins: x}", "CALDAV_NAME_USER and CALDAV_NAME_PASSWORD"),
        ("notify: {hooks_token: x}", "NOTIFY_HOOKS_TOKEN"),
        ("store: {database_url: x}", "CALL_AGENT_DATABASE_URL"),
        ("tokens: [x]", "CALL_AGENT_TOKEN"),
    ],
)
def test_a_secret_in_the_file_is_refused_whatever_the_environment_says(file: Path, lines: str, variable: str) -> None:
    place = "call_agent." + lines.replace(": {", ".").partition(":")[0]
    why = f"c.yaml:5: {place}: secrets do not belong in this file; set {variable} in .env"
    for environ in ({}, dict.fromkeys(ITS_SECRETS, "y")):
        [found] = problems(file, f"{MOCK}  {lines}\n", **environ)
        assert found.startswith(why)


def test_where_there_are_numbers_no_other_way_out_is_needed(file: Path) -> None:
    settings = loaded(file, BARE + "call_agent: {telephony: {provider: asterisk}}\nstudio: {}\n")
    assert not settings.asterisk.trunks


def test_a_password_in_a_calendars_url_is_refused(file: Path) -> None:
    [found] = problems(file, MOCK + "  calendar:\n    import_urls:\n      - https://me:you@dav.example/\n")
    assert found.startswith("c.yaml:7: call_agent.calendar.import_urls[0]: a password does not belong here")
    assert "you@" not in found.partition("write")[0]


def test_secrets_that_are_needed_are_named_with_the_next_step(file: Path) -> None:
    calendar = "call_agent.calendar.import_urls[1]"
    assert problems(file, TWILIO + "  calendar: {import_urls: [a.ics, 'caldav://work@dav.example']}\n") == [
        "environment TWILIO_AUTH_TOKEN: not set, and call_agent.twilio needs it; write it into .env",
        f"environment CALDAV_WORK_USER: not set, and {calendar} needs it; write it into .env",
        f"environment CALDAV_WORK_PASSWORD: not set, and {calendar} needs it; write it into .env",
    ]
    assert loaded(file, TWILIO.replace("call_agent:\n", "call_agent:\n  enabled: false\n"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("telephony: {provider: vonage}", "call_agent.telephony.provider: must be 'asterisk', 'twilio' or 'mock', not"),
        ("telephony: {provider: asterisk}\n  asterisk: {}", "asterisk.trunks: provider asterisk needs a way out"),
        ("server: {publicBaseUrl: 'https://x'}", "publicBaseUrl: unknown key (did you mean public_base_url?)"),
        ("server: {public_base_url: x.example}", "call_agent.server.public_base_url: must match pattern"),
        ("openai: {output_sample_rate: 8000}", "call_agent.openai.output_sample_rate: must be 24000, not 8000"),
        (
            "openai: {output_format: audio/opus}",
            "call_agent.openai.output_format: must be 'audio/pcmu', 'audio/pcma' or",
        ),
        ("retry: {retry_statuses: [busy, moody]}", "call_agent.retry.retry_statuses[1]: 'moody' is none of busy"),
        ("retry: {maximum: 3}", "call_agent.retry.maximum: unknown key (known here: backoff_factor, "),
        ("defaults: {timezone: Europe/Atlantis}", "timezone: there is no time zone 'Europe/Atlantis'; write it like"),
        (
            "defaults: {working_hours: {start: 9am}}",
            "working_hours.start: '9am' is no time of day; write it like 09:30",
        ),
        ("defaults: {working_hours: {days: [7]}}", "call_agent.defaults.working_hours.days[0]: must be less than"),
        ("asterisk: {trunks: {main: {dial: 'PJSIP/trunk'}}}", "trunks.main.dial: must be a dial string with {number}"),
        (
            "asterisk: {trunks: {main: {dial: 'X/{number}', cals: 1}}}",
            "trunks.main.cals: unknown key (did you mean call",
        ),
        ("agent: nobody", "call_agent.agent: there is no agent 'nobody' below agents"),
        ("bananas: 1", "call_agent.bananas: unknown key (known here: agent, "),
        ("calendar: []", "call_agent.calendar: must be a section with keys of its own"),
    ],
)
def test_mistakes(file: Path, lines: str, message: str) -> None:
    text = BARE + "call_agent:\n" if lines.startswith("telephony") else MOCK
    [found] = problems(file, f"{text}  {lines}\n")
    assert found.startswith(f"c.yaml:{(text + lines).count(chr(10)) + 1}: ")
    assert message in found


def test_twilio_is_the_default_and_says_what_it_needs(file: Path) -> None:
    found = problems(file, BARE + "call_agent: {}\n", TWILIO_AUTH_TOKEN="t")
    needed = "needed, since telephony.provider is twilio (mock calls your browser)"
    assert found == [f"c.yaml:3: call_agent.twilio.{name}: {needed}" for name in ("account_sid", "from_number")]


@pytest.mark.parametrize(
    ("lines", "warning"),
    [
        ("server: {public_base_url: 'http://calls.example'}", "http://calls.example is not https"),
        ("tunnel: {provider: none}", "Twilio cannot reach us"),
        ("notify: {hooks_url: 'http://127.0.0.1:1/hooks'}", "nobody is told without NOTIFY_HOOKS_TOKEN"),
        ("twilio: {validate_signature: false, account_sid: A, from_number: '1'}", "anybody may call our webhooks"),
        ("server: {public_base_url: 'https://calls.example'}", None),
    ],
)
def test_what_is_only_warned_of(file: Path, lines: str, warning: str | None) -> None:
    text = BARE + "call_agent:\n" if lines.startswith("twilio") else TWILIO
    warnings = list(engine(file, f"{text}  {lines}\n", TWILIO_AUTH_TOKEN="t").warnings())
    assert len(warnings) == (warning is not None)
    for place, why in warnings:
        assert place[0] == "call_agent"
        assert warning is not None
        assert warning in why


def test_overrides(file: Path) -> None:
    settings = loaded(
        file,
        MOCK.replace("mock", "twilio") + "  server: {port: 1}\n",
        CALL_AGENT_PORT="14545",
        CALL_AGENT_HOST="0.0.0.0",
        CALL_AGENT_PUBLIC_URL="https://calls.example",
        CALL_AGENT_PROVIDER="Mock",
        CALL_AGENT_STORE="/s/calls.sqlite",
    )
    assert (settings.server.host, settings.server.port) == ("0.0.0.0", 14545)
    assert settings.server.public_base_url == "https://calls.example"
    assert (settings.telephony.provider, settings.store.path) == ("mock", Path("/s/calls.sqlite"))
    [found] = problems(file, MOCK, CALL_AGENT_PORT="many")
    assert found.startswith("environment CALL_AGENT_PORT: call_agent.server.port: must be a valid integer")


@pytest.mark.parametrize("tool", ["calendar_find_slots", "calendar_check_slot", "calendar_create_event", "report_call"])
def test_its_tools_are_known_where_it_is(file: Path, tool: str) -> None:
    agents = f"default_agent: a\nagents:\n  a: {{tools: [hangup, {tool}]}}\n"
    config = engine(file, agents + "call_agent: {telephony: {provider: mock}}\n")
    assert config.tools_of("a") == ("hangup", tool)
    assert problems(file, agents) == [f"c.yaml:3: agents.a.tools[1]: {tool} needs call_agent"]
    http = f"tools: {{http: {{{tool}: {{description: Try., url: 'https://a.example'}}}}}}\n"
    assert engine(file, BARE + http)
    [found] = problems(file, MOCK + http)
    assert found.endswith(f"{tool} is a tool of the engine's own; choose another name")


def test_openai_runs_the_agent_where_the_section_has_a_key(file: Path) -> None:
    openai = "  openai: {model: gpt-realtime, voice: cedar, input_format: audio/pcma, base_url: 'http://h:1/v1/'}\n"
    config = engine(file, MOCK + openai, OPENAI_API_KEY="sk-1")
    provider: Any = config.provider_settings("call_agent_openai")
    assert (provider.model, provider.voice, provider.url) == ("gpt-realtime", "cedar", "ws://h:1/v1")
    assert (provider.format, provider.output_format) == ("pcma", "pcm")
    assert config.secrets.keys[provider.key].get_secret_value() == "sk-1"
    assert not list(config.strangers(["call_agent_openai"]))
    assert load(file, SECRETS | {"OPENAI_API_KEY": "sk-1"}, also=["call_agent_openai"]), "its key is no variable"


def test_a_key_that_others_use_replaces_no_agent_unless_the_section_says_openai(file: Path) -> None:
    config = engine(file, MOCK, OPENAI_API_KEY="sk-1")
    with pytest.raises(KeyError):
        config.provider_settings("call_agent_openai")
    assert problems(file, MOCK + "  openai: {voice: hal}\n", OPENAI_API_KEY="sk-1")[0].startswith(
        "c.yaml:5: call_agent.openai.voice: must be 'alloy', "
    )
    [found] = problems(file, MOCK + "providers: {call_agent_openai: {type: local}}\n")
    assert found.startswith("c.yaml:5: providers.call_agent_openai: is the name of call_agent.openai")


def test_shown_masks_what_is_secret(file: Path) -> None:
    text = MOCK + (
        "  asterisk: {trunks: {main: {dial: 'X/{number}', headers: {X-Key: abc}}}}\n"
        "  calendar: {import_urls: ['https://cal.example/private-abc/basic.ics', my.ics]}\n"
    )
    found = shown(loaded(file, text, TWILIO_AUTH_TOKEN="abc", CALL_AGENT_TOKEN="abc,abc"))
    assert set(found) >= {
        *("telephony", "server", "twilio", "mock", "openai"),
        *("calendar", "notify", "defaults", "retry", "tunnel"),
    }
    assert "abc" not in json.dumps(found)
    assert found["twilio"]["auth_token"] == "**********"
    assert found["twilio"]["signature_key"] == ""
    assert found["calendar"]["import_urls"] == ["https://cal.example/…", "my.ics"]
    assert found["server"]["port"] == 4545


def test_what_the_shipped_file_has_as_a_comment_is_good(file: Path) -> None:
    shipped = (Path(__file__).parents[2] / "config" / "ai-agent.yaml").read_text()
    begin = shipped.index("# call_agent:")
    section = [line.removeprefix("# ") for line in shipped[begin:].partition("\n\n")[0].splitlines()]
    text = "\n".join(
        [*BARE.replace("a: {}", "reception: {}").replace("agent: a", "agent: reception").split("\n"), *section]
    )
    logins = {"CALDAV_WORK_USER": "u", "CALDAV_WORK_PASSWORD": "p"}
    settings = loaded(file, text, **logins)
    assert settings.asterisk.trunks["main"].calls == 2
    unread = {"enabled", "file", "tokens", "mock", *logins}
    assert settings.model_fields_set >= CallAgentSettings.model_fields.keys() - unread
