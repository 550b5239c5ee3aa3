"""Every mistake an operator can make is named, with its file and line, and all of them at once."""

from pathlib import Path

import pytest

from ai_engine.config import EngineConfig, load
from ai_engine.errors import ConfigError

SECRETS = {"ASTERISK_ARI_USERNAME": "offhook", "ASTERISK_ARI_PASSWORD": "swordfish"}
SHIPPED = Path(__file__).parents[2] / "config" / "ai-agent.yaml"
GOOD = """\
default_agent: a
downstream_mode: stream
agents:
  a:
    intents:
      bye: {phrases: [goodbye], answer: Goodbye., action: hangup}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("c.yaml")


def loaded(file: Path, text: str, **environ: str) -> EngineConfig:
    file.write_text(text)
    return load(file, SECRETS | environ)


def problems(file: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(file, text, **environ)
    return str(caught.value).splitlines()


def test_shipped_file_is_good() -> None:
    config = load(SHIPPED, SECRETS)
    assert (config.default_provider, config.audio_transport, config.downstream_mode) == (
        "local",
        "audiosocket",
        "stream",
    )
    assert "automated assistant" in config.greeting("reception")
    assert config.providers_of("reception") == ("local",)
    agent = config.agent("reception")
    actions = {name: intent["action"] for name, intent in agent["intents"].items()}
    assert actions == {
        "hours": None,
        "services": None,
        "address": None,
        "human": "transfer",
        "goodbye": "hangup",
    }
    assert set(agent) == {
        *("name", "language", "voice", "intents", "slots"),
        *("fallback", "fallback_limit", "nudge", "goodbye"),
    }


def test_shipped_file_spells_out_the_defaults(file: Path) -> None:
    shipped, bare = load(SHIPPED, SECRETS), loaded(file, GOOD)
    for section in ("asterisk", "audiosocket", "streaming", "barge_in", "vad", "no_input", "health", "media"):
        assert getattr(shipped, section) == getattr(bare, section)


def test_defaults_of_the_guide(file: Path) -> None:
    config = loaded(file, GOOD)
    assert (config.audiosocket.host, config.audiosocket.port) == ("127.0.0.1", 8090)
    assert (config.asterisk.ari_port, config.asterisk.app_name) == (8088, "asterisk-ai-voice-agent")
    assert (config.health.host, config.health.port) == ("127.0.0.1", 15000)
    assert config.media.directory == Path("/mnt/asterisk_media/ai-generated")


def test_agent_without_own_words_takes_those_of_llm(file: Path) -> None:
    config = loaded(file, GOOD + "llm: {initial_greeting: Hi., prompt: Be kind.}\n")
    assert (config.greeting("a"), config.prompt("a")) == ("Hi.", "Be kind.")


def test_unknown_key_with_a_suggestion(file: Path) -> None:
    text = GOOD + "streaming:\n  sample_rate_khz: 8\n"
    assert problems(file, text) == ["c.yaml:8: streaming.sample_rate_khz: unknown key (did you mean sample_rate_hz?)"]


def test_unknown_key_like_no_other_lists_what_there_is(file: Path) -> None:
    assert problems(file, GOOD + "health: {bananas: 1}\n") == [
        "c.yaml:7: health.bananas: unknown key (known here: host, port, probe_seconds)"
    ]


def test_unknown_key_inside_an_intent(file: Path) -> None:
    text = GOOD + "      x:\n        phrase: [hello]\n        phrases: [hello]\n        answer: Hi.\n"
    assert problems(file, text) == ["c.yaml:8: agents.a.intents.x.phrase: unknown key (did you mean phrases?)"]


def test_duplicate_key(file: Path) -> None:
    text = GOOD + "health:\n  port: 1\n  host: localhost\n  port: 2\n"
    assert problems(file, text) == ["c.yaml:10: health.port: written twice (first in line 8)"]


def test_everything_is_said_at_once_in_order_of_lines(file: Path) -> None:
    text = GOOD.replace("agents:", "vad: {aggressiveness: 4}\nbogus: 1\nagents:") + "recording: 7\n"
    found = problems(file, text, AUDIOSOCKET_PORT="nine")
    assert [line.split(": ")[0] for line in found] == [
        "environment AUDIOSOCKET_PORT",
        "c.yaml:3",
        "c.yaml:4",
        "c.yaml:9",
    ]


@pytest.mark.parametrize(
    ("addition", "message"),
    [
        ("audio_transport: pigeon", "must be 'audiosocket', 'websocket', 'legacy' or 'auto', not \"pigeon\""),
        ("streaming: {chunk_duration_ms: 10}", "a frame of 10 ms on as it is, and phones expect 20; write 20"),
        ("streaming: {sample_rate_hz: 24000}", "telephone calls have no 24000 Hz; write 8000, 16000 or auto"),
        ("streaming: {jitter_buffer_max_ms: 20}", "streaming.jitter_buffer_max_ms: must not be less than jitter_buff"),
        ("websocket: {ahead_ms: 20}", "websocket.ahead_ms: must be greater than or equal to 60, not 20"),
        ("legacy: {host: 0.0.0.0}", "legacy.advertise: needed, since Asterisk cannot send to 0.0.0.0"),
        ("legacy: {port_min: 40000}", "legacy.port_max: must be more than port_min, 40000"),
        ("legacy: {allowed_peers: []}", "legacy.allowed_peers: an empty list lets nobody in"),
        ("barge_in: {confirm_ms: 300, word_ms: 400}", "barge_in.confirm_ms: must not be less than min_ms and word_ms"),
        ("vad: {max_turn_ms: 1000}", "vad.max_turn_ms: must not be less than end_silence_max_ms"),
        ("asterisk: {dead_man_seconds: 9}", "asterisk.dead_man_seconds: must be more than one and a half times"),
        ("vad: {end_silence_ms: 200}", "end_silence_ms: must lie between end_silence_min_ms and end_silence_max_ms"),
        ("barge_in: {confirm_ms: 100, min_ms: 200}", "barge_in.confirm_ms: must not be less than min_ms and word_ms"),
        ("health: {port: -1}", "health.port: must be greater than or equal to 0, not -1"),
        ('health: {port: "15000"}', 'health.port: must be a valid integer, not "15000"'),
        ("health: {port: true}", "health.port: must be a valid integer"),
        ("recording: {enabled: yes}", 'recording.enabled: must be a valid boolean, not "yes"'),
        ("asterisk: {human: {extension: 6000}}", 'must be text; put it in quotes: "6000"'),
        ("asterisk: {ari_password: swordfish}", "secrets do not belong in this file; set ASTERISK_ARI_USERNAME"),
        ("providers: {local: {api_key: x}}", "providers.local.api_key: secrets do not belong in this file"),
        ("secrets: {ari_password: x}", "secrets: secrets do not belong in this file"),
        ("audiosocket: {allowed_peers: [10.0.0.0/40]}", "audiosocket.allowed_peers[0]: '10.0.0.0/40' does not"),
        ("audiosocket: {allowed_peers: []}", "an empty list lets nobody in; name the address of Asterisk"),
        ("audiosocket: {host: 0.0.0.0}", "audiosocket.advertise: needed, since Asterisk cannot connect to 0.0.0.0"),
        ("audiosocket: {advertise: 10.0.0.5}", "audiosocket.advertise: must match pattern"),
        ("providers: {local: {url: 'http://x/'}}", "providers.local.url: must match pattern"),
        ("asterisk: {ari_url: 'http://h?a=b'}", "asterisk.ari_url: must not have a query"),
        ("asterisk: {ari_url: 'http://h/x#y'}", "asterisk.ari_url: must not have a query or a fragment"),
        ("asterisk: {ari_url: 'http://:8088/'}", "asterisk.ari_url: Invalid URL: host is required"),
        ("asterisk: {ari_url: 'http://?'}", "asterisk.ari_url: 'http://?' names no host"),
        ("asterisk: {ari_url: 'http://h:99999/'}", "asterisk.ari_url: Port out of range 0-65535"),
        ("providers: {local: {url: 'ws://h:99999/v1'}}", "providers.local.url: Port out of range 0-65535"),
        ("asterisk: {host: 'pbx:8088'}", "asterisk.host: 'pbx:8088' is no IPv6 address; a port has a key of its own"),
        ("barge_in: {min_ms: 501}", "barge_in.min_ms: must be less than or equal to 500, not 501"),
        ("vad: {start_ms: 501}", "vad.start_ms: must be less than or equal to 500, not 501"),
        ("providers: {my_own: {}}", "providers.my_own: needs a `type`, since its name is none"),
        (
            "providers: {my_own: {type: hal}}",
            "providers.my_own: there is no type 'hal' (known here: 'deepgram', 'local'",
        ),
        ("providers: {local: {urk: x}}", "providers.local.urk: unknown key (did you mean url?)"),
        ("providers: {mine: {type: local, urk: x}}", "providers.mine.urk: unknown key (did you mean url?)"),
        ("pipelines: {x: {stt: deepgram, llm: openai}}", "pipelines.x.tts: must be set"),
        (
            "pipelines: {x: {stt: {type: deepgram, modle: y}, llm: openai, tts: local}}",
            "pipelines.x.stt.modle: unknown key (did you mean model?)",
        ),
        (
            "pipelines: {x: {stt: hal, llm: openai, tts: local}}",
            "pipelines.x.stt: there is no type 'hal' (known here: ",
        ),
        (
            "pipelines: {local: {stt: local, llm: local, tts: local}}",
            "pipelines.local: there is a provider 'local' too",
        ),
        ("default_provider: nobody", "default_provider: there is no provider 'nobody' (known: "),
        ("fallback_providers: [local, nobody]", "fallback_providers: there is no provider 'nobody'"),
        ("llm:", "llm: must be a section with keys of its own"),
        ("vad: &v {detector: *v}", "vad.detector: contains itself"),
        ("vad: {? [a] : 1}", "vad: a key must be one word"),
        ("media: {directory: !!python/name:os.system ''}", "the tag tag:yaml.org,2002:python/name:os.system"),
        ("logging: {level: loud}", "logging.level: must be 'debug', 'info', 'warning' or 'error', not \"loud\""),
    ],
)
def test_bad_value(file: Path, addition: str, message: str) -> None:
    found = problems(file, GOOD + addition + "\n")
    assert any(line.startswith("c.yaml:7: ") and message in line for line in found), found
    assert not any("swordfish" in line for line in found)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("mode: stream", "mode: smoke", "c.yaml:2: downstream_mode: must be 'file' or 'stream', not \"smoke\""),
        ("default_agent: a\n", "", "default_agent: must be set"),
        ("default_agent: a", "default_agent: b", "c.yaml:1: default_agent: there is no agent 'b' below agents"),
        ("[goodbye]", "[goodbye, call 911]", "c.yaml:6: agents.a.intents.bye.phrases[1]: a phrase is plain words"),
        ("[goodbye]", "['(good|bye']", "agents.a.intents.bye.phrases[0]: '(' is never closed"),
        ("[goodbye]", "['goodbye]']", "']' closes nothing"),
        ("[goodbye]", "[]", "agents.a.intents.bye.phrases: "),
        ("[goodbye]", "['on {day}']", "phrases[0]: there is no slot 'day' below agents.a.slots"),
        ("Goodbye.", "'{day}?'", "agents.a.intents.bye.answer: there is no slot 'day'"),
        ("hangup", "explode", "agents.a.intents.bye.action: there is no tool 'explode' (known: "),
        ("  a:\n", "  a:\n    provider: nobody\n", "c.yaml:5: agents.a.provider: there is no provider 'nobody'"),
        ("agents:", "agents: [", "c.yaml:5: this is not YAML:"),
    ],
)
def test_bad_file(file: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    found = problems(file, GOOD.replace(old, new))
    assert any(message in line for line in found), found


def test_empty_and_missing_file(file: Path) -> None:
    assert "default_agent: must be set" in problems(file, "# nothing\n")[0]
    assert "c.yaml:1: must be keys with values" in problems(file, "- a\n")[0]
    file.unlink()
    with pytest.raises(ConfigError, match="c.yaml: cannot be read"):
        load(file, SECRETS)


def test_words_that_yaml_1_1_would_twist(file: Path) -> None:
    config = loaded(file, GOOD.replace("[goodbye]", "[yes, no, on, 'off']").replace("Goodbye.", "12:30"))
    assert config.agents["a"].intents["bye"].phrases == ("yes", "no", "on", "off")
    assert config.agents["a"].intents["bye"].answer == "12:30"


def test_environment_beats_env_file_beats_yaml(file: Path) -> None:
    file.write_text(GOOD + "audiosocket: {port: 1000}\nhealth: {port: 1001}\nlogging: {level: error}\n")
    env_file = Path(".env")
    env_file.write_text("AUDIOSOCKET_PORT=2000\nHEALTH_PORT=2001\nASTERISK_ARI_PASSWORD='from file'\n")
    config = load(file, {"ASTERISK_ARI_USERNAME": "u", "AUDIOSOCKET_PORT": "3000"}, env_file)
    assert (config.audiosocket.port, config.health.port, config.logging.level) == (3000, 2001, "error")
    assert config.secrets.ari_password.get_secret_value() == "from file"


def test_every_override(file: Path) -> None:
    config = loaded(
        file,
        GOOD,
        AUDIO_TRANSPORT="AudioSocket",
        DOWNSTREAM_MODE="stream",
        DEFAULT_AGENT="a",
        ASTERISK_HOST="pbx",
        ASTERISK_ARI_PORT="18088",
        ASTERISK_ARI_URL="https://pbx/x",
        AUDIOSOCKET_HOST="0.0.0.0",
        AUDIOSOCKET_PORT="18090",
        AUDIOSOCKET_ADVERTISE="10.0.0.5:8090",
        AUDIOSOCKET_ALLOWED_PEERS="10.0.0.0/8, ::1",
        LOCAL_AI_URL="ws://ai:8765/v1",
        HEALTH_HOST="0.0.0.0",
        HEALTH_PORT="15001",
        RECORDING_DIRECTORY="/r",
        MEDIA_DIRECTORY="/m",
        LOG_LEVEL="DEBUG",
        LOG_FORMAT="json",
    )
    assert config.asterisk.host == "pbx"
    assert (config.asterisk.ari_port, config.asterisk.ari_url) == (18088, "https://pbx/x")
    assert (config.audiosocket.host, config.audiosocket.port) == ("0.0.0.0", 18090)
    assert (config.audiosocket.advertise, config.audiosocket.allowed_peers) == (
        "10.0.0.5:8090",
        ("10.0.0.0/8", "::1"),
    )
    assert config.provider_settings("local").url == "ws://ai:8765/v1"
    assert (config.health.host, config.health.port) == ("0.0.0.0", 15001)
    assert (config.recording.directory, config.media.directory) == (Path("/r"), Path("/m"))
    assert (config.logging.level, config.logging.format) == ("debug", "json")


def test_an_absent_downstream_mode_means_files(file: Path) -> None:
    file.write_text(GOOD.replace("downstream_mode: stream\n", ""))
    assert load(file, SECRETS).downstream_mode == "file"


def test_override_that_is_bad_names_the_variable(file: Path) -> None:
    assert problems(file, GOOD, DOWNSTREAM_MODE="smoke")[0].startswith(
        "environment DOWNSTREAM_MODE: downstream_mode: must be 'file' or 'stream'"
    )
    file.write_text(GOOD)
    Path(".env").write_text("\nHEALTH_PORT=x\n")
    with pytest.raises(ConfigError, match=r"^\.env:2: HEALTH_PORT: health.port: must be a valid integer"):
        load(file, SECRETS, Path(".env"))


def test_address_of_ipv6(file: Path) -> None:
    assert loaded(file, GOOD + "asterisk: {host: '::1'}\n").asterisk.host == "::1"


def test_empty_variable_counts_as_not_set(file: Path) -> None:
    assert loaded(file, GOOD, AUDIOSOCKET_PORT="", LOG_LEVEL="").audiosocket.port == 8090
    file.write_text(GOOD)
    with pytest.raises(ConfigError) as caught:
        load(file, {"ASTERISK_ARI_USERNAME": "u", "ASTERISK_ARI_PASSWORD": ""})
    assert str(caught.value) == ("environment ASTERISK_ARI_PASSWORD: not set; write it into .env (see .env.example)")


def test_broken_env_file(file: Path) -> None:
    file.write_text(GOOD)
    Path(".env").write_text("A=1\nnonsense\n")
    with pytest.raises(ConfigError, match=r"^\.env:2: this is not NAME=value$"):
        load(file, SECRETS, Path(".env"))


def test_secrets_do_not_show(file: Path) -> None:
    config = loaded(file, GOOD)
    assert "swordfish" not in repr(config) + str(config.model_dump())


def test_settings_cannot_be_changed(file: Path) -> None:
    config = loaded(file, GOOD)
    with pytest.raises(ValueError, match="frozen"):
        config.audiosocket.port = 1
