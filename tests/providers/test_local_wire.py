"""One contract by fixture: what the server's tests produce the agent understands, and what it says they accept."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from ai_engine.audio.format import SLIN16, AudioFormat
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
from ai_engine.providers.local import LocalAgent, LocalSettings
from ai_engine.session.ports import Briefing, Fitting, Said
from local_ai_server.protocol import decode_client

CAPTURES = Path(__file__).parents[1] / "captures" / "local_ai"
SERVER = {path.stem: path.read_text() for path in (CAPTURES / "server").glob("*.json")}
CLIENT = {path.stem: json.loads(path.read_text()) for path in (CAPTURES / "client").glob("*.json")}
SOUND = (CAPTURES / "server" / "sound.bin").read_bytes()
ORDER = ("partial", "final", "reply", "token", "clause", SOUND, "tool", "tool.goes_on", "status", "reply_end")


@dataclass(frozen=True)
class Spec:
    """A tool, as an agent is told of it."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@pytest.mark.parametrize("start", [CLIENT["start"], CLIENT["start.tools"]], ids=["start", "start.tools"])
async def test_the_captures_travel_both_ways(start: dict[str, Any]) -> None:
    said: list[Any] = []

    async def talk(socket: ServerConnection) -> None:
        said.append(await socket.recv())
        await socket.send(SERVER["ready"])
        for item in ORDER:
            await socket.send(item if isinstance(item, bytes) else SERVER[item])
        async for message in socket:
            said.append(message)  # noqa: PERF401 - what has been said is looked at before the end

    async with serve(talk, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        agent = LocalAgent(LocalSettings(url=f"ws://127.0.0.1:{port}/v1"), Fitting(AudioFormat(start["rate"])))
        own = {"greeting", "prompt"}
        await agent.start(
            Briefing(
                start["call_id"],
                {key: value for key, value in start["agent"].items() if key not in own},
                start["agent"].get("greeting", ""),
                start["agent"].get("prompt", ""),
                history=tuple(Said(speaker, text) for speaker, text in start["history"]),
                tools=tuple(Spec(**tool) for tool in start.get("tools", ())),
            )
        )
        agent.greet()
        agent.caller_spoke()
        agent.hear(SLIN16.silence())
        agent.caller_paused()
        events: list[CallEvent] = []
        async with asyncio.timeout(5):
            async for event in agent.events():
                events.append(event)
                if isinstance(event, ToolAsked) and event.goes_on:
                    break
        agent.caller_spoke()
        agent.caller_paused(brief=True)
        agent.caller_spoke()
        agent.caller_dismissed()
        agent.digit("5")
        agent.nudge()
        agent.nudge(last=True)
        agent.interrupt(ReplyId(2), 12.6)
        agent.answer_tool("tool-1", {"ok": True})
        async with asyncio.timeout(5):
            while sum(isinstance(message, str) for message in said) < 13:  # noqa: ASYNC110 - the far side has no event
                await asyncio.sleep(0.005)
        await agent.close()

    two = ReplyId(2)
    assert [event for event in events if not isinstance(event, StageReached)] == [
        CallerSaid(json.loads(SERVER["partial"])["text"], final=False),
        CallerSaid(json.loads(SERVER["final"])["text"]),
        ReplyBegan(two),
        ReplyText(two, json.loads(SERVER["clause"])["text"]),
        ReplyAudio(two, SOUND[4:]),
        ReplyEnded(two),
        ToolAsked("tool-1", "hangup", {}, goes_on=False),
        ToolAsked("tool-2", "opening_hours", {"day": "monday"}, goes_on=True),
    ]
    assert [event.stage for event in events if isinstance(event, StageReached)] == [
        Stage.TRANSCRIPT, Stage.FIRST_TOKEN, Stage.FIRST_AUDIO,
    ]  # fmt: skip
    words = [json.loads(message) for message in said if isinstance(message, str)]
    assert [word["type"] for word in words] == [
        "start", "greet", "turn_begin", "turn_end", "turn_begin", "turn_end", "turn_begin", "turn_drop", "digit",
        "nudge", "nudge", "cancel", "tool_result",
    ]  # fmt: skip
    assert words[0] == start
    for word in words:
        decode_client(json.dumps(word))  # the strict reader of the other side
        assert word.keys() == CLIENT[_capture_of(word)].keys()


def _capture_of(word: dict[str, Any]) -> str:
    flags = [key for key in ("brief", "last", "tools") if key in word]
    return ".".join([word["type"], *flags])
