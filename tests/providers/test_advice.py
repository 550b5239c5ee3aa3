"""What an operator tells the agent reaches the model, over every provider's own wire, and outlives a takeover."""

import json
from dataclasses import replace
from typing import Any

from ai_engine.providers.deepgram_agent.settings import DeepgramAgentSettings
from ai_engine.providers.deepgram_agent.wire import settings_message
from ai_engine.providers.pipeline.record import Record
from ai_engine.session.ports import Briefing, Said
from ai_engine.text.aside import aside
from tests.fakes.scenario import Turn
from tests.providers import test_deepgram_agent as deepgram
from tests.providers import test_local as local
from tests.providers import test_openai_realtime as openai
from tests.waiting import until

ADVICE = "They are a regular: offer ten percent."
HISTORY = (Said("agent", "Hello."), Said("operator", ADVICE), Said("caller", "what are your hours"))


async def test_openai_knows_it_before_the_next_answer_and_says_nothing_of_its_own() -> None:
    async with openai.talking([Turn("what are your hours", openai.HOURS)]) as (talk, session):
        assert talk.agent.advise(ADVICE) == ""
        await until(lambda: session.items)
        assert [(item.wire["role"], item.wire["content"][0]["text"]) for item in session.items] == [
            ("system", aside(ADVICE))
        ]
        talk.agent.respond("what are your hours")
        await talk.ended(1)
        assert session.received_types.count("response.create") == 1


async def test_openai_knows_it_after_a_takeover() -> None:
    briefing = Briefing("call-1", {}, openai.GREETING, "Be kind.", history=HISTORY)
    async with openai.talking([Turn("what are your hours", openai.HOURS)] * 2, briefing=briefing) as (_, session):
        await until(lambda: len(session.items) == 3)
        assert [item.wire["role"] for item in session.items] == ["assistant", "system", "user"]


async def test_deepgram_adds_it_to_its_prompt() -> None:
    async with deepgram.talking([Turn("what are your hours", deepgram.HOURS)]) as (talk, session):
        assert talk.agent.advise(ADVICE) == ""
        talk.caller_says("what are your hours")
        await talk.ended(1)
        assert session.got("UpdatePrompt") == [{"type": "UpdatePrompt", "prompt": aside(ADVICE)}]


def test_deepgram_knows_it_after_a_takeover() -> None:
    briefing = Briefing("call-1", {}, "Hello.", "Be kind.", history=HISTORY)
    agent = settings_message(DeepgramAgentSettings(), briefing)["agent"]
    assert agent["think"]["prompt"] == f"Be kind.\n\n{aside(ADVICE)}"
    assert [message["role"] for message in agent["context"]["messages"]] == ["assistant", "user"]


def test_a_pipeline_has_it_among_its_instructions_whenever_it_came() -> None:
    record = Record("Be kind.", HISTORY)
    record.advise("And be quick.")
    system, *rest = record.messages()
    assert system.text == f"Be kind.\n\n{aside(ADVICE)}\n\n{aside('And be quick.')}"
    assert [message.role for message in rest] == ["assistant", "user"]


async def test_the_local_server_is_told_where_it_takes_notes() -> None:
    told: list[dict[str, Any]] = []

    async def script(server: local.Server) -> None:
        told.append(await server.hears())
        await server.says({**local.READY, "notes": True})
        told.append(await server.hears())

    async with local.agent_against(script) as (agent, done):
        assert agent.advise(ADVICE) == ""
        await done
    assert told[1] == {"type": "note", "text": aside(ADVICE)}


async def test_the_local_server_that_reads_no_prompt_says_so() -> None:
    async def script(server: local.Server) -> None:
        await server.hears()
        await server.says(local.READY)
        assert await server.hears() == {"type": "greet"}

    async with local.agent_against(script) as (agent, done):
        assert "reads no prompt" in agent.advise(ADVICE)
        agent.greet()
        await done


async def test_the_local_server_knows_it_after_a_takeover() -> None:
    started: list[dict[str, Any]] = []

    async def script(server: local.Server) -> None:
        started.append(await server.hears())
        await server.says(local.READY)

    briefing, local.BRIEFING = local.BRIEFING, replace(local.BRIEFING, history=HISTORY)
    try:
        async with local.agent_against(script) as (_, done):
            await done
    finally:
        local.BRIEFING = briefing
    assert started[0]["agent"]["prompt"] == f"Be kind.\n\n{aside(ADVICE)}"
    assert started[0]["history"] == [["agent", "Hello."], ["caller", "what are your hours"]]
    assert "operator" not in json.dumps(started[0])
