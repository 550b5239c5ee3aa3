"""The local agent against a scripted server on a real socket."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.call.events import (
    CallerSaid,
    CallEvent,
    ReplyAudio,
    ReplyBegan,
    ReplyEnded,
    ReplyId,
    ReplyText,
    Stage,
    StageReached,
    ToolAsked,
)
from ai_engine.errors import ProviderError
from ai_engine.providers.local import LocalAgent, LocalSettings
from ai_engine.session.ports import Briefing, Fitting

BRIEFING = Briefing("call-1", {"name": "reception", "language": "en-US"}, "Hello.", "Be kind.")
READY = {"type": "ready", "protocol": 1, "input_rate": 16000, "output_rate": 16000, "backends": {}}
FRAME = b"\x01\x02" * SLIN16.frame_samples

UNKNOWN_RATE = 24000
"""Which the wire cannot offer."""

Script = Callable[["Server"], Awaitable[None]]


class Server:
    """One connection of the scripted server."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket

    async def hears(self) -> Any:
        """The next message: a dict, or the bytes of a frame."""
        message = await self._socket.recv()
        return message if isinstance(message, bytes) else json.loads(message)

    async def says(self, message: dict[str, Any] | bytes | str) -> None:
        await self._socket.send(json.dumps(message) if isinstance(message, dict) else message)

    async def sounds(self, reply: int, pcm: bytes = FRAME) -> None:
        await self.says(reply.to_bytes(4) + pcm)

    async def breaks(self) -> None:
        self._socket.transport.abort()


