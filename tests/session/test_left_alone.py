"""A call whose providers are all left alone: nobody tries them, and the caller reaches a human at once."""

from ai_engine.call.actions import EndReason
from ai_engine.call.events import AgentLost, AgentStarted
from ai_engine.session.roster import Breaker, Candidate
from tests.fakes.call_parts import ScriptedAgent
from tests.fakes.one_call import Call, place

KEY_REFUSED = 401


def left_alone() -> Breaker:
    breaker = Breaker()
    breaker.failed(0.0, "refused", KEY_REFUSED)
    return breaker


def test_with_everybody_left_alone_the_caller_reaches_a_human_at_once() -> None:
    agents = {"one": ScriptedAgent(("Hello.", 400)), "two": ScriptedAgent(("Hello.", 400))}
    candidates = [Candidate(name, lambda agent=agent: agent, left_alone()) for name, agent in agents.items()]  # type: ignore[misc]

    async def story(call: Call) -> None:
        assert await call.reason() is EndReason.RESCUED

    call = place(story, candidates=candidates)
    assert not any(agent.briefings for agent in agents.values()), "nobody was tried"
    assert call.witness.saw(AgentLost) == [AgentLost("every provider is left alone after its failures")]
    assert "transfer offhook,human" in call.control.done


def test_one_that_a_probe_got_through_to_takes_the_call() -> None:
    agent, breakers = ScriptedAgent(("Hello.", 400), ("Yes.", 400)), [left_alone(), left_alone()]
    candidates = [Candidate("one", ScriptedAgent, breakers[0]), Candidate("two", lambda: agent, breakers[1])]
    breakers[1].probe_opened(0.0)

    async def story(call: Call) -> None:
        await call.quiet(1000)
        assert agent.told == ["greet"]
        assert breakers[1].tripped, "whoever greets need not be able to answer"
        await call.speak(500)
        await call.quiet(1500)

    call = place(story, candidates=candidates)
    assert call.witness.saw(AgentStarted) == [AgentStarted("two")]
    assert not breakers[1].tripped, "it answered"
    assert breakers[0].tripped
