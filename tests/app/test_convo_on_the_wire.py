"""A convo.toml of a model that hears and speaks, over a real WebSocket to what plays OpenAI."""

import asyncio
from pathlib import Path

from ai_engine.app.openings import briefing_for, opened
from ai_engine.audio.format import SLIN8
from ai_engine.call.events import ReplyEnded
from ai_engine.config import load
from ai_engine.config.adapters import fitting
from ai_engine.config.agent_file import read_agent
from ai_engine.config.agent_merge import with_agent
from ai_engine.config.providers import make_agent
from ai_engine.remote.http import SharedHttp
from tests.fakes.openai_realtime import OpenAIRealtimeServer
from tests.fakes.scenario import Scenario

SECRETS = {"ASTERISK_ARI_USERNAME": "u", "ASTERISK_ARI_PASSWORD": "p"}
CONVO = """\
[atem]
channel = "lobby"
rtc_user_id = 12
[agent]
user_id = "ada"
[agent.mllm]
vendor = "openai"
url = "{url}/realtime"
api_key = "sk-inline"
greeting_message = "Good day, Doe's bakery."
[agent.mllm.params]
model = "gpt-realtime-mini"
voice = "ash"
instructions = "You sell bread."
"""


async def test_key_and_words_arrive(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("{default_agent: base, agents: {base: {}}}")
    server = OpenAIRealtimeServer(Scenario("Good day."), key="sk-inline", speed=40.0)
    async with server.listening():
        file = read_agent(Path("bakery.toml"), CONVO.format(url=server.url))
        assert file.problems == ()
        config = with_agent(load(tmp_path / "c.yaml", SECRETS), file)
        [provider] = config.providers_of("bakery")
        http = SharedHttp()
        settings = config.provider_settings(provider)
        briefing = briefing_for(config, provider, "call-1", ())
        assert briefing.agent_name == "bakery"
        async with opened(lambda: make_agent(provider, settings, fitting(config, SLIN8, http)), briefing, 5) as agent:
            agent.greet()
            async with asyncio.timeout(10):
                async for event in agent.events():
                    if isinstance(event, ReplyEnded):
                        break
        await http.close()
        session = await server.session()
    assert session.query == {"model": "gpt-realtime-mini"}
    assert session.settings["instructions"] == "You sell bread."
    assert session.settings["audio"]["output"]["voice"] == "ash"
    assert "Good day, Doe's bakery." in str(session.received)
    assert server.violations == []