@asynccontextmanager
async def agent_against(
    script: Script, line_rate: int | None = None, **options: Any
) -> AsyncIterator[tuple[LocalAgent, asyncio.Future[None]]]:
    """A started agent, and the future of the script's end."""
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def talk(socket: ServerConnection) -> None:
        try:
            await script(Server(socket))
        except AssertionError as error:
            done.set_exception(error)
        else:
            done.set_result(None)
            await socket.wait_closed()

    async with serve(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        agent = LocalAgent(
            LocalSettings(url=f"ws://127.0.0.1:{port}/v1"), Fitting(AudioFormat(line_rate or UNKNOWN_RATE), **options)
        )
        try:
            await agent.start(BRIEFING)
            yield agent, done
        finally:
            await agent.close()


async def collect(agent: LocalAgent, last: type[CallEvent]) -> list[CallEvent]:
    events: list[CallEvent] = []
    async with asyncio.timeout(5):
        async for event in agent.events():
            events.append(event)
            if isinstance(event, last):
                break
    return events


async def test_a_turn_travels_pre_roll_first_and_comes_back_as_a_reply() -> None:
    async def script(server: Server) -> None:
        start = await server.hears()
        assert start["type"] == "start"
        assert start["protocol"] == 1
        assert start["call_id"] == "call-1"
        assert start["agent"] == {"name": "reception", "language": "en-US", "greeting": "Hello.", "prompt": "Be kind."}
        await server.says(READY)
        assert await server.hears() == {"type": "turn_begin", "turn": 1}
        assert await server.hears() == b"\1\0" * 320 + b"\2\0" * 320
        assert await server.hears() == FRAME * 5
        assert await server.hears() == FRAME
        assert await server.hears() == {"type": "turn_end", "turn": 1}
        await server.says({"type": "partial", "turn": 1, "text": "what"})
        await server.says({"type": "final", "turn": 1, "text": "what time", "confidence": 0.9})
        await server.says({"type": "reply", "reply": 1, "turn": 1})
        await server.says({"type": "token", "reply": 1, "text": "Ten "})
        await server.says({"type": "clause", "reply": 1, "text": "Ten o'clock."})
        await server.sounds(1)
        await server.sounds(1)
        await server.says({"type": "tool", "reply": 1, "id": "t1", "name": "hangup", "arguments": {}})
        await server.says({"type": "reply_end", "reply": 1, "cancelled": False})

    async with agent_against(script, preroll_ms=40) as (agent, done):
        for frame in (b"\0\0" * 320, b"\1\0" * 320, b"\2\0" * 320):
            agent.hear(frame)
        agent.caller_spoke()
        for _ in range(6):
            agent.hear(FRAME)
        agent.caller_paused()
        events = await collect(agent, ToolAsked)
        await done
        one = ReplyId(1)
        assert events == [
            CallerSaid("what", final=False),
            StageReached(Stage.TRANSCRIPT),
            CallerSaid("what time"),
            ReplyBegan(one),
            StageReached(Stage.FIRST_TOKEN),
            ReplyText(one, "Ten o'clock."),
            StageReached(Stage.FIRST_AUDIO),
            ReplyAudio(one, FRAME),
            ReplyAudio(one, FRAME),
            ReplyEnded(one),
            ToolAsked("t1", "hangup", {}, goes_on=False),
        ]


async def ready(server: Server) -> None:
    await server.hears()
    await server.says(READY)


async def test_what_is_on_its_way_of_an_interrupted_reply_is_refused() -> None:
    async def script(server: Server) -> None:
        await ready(server)
        await server.says({"type": "reply", "reply": 1, "turn": None})
        await server.sounds(1)
        assert await server.hears() == {"type": "cancel", "reply": 1, "heard_ms": 20}
        await server.says({"type": "clause", "reply": 1, "text": "late"})
        await server.sounds(1)
        await server.says({"type": "reply_end", "reply": 1, "cancelled": True})
        await server.says({"type": "reply", "reply": 2, "turn": None})

    async with agent_against(script) as (agent, done):
        await collect(agent, ReplyAudio)
        agent.interrupt(ReplyId(1), 20.4)
        assert await collect(agent, ReplyBegan) == [ReplyEnded(ReplyId(1)), ReplyBegan(ReplyId(2))]
        await done


@pytest.mark.parametrize("is_refused_first", [True, False])
async def test_a_tool_of_an_interrupted_reply_is_not_used_and_the_server_is_told(is_refused_first: bool) -> None:
    async def script(server: Server) -> None:
        await ready(server)
        tools = [("t1", "hangup", False), ("t2", "look_up", True)]
        if not is_refused_first:
            await server.says(reply(1, None))
        for id, name, goes_on in tools if not is_refused_first else ():
            await server.says(tool(1, id, name, goes_on=goes_on))
        await server.says(final(1, "here"))
        if is_refused_first:
            await server.says(reply(1, None))
        await server.sounds(1)
        assert (await server.hears())["type"] == "cancel"
        for id, name, goes_on in tools if is_refused_first else ():
            await server.says(tool(1, id, name, goes_on=goes_on))
        result = await server.hears()
        assert (result["type"], result["id"], result["result"]["ok"]) == ("tool_result", "t2", False)
        await server.says({"type": "reply_end", "reply": 1, "cancelled": True})
        await server.says(reply(2, None))

    async with agent_against(script) as (agent, done):
        await collect(agent, ReplyAudio)
        agent.interrupt(ReplyId(1), 20.0)
        assert await collect(agent, ReplyBegan) == [ReplyEnded(ReplyId(1)), ReplyBegan(ReplyId(2))]
        await done


async def test_a_tool_is_asked_for_when_its_reply_has_ended() -> None:
    async def script(server: Server) -> None:
        await ready(server)
        await server.says(reply(1, None))
        await server.says(tool(1, "t1", "look_up", goes_on=True, what="hours"))
        await server.says({"type": "reply_end", "reply": 1, "cancelled": False})
        assert await server.hears() == {"type": "tool_result", "id": "t1", "result": {"ok": True}}

    async with agent_against(script) as (agent, done):
        assert await collect(agent, ToolAsked) == [
            ReplyBegan(ReplyId(1)),
            ReplyEnded(ReplyId(1)),
            ToolAsked("t1", "look_up", {"what": "hours"}, goes_on=True),
        ]
        agent.answer_tool("t1", {"ok": True})
        await done


async def test_a_reply_to_words_the_caller_has_gone_on_from_is_stopped_unheard() -> None:
    async def script(server: Server) -> None:
        await ready(server)
        for _ in range(3):
            await server.hears()  # turn 1 begins and ends, turn 2 begins
        await server.says({"type": "reply", "reply": 1, "turn": 1})
        await server.sounds(1)
        assert await server.hears() == {"type": "cancel", "reply": 1, "heard_ms": 0}
        await server.says({"type": "reply_end", "reply": 1, "cancelled": True})

    async with agent_against(script) as (agent, done):
        agent.caller_spoke()
        agent.caller_paused()
        agent.caller_spoke()
        assert await collect(agent, ReplyEnded) == [ReplyEnded(ReplyId(1))]
        await done


async def test_a_greeting_that_comes_after_the_caller_began_is_stopped_unheard() -> None:
    async def script(server: Server) -> None:
        await ready(server)
        assert [(await server.hears())["type"] for _ in range(2)] == ["greet", "turn_begin"]
        await server.says({"type": "reply", "reply": 1, "turn": None})
        assert await server.hears() == {"type": "cancel", "reply": 1, "heard_ms": 0}
        await server.says({"type": "tool", "reply": 1, "id": "t1", "name": "hangup", "arguments": {}})
        await server.says({"type": "reply_end", "reply": 1, "cancelled": True})

    async with agent_against(script) as (agent, done):
        agent.greet()
        agent.caller_spoke()
        assert await collect(agent, ReplyEnded) == [ReplyEnded(ReplyId(1))]
        await done


def final(turn: int, text: str) -> dict[str, Any]:
    return {"type": "final", "turn": turn, "text": text, "confidence": 0.9}


def reply(number: int, turn: int | None) -> dict[str, Any]:
    return {"type": "reply", "reply": number, "turn": turn}


def tool(reply: int, id: str, name: str, *, goes_on: bool, **arguments: str) -> dict[str, Any]:
    return {"type": "tool", "reply": reply, "id": id, "name": name, "arguments": arguments, "goes_on": goes_on}


async def test_the_answer_to_an_interruption_is_heard_however_soon_it_comes() -> None:
    async def script(server: Server) -> None:
        await ready(server)
        await server.says(reply(1, None))
        await server.sounds(1)
        # Everything at once, while the engine is still telling that it stopped reply 1.
        for message in (final(1, "where are you"), reply(2, 1), {"type": "clause", "reply": 2, "text": "Here."}):
            await server.says(message)
        await server.sounds(2)
        await server.sounds(1)
        await server.says({"type": "reply_end", "reply": 1, "cancelled": True})
        await server.says({"type": "reply_end", "reply": 2, "cancelled": False})
        heard = [await server.hears() for _ in range(3)]
        assert [message["type"] for message in heard] == ["turn_begin", "cancel", "turn_end"]  # and nothing of reply 2

    async with agent_against(script) as (agent, done):
        await collect(agent, ReplyAudio)
        agent.caller_spoke()
        agent.interrupt(ReplyId(1), 20.0)
        agent.caller_paused()
        two = ReplyId(2)
        events = await collect(agent, ReplyEnded) + await collect(agent, ReplyEnded)
        assert [event for event in events if not isinstance(event, StageReached)] == [
            CallerSaid("where are you"),
            ReplyBegan(two),
            ReplyText(two, "Here."),
            ReplyAudio(two, FRAME),
            ReplyEnded(ReplyId(1)),
            ReplyEnded(two),
        ]
        await done


async def test_what_was_no_speech_is_taken_back_and_costs_no_answer() -> None:
    async def script(server: Server) -> None:
        await ready(server)
        heard = [await server.hears() for _ in range(5)]
        assert heard[:4] == [
            {"type": "turn_begin", "turn": 1},
            {"type": "turn_end", "turn": 1},
            {"type": "turn_begin", "turn": 2},
            {"type": "turn_drop", "turn": 2},
        ]
        await server.says(final(1, "where are you"))
        await server.says(reply(1, 1))

    async with agent_against(script) as (agent, done):
        agent.caller_spoke()
        agent.caller_paused()
        agent.caller_spoke()
        agent.caller_dismissed()
        agent.caller_dismissed()
        agent.caller_paused(brief=True)  # of nothing: it is not told
        agent.digit("1")
        assert ReplyBegan(ReplyId(1)) in await collect(agent, ReplyBegan)
        await done


async def test_speech_right_after_what_was_none_has_its_sound_and_what_was_before() -> None:
    async def script(server: Server) -> None:
        await ready(server)
        assert (await server.hears(), (await server.hears())["type"]) == (
            {"type": "turn_begin", "turn": 1},
            "turn_drop",
        )
        assert await server.hears() == {"type": "turn_begin", "turn": 2}
        assert await server.hears() == b"\1\0" * 320 + b"\2\0" * 320
        assert (await server.hears(), await server.hears()) == (FRAME, {"type": "turn_end", "turn": 2})

    async with agent_against(script, preroll_ms=40) as (agent, done):
        agent.caller_spoke()
        agent.hear(b"\1\0" * 320)
        agent.caller_dismissed()
        agent.hear(b"\2\0" * 320)
        agent.caller_spoke()
        agent.hear(FRAME)
        agent.caller_paused()
        async with asyncio.timeout(5):
            await done


async def test_no_turn_hears_the_end_of_the_one_before() -> None:
    async def script(server: Server) -> None:
        await ready(server)
        messages = [await server.hears() for _ in range(4)]
        assert messages[1] == FRAME
        assert messages[2:] == [{"type": "turn_end", "turn": 1, "brief": True}, {"type": "turn_begin", "turn": 2}]

    async with agent_against(script) as (agent, done):
        agent.caller_spoke()
        agent.hear(FRAME)
        agent.caller_paused(brief=True)
        agent.caller_spoke()
        async with asyncio.timeout(5):
            await done


@pytest.mark.parametrize("text", ["", "mm hm"])
async def test_a_short_sound_that_was_nothing_leaves_the_reply_alone(text: str) -> None:
    async def script(server: Server) -> None:
        await ready(server)
        await server.says(reply(1, None))
        assert [(await server.hears())["type"] for _ in range(2)] == ["turn_begin", "turn_end"]
        await server.says(final(1, text))
        await server.sounds(1)
        await server.says({"type": "reply_end", "reply": 1, "cancelled": False})

    async with agent_against(script) as (agent, done):
        await collect(agent, ReplyBegan)
        agent.caller_spoke()
        agent.caller_paused(brief=True)
        one = ReplyId(1)
        assert await collect(agent, ReplyEnded) == [
            StageReached(Stage.TRANSCRIPT),
            CallerSaid(text),
            ReplyAudio(one, FRAME),
            ReplyEnded(one),
        ]
        await done


async def test_a_short_sound_that_was_a_question_is_answered() -> None:
    async def script(server: Server) -> None:
        await ready(server)
        assert [(await server.hears())["type"] for _ in range(2)] == ["turn_begin", "turn_end"]
        await server.says(final(1, "goodbye"))
        await server.says(reply(2, 1))
        await server.says({"type": "token", "reply": 2, "text": "Bye."})
        await server.says({"type": "reply_end", "reply": 2, "cancelled": False})

    async with agent_against(script) as (agent, done):
        agent.caller_spoke()
        agent.caller_paused(brief=True)
        two = ReplyId(2)
        assert await collect(agent, ReplyEnded) == [
            StageReached(Stage.TRANSCRIPT),
            CallerSaid("goodbye"),
            ReplyBegan(two),
            StageReached(Stage.FIRST_TOKEN),
            ReplyEnded(two),
        ]
        await done


@pytest.mark.parametrize(("text", "is_passed_on"), [("", False), ("uh huh", False), ("wait", True)])
async def test_a_late_word_on_a_short_sound_does_not_judge_the_next_one(text: str, is_passed_on: bool) -> None:
    async def script(server: Server) -> None:
        await ready(server)
        assert [(await server.hears())["type"] for _ in range(3)] == ["turn_begin", "turn_end", "turn_begin"]
        await server.says(final(1, text))
        assert (await server.hears())["type"] == "turn_end"
        await server.says(final(2, "stop"))
        await server.says(reply(9, None))

    async with agent_against(script) as (agent, done):
        agent.caller_spoke()
        agent.caller_paused(brief=True)
        agent.caller_spoke()
        agent.caller_paused(brief=True)
        said = [event for event in await collect(agent, ReplyBegan) if isinstance(event, CallerSaid)]
        assert said == [CallerSaid(text)] * is_passed_on + [CallerSaid("stop")]
        await done


async def test_the_answer_to_a_short_sound_the_caller_went_on_from_is_stopped_unheard() -> None:
    async def script(server: Server) -> None:
        await ready(server)
        for _ in range(3):
            await server.hears()
        await server.says(final(1, "goodbye"))
        await server.says(reply(1, 1))
        assert await server.hears() == {"type": "cancel", "reply": 1, "heard_ms": 0}
        await server.says({"type": "reply_end", "reply": 1, "cancelled": True})

    async with agent_against(script) as (agent, done):
        agent.caller_spoke()
        agent.caller_paused(brief=True)
        agent.caller_spoke()
        events = await collect(agent, ReplyEnded)
        assert CallerSaid("goodbye") in events
        assert not any(isinstance(event, ReplyBegan) for event in events)
        await done


@pytest.mark.parametrize(("line", "offered"), [(8000, 8000), (16000, 16000), (48000, None), (None, None)])
async def test_the_line_is_offered_and_the_server_chooses(line: int | None, offered: int | None) -> None:
    async def script(server: Server) -> None:
        assert (await server.hears()).get("rate") == offered
        await server.says({**READY, "input_rate": offered or 16000})
        await server.hears()
        assert len(await server.hears()) == (offered or 16000) // 50 * 2

    async with agent_against(script, line_rate=line) as (agent, done):
        assert agent.input_format.rate == (offered or 16000)
        agent.hear(agent.input_format.silence())
        agent.caller_spoke()
        async with asyncio.timeout(5):
            await done


async def test_keys_nudges_and_tool_results_travel() -> None:
    async def script(server: Server) -> None:
        await ready(server)
        assert await server.hears() == {"type": "greet"}
        assert await server.hears() == {"type": "digit", "digit": "5"}
        assert await server.hears() == {"type": "nudge"}
        assert await server.hears() == {"type": "nudge", "last": True}
        assert await server.hears() == {"type": "tool_result", "id": "t1", "result": {"ok": True}}

    async with agent_against(script) as (agent, done):
        agent.greet()
        agent.digit("5")
        agent.nudge()
        agent.nudge(last=True)
        agent.answer_tool("t1", {"ok": True})
        async with asyncio.timeout(5):
            await done


async def test_sound_outside_a_turn_stays_here() -> None:
    async def script(server: Server) -> None:
        await ready(server)
        assert await server.hears() == {"type": "nudge"}

    async with agent_against(script) as (agent, done):
        agent.hear(FRAME)
        agent.caller_paused()
        agent.nudge()
        async with asyncio.timeout(5):
            await done


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"type": "error", "code": "busy", "message": "full", "fatal": True}, r"full \(busy\)"),
        ("not json", "does not speak our protocol"),
        ("[" * 100_000, "does not speak our protocol"),
        ({"type": "ready"}, "no sound we can use"),
        ({**READY, "input_rate": 11025}, "no sound we can use"),
        ({"type": "partial"}, "partial"),
    ],
)
async def test_a_server_that_refuses_is_quoted(said: Any, complaint: str) -> None:
    async def script(server: Server) -> None:
        await server.hears()
        await server.says(said)

    with pytest.raises(ProviderError, match=complaint):
        async with agent_against(script):
            pass


