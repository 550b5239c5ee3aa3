"""A convo.toml is taken as it is, becomes an agent of ours, and says of each key that does nothing why."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ai_engine.config import EngineConfig, load
from ai_engine.config.adapters import session_settings_of
from ai_engine.config.agent_file import AgentFile, read_agent
from ai_engine.config.agent_merge import with_agent
from ai_engine.config.convo import Atem, Convo, ConvoAgent, Llm, Vendor
from ai_engine.config.convo_unused import NOT_APPLICABLE
from ai_engine.errors import ConfigError

SAMPLE = Path(__file__).parents[2] / "config" / "examples" / "convo.toml"
SECRETS = {
    **{"ASTERISK_ARI_USERNAME": "u", "ASTERISK_ARI_PASSWORD": "p", "CALL_AGENT_TOKEN": "t"},
    **{"OPENAI_API_KEY": "sk-env", "DEEPGRAM_API_KEY": "dg-env"},
}
BASE = """\
default_agent: base
agents: {base: {}}
call_agent: {enabled: true, telephony: {provider: mock}}
studio: {}
"""
MLLM = """\
[agent]
user_id = 7
[agent.mllm]
vendor = "openai"
"""
CASCADE = """\
[agent.asr]
vendor = "local"
[agent.tts]
vendor = "local"
[agent.llm]
vendor = "local"
"""


@pytest.fixture
def base(tmp_path: Path) -> EngineConfig:
    file = tmp_path / "c.yaml"
    file.write_text(BASE)
    return load(file, SECRETS)


def agent(text: str, *, strict: bool = False) -> AgentFile:
    return read_agent(Path("a.toml"), text, strict=strict)


def taken(base: EngineConfig, text: str) -> EngineConfig:
    return with_agent(base, agent(text))


def problems(base: EngineConfig, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        taken(base, text)
    return str(caught.value)


def test_the_sample(base: EngineConfig) -> None:
    file = read_agent(SAMPLE, SAMPLE.read_text())
    config = with_agent(base, file)
    assert config.agents["convo"].model_dump(exclude_defaults=True) == {
        "provider": "convo.cascaded",
        "greeting": "Dental practice Doe, good day. How can I help you?",
        "prompt": "You answer the telephone of a dental practice. One or two short sentences at a time.",
        "idle_seconds": 60.0,
        "end_silence_ms": 600,
    }
    pipeline = config.provider_settings("convo.cascaded")
    assert pipeline.model_dump(exclude_unset=True) == {
        "stt": {"type": "deepgram", "model": "nova-3"},
        "llm": {
            **{"type": "openai", "url": "https://api.openai.com/v1", "key": "OPENAI_API_KEY"},
            **{"model": "gpt-4o-mini", "temperature": 0.3},
        },
        "tts": {"type": "deepgram", "model": "aura-2-thalia-en"},
    }
    assert {line.split(":")[0] for line in file.not_applicable} == {
        *("atem.channel", "atem.rtc_user_id", "agent.user_id", "agent.mllm"),
        *("agent.llm.failure_message", "agent.llm.max_history", "parameters.data_channel"),
    }
    settings = session_settings_of(config, "convo")
    assert (settings.no_input_seconds * (settings.no_input_limit + 1), settings.vad.end_silence_ms) == (60, 600)


def test_a_model_that_hears_and_speaks(base: EngineConfig) -> None:
    text = """\
[atem.encryption]
mode = 3
key = "hush"
[agent]
user_id = "me"
[agent.mllm]
vendor = "openai"
url = "https://eu.example/v1/realtime?model=gpt-realtime-mini"
api_key = "sk-inline"
greeting_message = "Hello!"
[agent.mllm.params]
voice = "ash"
instructions = "Be brief."
speed = 1
modalities = ["audio"]
"""
    config = taken(base, text)
    assert config.providers_of("a") == ("a.mllm",)
    assert (config.greeting("a"), config.prompt("a")) == ("Hello!", "Be brief.")
    assert config.provider_settings("a.mllm").model_dump(exclude_unset=True) == {
        **{"type": "openai_realtime", "url": "wss://eu.example/v1", "key": "AGENT_A_MLLM_KEY"},
        **{"model": "gpt-realtime-mini", "voice": "ash", "speed": 1.0},
    }
    assert config.secrets.keys["AGENT_A_MLLM_KEY"].get_secret_value() == "sk-inline"
    file = agent(text)
    assert [line.split(":")[0] for line in file.not_applicable] == [
        *("atem.encryption", "agent.user_id", "agent.mllm.params.modalities")
    ]
    assert "sk-inline" not in f"{config!r}{file!r}{config.model_dump_json()}"
    assert "hush" not in f"{config!r}{file!r}"


def test_whatever_does_nothing_is_told() -> None:
    file = agent("[atem]\nrtc_user_id = 0\n[agent.mllm]\nurl = 'wss://h/v1/realtime?model=m&key=s3cret'\n")
    assert file.not_applicable == (
        "atem.rtc_user_id: there is no RTC channel here: sound comes from Asterisk",
        "agent.mllm.url: what follows the question mark is not passed on, but for `model`",
    )


def test_mcp_servers(base: EngineConfig) -> None:
    text = (
        CASCADE
        + """\
[[agent.llm.mcp_servers]]
name = "crm"
endpoint = "http://127.0.0.1:9/mcp"
transport = "streamable_http"
headers = {Authorization = "Bearer s3cret", X-Team = "${OPENAI_API_KEY}"}
allowed_tools = ["lookup_*", "book"]
timeout_ms = 2500
[[agent.llm.mcp_servers]]
name = "all"
endpoint = "http://127.0.0.1:8/mcp"
"""
    )
    config = taken(base, text)
    crm = config.tools.mcp["crm"]
    assert config.tools_of("a") == (*config.tools.own, "crm.*", "all.*")
    assert (crm.url, crm.timeout_seconds, [name for name in ("lookup_x", "book", "drop") if crm.allows(name)]) == (
        *("http://127.0.0.1:9/mcp", 2.5),
        ["lookup_x", "book"],
    )
    assert config.tools.mcp["all"].allows("anything")
    assert crm.headers == {"Authorization": "${AGENT_A_CRM_AUTHORIZATION}", "X-Team": "${OPENAI_API_KEY}"}
    assert config.secrets.keys["AGENT_A_CRM_AUTHORIZATION"].get_secret_value() == "Bearer s3cret"
    off = taken(base, text + "[advanced_features]\nenable_tools = false\n")
    assert off.tools_of("a") == off.tools.own


def test_secrets_whose_names_differ_little_are_kept_apart(base: EngineConfig) -> None:
    names = ("crm-1", "crm_1", "CRM_1", "llm")
    text = CASCADE.replace('[agent.llm]\nvendor = "local"', '[agent.llm]\nvendor = "openai"\napi_key = "of llm"')
    text += "".join(
        f"[[agent.llm.mcp_servers]]\nname = '{name}'\nendpoint = 'http://h/'\nheaders = {{Key = 'of {name} server'}}\n"
        for name in names
    )
    config = taken(base, text)

    def value(reference: str) -> str:
        return config.secrets.keys[reference.strip("${}")].get_secret_value()

    assert [value(config.tools.mcp[name].headers["Key"]) for name in names] == [f"of {name} server" for name in names]
    llm = config.pipelines["a.cascaded"].llm
    assert value(llm.key or "") == "of llm"


def test_another_language_model_needs_no_key(base: EngineConfig) -> None:
    text = CASCADE.replace('vendor = "local"\n', "", 3).replace("[agent.asr]", '[agent.asr]\nvendor = "local"')
    text = text.replace("[agent.tts]", '[agent.tts]\nvendor = "local"')
    text += 'url = "http://127.0.0.1:11434/v1"\n[agent.llm.params]\nmodel = "llama3.2"\nthink = false\n'
    llm = taken(base, text).pipelines["a.cascaded"].llm
    assert llm.model_dump(exclude_unset=True) == {
        **{"type": "openai", "url": "http://127.0.0.1:11434/v1", "key": None, "model": "llama3.2"},
        "extra": {"think": False},
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[agent]\npreset = 'sales,de'\n",
        MLLM,
        CASCADE,
        '[atem]\nrtc_user_id = "12"\ngeofence = "EUROPE"\nhipaa = true\npoll_interval_secs = 5\n' + CASCADE,
        "[atem]\nenable_avatar = true\n[agent.avatar]\nvendor = 'x'\navatar_id = '1'\n" + CASCADE,
        MLLM + "[sal]\nsal_mode = 'locking'\n[vad]\nthreshold = 0.5\n[parameters.silence_config]\ntimeout_ms = 1\n",
        '[atem]\npipeline = "mllm"\n'
        + CASCADE
        + MLLM.replace("[agent]\n", "[agent.avatar]\n").replace("user_id = 7", ""),
    ],
)
def test_is_accepted_as_it_is(base: EngineConfig, text: str) -> None:
    assert "a" in taken(base, text).agents


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[atem]\nchanel = 'x'\n", "a.toml:2: atem.chanel: unknown key (did you mean channel?)"),
        ("[agent]\n[agent.llm]\nurll = 'x'\n", "a.toml:3: agent.llm.urll: unknown key (did you mean url?)"),
        ("\n[extra]\nx = 1\n", "a.toml:2: extra: unknown key (known here: advanced_features, agent, atem,"),
        (
            "[[agent.llm.mcp_servers]]\nname = 'a'\nendpoint = 'http://h/'\nurl = 1\n",
            "a.toml:4: agent.llm.mcp_servers[0].url: unknown key (known here: ",
        ),
        ("[atem]\ngeofence = 'MARS'\n", "a.toml:2: atem.geofence: must be 'GLOBAL', 'NORTH_AMERICA',"),
        ("[atem]\npoll_interval_secs = 1\n", "a.toml:2: atem.poll_interval_secs: must be greater than or equal to 5"),
        ("[atem]\nchannel = 'x'\n" + CASCADE + MLLM[20:], "a.toml:1: atem.pipeline: there are"),
        ("[agent.llm]\nurl = 'http://h/v1'\n", "a.toml:1: agent: a cascade needs [agent.asr] and [agent.tts], too"),
        ("[agent.mllm]\nvendor = 'gemini'\n", "a.toml:2: agent.mllm.vendor: there is no model of 'gemini' that"),
        (CASCADE.replace("local", "azure", 1), "a.toml:2: agent.asr.vendor: there is no speech to text of 'azure'"),
        ("[agent.mllm]\n[agent.mllm.params]\nvoice = 'nobody'\n", "a.toml:3: agent.mllm.params.voice: must be 'alloy'"),
        ("[agent.mllm]\nurl = 'ftp://x'\n", "a.toml:2: agent.mllm.url: "),
        ("[agent.mllm]\nurl = 'wss://x:port/'\n", "a.toml:2: agent.mllm.url: "),
        (CASCADE + "url = 'http://x:-1'\n", "a.toml:7: agent.llm.url: "),
        ("[agent.mllm]\napi_key = '${NOT_THERE}'\n", "a.toml:2: agent.mllm.api_key: NOT_THERE is not set"),
        ("[vad]\nsilence_duration_ms = 1\n", "a.toml:2: vad.silence_duration_ms: must be greater than or equal to 100"),
        ("[agent\n", "a.toml:1: this is not TOML"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_line(base: EngineConfig, text: str, error: str) -> None:
    assert problems(base, text).startswith(error)


@pytest.mark.parametrize(
    "text",
    [
        "[agent.mllm]\napi_key = 123456\n",
        "[agent.mllm]\napi_key = ['123456']\n",
        "[agent.mllm]\nurl = 'wss://me:123456@host/'\n",
        "[agent.mllm]\napi_key = '123456'\nvendor = 'nobody'\n",
        CASCADE + "api_key = '123456'\nurl = 'x'\n",
        "[atem.encryption]\nmode = 1\nkey = 123456\n",
        "[atem.encryption]\nsalt = 123456\n",
        CASCADE + "[[agent.llm.mcp_servers]]\nname = 'a'\nendpoint = 'http://h/?token=123456'\n",
        "[[agent.llm.mcp_servers]]\nname = 'a'\nendpoint = 'http://h/'\nheaders = {Authorization = 123456}\n",
    ],
)
def test_no_complaint_shows_a_secret(base: EngineConfig, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        taken(base, text.replace('vendor = "local"\napi_key', "api_key"))
    assert "123456" not in str(caught.value)


@given(
    st.integers(0, 60),
    st.sampled_from(["", "x", "= 1", "[agent]", "[[agent]]", "url = 1", "vendor = ''", "params = 3"]),
)
@settings(deadline=None)
def test_whatever_stands_there_is_a_problem_or_an_agent(at: int, line: str) -> None:
    lines = SAMPLE.read_text().splitlines()
    lines[at : at + 1] = [line]
    file = agent("\n".join(lines))
    assert (file.section is None) == bool(file.problems)
    assert all(problem.startswith("a.toml:") for problem in file.problems)


def test_strict_mode_refuses_what_does_nothing() -> None:
    file = agent("[atem]\nchannel = 'x'\n" + CASCADE, strict=True)
    assert file.problems == (
        "a.toml:2: atem.channel: means nothing here: there is no RTC channel here: sound comes from Asterisk; "
        "`studio agent start --channel` names a room",
        "a.toml:3: agent.user_id: must be set",
    )
    assert agent(MLLM + "[vad]\nsilence_duration_ms = 500\n", strict=True).problems == ()


def test_the_guide_names_every_key() -> None:
    guide = (SAMPLE.parents[2] / "docs" / "agents.md").read_text()
    known: set[str] = set()
    for section in (Convo, Atem, ConvoAgent, Llm, Vendor):
        known |= section.model_fields.keys()
    own = {"atem", "agent", "vendor", "language", "url", "params"}
    for key in {*known - own, *(str(place[-1]) for place in NOT_APPLICABLE)}:
        assert re.search(rf"[`.\[ ]{key}[`\]. ,]", guide), key