async def test_no_server_is_an_error_with_its_address() -> None:
    agent = LocalAgent(LocalSettings(url="ws://127.0.0.1:9/v1"), Fitting(SLIN8))
    with pytest.raises(ProviderError, match=r"ws://127\.0\.0\.1:9/v1"):
        await agent.start(BRIEFING)
    await agent.close()


@pytest.mark.parametrize(
    "breakage",
    [
        lambda server: server.breaks(),
        lambda server: server.says("not json"),
        lambda server: server.says({"type": "final"}),
        lambda server: server.says({"type": "reply", "reply": "x"}),
        lambda server: server.says('{"type": "reply", "reply": Infinity}'),
        lambda server: server.says({"type": "reply", "reply": 2**32, "turn": None}),
        lambda server: server.says(b"\0\0\0"),
        lambda server: server.says({"type": "error", "code": "internal", "message": "oh", "fatal": True}),
    ],
)
async def test_a_session_that_breaks_is_a_provider_error(breakage: Callable[[Server], Awaitable[None]]) -> None:
    async def script(server: Server) -> None:
        await ready(server)
        await breakage(server)

    async with agent_against(script) as (agent, _):
        with pytest.raises(ProviderError):
            await collect(agent, ReplyEnded)


async def test_unknown_messages_and_harmless_errors_are_passed_over() -> None:
    async def script(server: Server) -> None:
        await ready(server)
        await server.says({"type": "weather", "text": "fine"})
        await server.says({"type": "error", "code": "worker", "message": "one died", "fatal": False})
        await server.says({"type": "reply", "reply": 1, "turn": None, "mood": "good"})

    async with agent_against(script) as (agent, _):
        assert await collect(agent, ReplyBegan) == [ReplyBegan(ReplyId(1))]
