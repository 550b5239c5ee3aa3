"""The vendor's own client talks to the fakes of Deepgram."""

import asyncio
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from deepgram import AsyncDeepgramClient
from deepgram.agent.v1.types import (
    AgentV1InjectAgentMessage,
    AgentV1InjectUserMessage,
    AgentV1SendFunctionCallResponse,
    AgentV1Settings,
    AgentV1UpdatePrompt,
)
from deepgram.core.api_error import ApiError
from deepgram.listen.v1.types import ListenV1CloseStream, ListenV1Finalize, ListenV1KeepAlive
from deepgram.speak.v1.types import SpeakV1Text
from websockets.exceptions import ConnectionClosed

from ai_engine.audio.g711 import alaw_to_pcm, pcm_to_ulaw, ulaw_to_pcm
from tests.fakes import deepgram_flux, deepgram_nova, deepgram_speak
from tests.fakes.deepgram import DeepgramServer
from tests.fakes.deepgram_wire import Pace, Session
from tests.fakes.scenario import Call, Fault, Scenario, Turn
from tests.fakes.word_tones import spoken
from tests.waiting import until

pytestmark = [
    pytest.mark.filterwarnings("ignore:websockets.legacy is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:websockets.exceptions.InvalidStatusCode is deprecated:DeprecationWarning"),
]

FAST = Pace(speed=40.0)

SCENARIO = Scenario(
    "Hello, this is the garden center.",
    [
        Turn("what are your hours", "We are open from nine to six.", pieces=2),
        Turn("book a table", "One moment.", tools=[Call("book", {"people": 2})], then="It is booked."),
        Turn("thank you", "You are welcome. Goodbye."),
    ],
)

TELEPHONE = {"encoding": "mulaw", "sample_rate": 8000}


class Line:
    """A socket of the official client, and everything that came over it."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.messages: list[Any] = []
        self.closed: ConnectionClosed | None = None
        self.over = False

    async def read(self) -> None:
        try:
            async for message in self.socket:
                self.messages.append(message)
        except ConnectionClosed as closed:
            self.closed = closed
        self.over = True

    @property
    def sound(self) -> bytes:
        return b"".join(one for one in self.messages if isinstance(one, bytes))

    def types(self, *passed_over: str) -> list[str]:
        """In order, a run of sound as one."""
        names = ["sound" if isinstance(one, bytes) else one.type for one in self.messages]
        names = [name for name in names if name not in passed_over]
        return [
            name for name, before in zip(names, [None, *names], strict=False) if (name, before) != ("sound", "sound")
        ]

    def of(self, kind: str) -> list[Any]:
        return [one for one in self.messages if not isinstance(one, bytes) and one is not None and one.type == kind]

    async def wait(self, kind: str, count: int = 1) -> Any:
        await until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)[count - 1]

    async def ended(self) -> int | None:
        """The code that the server closed with."""
        await until(lambda: self.over)
        code: int | None = self.socket._websocket.close_code
        return code

    async def say(self, text: str, quiet_ms: int = 1200, rate: int = 8000) -> None:
        """As the caller, all at once: the fakes' clock is the sound."""
        await self.hear(spoken(text, rate) + bytes(2 * rate * quiet_ms // 1000), rate)

    async def hear(self, pcm: bytes, rate: int = 8000) -> None:
        step = 2 * rate // 50
        for at in range(0, len(pcm), step):
            await self.socket.send_media(pcm_to_ulaw(pcm[at : at + step]))


def client(server: DeepgramServer, key: str = "test-key") -> AsyncDeepgramClient:
    return AsyncDeepgramClient(api_key=key, environment=server.environment)


@asynccontextmanager
async def reading(socket: Any) -> AsyncIterator[Line]:
    line = Line(socket)
    task = asyncio.create_task(line.read())
    try:
        yield line
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def serving(scenario: Scenario = SCENARIO, pace: Pace = FAST) -> AsyncIterator[DeepgramServer]:
    async with DeepgramServer(scenario, pace=pace).listening() as server:
        yield server


@asynccontextmanager
async def agent_line(server: DeepgramServer, settings: dict[str, Any] | None = None) -> AsyncIterator[Line]:
    async with client(server).agent.v1.connect() as socket, reading(socket) as line:
        if settings is not None:
            await line.wait("Welcome")
            await socket.send_settings(AgentV1Settings.model_validate(settings))
        yield line


@asynccontextmanager
async def listen_line(server: DeepgramServer, **query: Any) -> AsyncIterator[Line]:
    asked = {"model": "nova-3", "encoding": "mulaw", "sample_rate": 8000, "interim_results": "true", **query}
    async with client(server).listen.v1.connect(**asked) as socket, reading(socket) as line:
        yield line


@asynccontextmanager
async def flux_line(server: DeepgramServer, **query: Any) -> AsyncIterator[Line]:
    asked = {"model": "flux-general-en", "encoding": "mulaw", "sample_rate": 8000, **query}
    async with client(server).listen.v2.connect(**asked) as socket, reading(socket) as line:
        await line.wait("Connected")
        yield line


@asynccontextmanager
async def speak_line(server: DeepgramServer, **query: Any) -> AsyncIterator[Line]:
    asked = {"model": "aura-2-thalia-en", "encoding": "mulaw", "sample_rate": 8000, **query}
    async with client(server).speak.v1.connect(**asked) as socket, reading(socket) as line:
        await line.wait("Metadata")
        yield line


def settings(greeting: str = "", messages: list[dict[str, Any]] | None = None, **agent: Any) -> dict[str, Any]:
    return {
        "type": "Settings",
        "audio": {"input": {**TELEPHONE}, "output": {**TELEPHONE, "container": "none"}},
        "agent": {
            "listen": {"provider": {"type": "deepgram", "version": "v2", "model": "flux-general-en"}},
            "think": {
                "provider": {"type": "open_ai", "model": "gpt-4o-mini"},
                "prompt": "You sell plants.",
                "functions": [{"name": "book", "description": "Books a table.", "parameters": {"type": "object"}}],
            },
            "speak": {"provider": {"type": "deepgram", "model": "aura-2-thalia-en"}},
            **({"greeting": greeting} if greeting else {}),
            **({"context": {"messages": messages}} if messages else {}),
            **agent,
        },
    }


def ulaw(text: str) -> bytes:
    return pcm_to_ulaw(spoken(text, 8000))


async def test_agent_greets_and_answers() -> None:
    async with serving() as server, agent_line(server, settings(SCENARIO.greeting)) as line:
        await line.wait("AgentAudioDone")
        await line.say("anything at all")
        await line.wait("AgentAudioDone", 2)
        assert line.types("History") == [
            *("Welcome", "SettingsApplied"),
            *("ConversationText", "AgentStartedSpeaking", "sound", "AgentAudioDone"),
            *("UserStartedSpeaking", "ConversationText", "AgentThinking"),
            *("ConversationText", "AgentStartedSpeaking", "sound", "AgentAudioDone"),
        ]
        assert [(one.role, one.content) for one in line.of("ConversationText")] == [
            ("assistant", "Hello, this is the garden center."),
            ("user", "what are your hours"),
            ("assistant", "We are open from nine to six."),
        ]
        assert line.sound == ulaw("Hello, this is the garden center. We are open from nine to six.")
        session = server.agent_sessions[0]
        assert session.speech_pcm == ulaw_to_pcm(line.sound)
        assert session.caller_pcm[: 2 * 8000 * 3 // 5] == ulaw_to_pcm(ulaw("anything at all"))
    await until(lambda: session.closed)
    assert server.violations == []
    assert "authorization" not in session.headers
    assert "test-key" not in repr(session)


async def test_agent_calls_a_function() -> None:
    history = [{"type": "History", "role": "user", "content": "what are your hours"}]
    async with serving() as server, agent_line(server, settings(messages=history)) as line:
        await line.wait("SettingsApplied")
        await line.say("two words")
        request = await line.wait("FunctionCallRequest")
        asked = request.functions[0]
        assert (asked.name, asked.arguments, asked.client_side) == ("book", '{"people": 2}', True)
        assert line.sound == ulaw("One moment.")
        await line.socket.send_function_call_response(
            AgentV1SendFunctionCallResponse(id=asked.id, name="book", content='{"ok": true}')
        )
        await line.wait("AgentAudioDone", 2)
        assert line.sound == ulaw("One moment. It is booked.")
    assert server.violations == []


async def test_agent_cancels_a_function_when_the_caller_speaks() -> None:
    history = [{"type": "History", "role": "user", "content": "what are your hours"}]
    async with serving() as server, agent_line(server, settings(messages=history)) as line:
        await line.wait("SettingsApplied")
        await line.say("book a table")
        asked = (await line.wait("FunctionCallRequest")).functions[0]
        await line.say("no wait", quiet_ms=0)
        cancelled = await line.wait("FunctionCallCancelled")
        assert (cancelled.functions[0].id, cancelled.functions[0].name) == (asked.id, "book")
        assert server.violations == []
        await asyncio.sleep(0.3)  # the fake forgives an answer that was on its way
        late = AgentV1SendFunctionCallResponse(id=asked.id, name="book", content="{}")
        await line.socket.send_function_call_response(late)
        await until(lambda: server.violations)
        assert server.violations == ["FunctionCallResponse to book: it was cancelled"]


async def test_agent_wants_one_answer_to_each_call() -> None:
    history = [{"type": "History", "role": "user", "content": "what are your hours"}]
    async with serving() as server, agent_line(server, settings(messages=history)) as line:
        await line.wait("SettingsApplied")
        await line.say("book a table")
        asked = (await line.wait("FunctionCallRequest")).functions[0]
        for id in (asked.id, asked.id, "func_unknown"):
            answer = AgentV1SendFunctionCallResponse(id=id, name="book", content="{}")
            await line.socket.send_function_call_response(answer)
        await until(lambda: len(server.violations) == 2)
        assert set(server.violations) == {"FunctionCallResponse to book: it was not asked for, or is answered"}


async def test_agent_falls_silent_when_the_caller_speaks() -> None:
    async with serving(pace=Pace(speed=1.0)) as server, agent_line(server, settings(SCENARIO.greeting)) as line:
        await until(lambda: line.sound)
        await line.say("stop", quiet_ms=0)
        await line.wait("UserStartedSpeaking")
        await asyncio.sleep(0.25)  # three more chunks, if it went on
        assert line.types("History")[-2:] == ["sound", "UserStartedSpeaking"]
        assert not line.of("AgentAudioDone")
        await line.hear(bytes(2 * 8000))
        await line.wait("AgentStartedSpeaking", 2)
    assert server.violations == []


async def test_agent_speaks_faster_than_real_time_and_not_at_once() -> None:
    async with serving(pace=Pace(speed=4.0)) as server, agent_line(server, settings(SCENARIO.greeting)) as line:
        begin = asyncio.get_running_loop().time()
        await line.wait("AgentAudioDone")
        assert asyncio.get_running_loop().time() - begin > 0.25  # 1.2 s of sound
        assert len([one for one in line.messages if isinstance(one, bytes)]) == 15
    assert server.violations == []


async def test_agent_takes_injections() -> None:
    async with serving() as server, agent_line(server, settings()) as line:
        await line.wait("SettingsApplied")
        await line.socket.send_update_prompt(AgentV1UpdatePrompt(prompt="Sell more."))
        await line.wait("PromptUpdated")
        await line.socket.send_inject_user_message(AgentV1InjectUserMessage(content="Thank you!"))
        await line.wait("AgentAudioDone")
        assert line.sound == ulaw("You are welcome. Goodbye.")
        assert [one.content for one in line.of("ConversationText")] == ["Thank you!", "You are welcome.", "Goodbye."]
        await line.socket.send_inject_agent_message(AgentV1InjectAgentMessage(message="Still there?"))
        await line.wait("AgentAudioDone", 2)
        await line.say("yes", quiet_ms=0)
        await line.wait("UserStartedSpeaking")
        await line.socket.send_inject_agent_message(AgentV1InjectAgentMessage(message="Hello?"))
        await line.wait("InjectionRefused")
        assert line.of("ConversationText")[-1].content == "Still there?"
    assert server.violations == []


async def test_agent_queues_an_injection() -> None:
    async with serving() as server, agent_line(server, settings(SCENARIO.greeting)) as line:
        await until(lambda: line.sound)
        queued = AgentV1InjectAgentMessage(message="One more thing.", behavior="queue")
        await line.socket.send_inject_agent_message(queued)
        await line.wait("AgentAudioDone", 2)
        assert line.sound == ulaw("Hello, this is the garden center. One more thing.")
    assert server.violations == []


async def test_agent_can_be_kept_alive_and_is_otherwise_closed() -> None:
    async with serving(pace=Pace(speed=40.0, idle_seconds=0.6)) as server, agent_line(server, settings()) as line:
        for _ in range(4):
            await asyncio.sleep(0.2)
            await line.socket.send_keep_alive()
        assert not line.over
        await line.ended()
        assert line.of("Error")[0].code == "CLIENT_MESSAGE_TIMEOUT"
    assert server.violations == []


async def test_agent_hears_nothing_before_its_settings_apply() -> None:
    async with serving() as server, agent_line(server) as line:
        await line.wait("Welcome")
        await line.socket.send_media(bytes(160))
        await line.ended()
        assert line.of("Error")[0].code == "BINARY_MESSAGE_BEFORE_SETTINGS"
        assert server.violations == ["sound before SettingsApplied"]


def _without_type(message: dict[str, Any]) -> None:
    del message["agent"]["think"]["provider"]["type"]


def _with_client_side(message: dict[str, Any]) -> None:
    message["agent"]["think"]["functions"][0]["client_side"] = True


def _in_no_encoding(message: dict[str, Any]) -> None:
    message["audio"]["input"]["encoding"] = "ulaw"


def _in_a_container(message: dict[str, Any]) -> None:
    message["audio"]["output"]["container"] = "wav"


def _without_rate(message: dict[str, Any]) -> None:
    del message["audio"]["input"]["sample_rate"]


@pytest.mark.parametrize(
    ("spoil", "where"),
    [
        (_without_type, "agent.think.provider.type: missing"),
        (_with_client_side, "agent.think.functions.0.client_side: no such field"),
        (_in_no_encoding, "audio.input.encoding: not one of the choices"),
        (_in_a_container, "container none"),
        (_without_rate, "audio.input.sample_rate: Field required"),
    ],
)
async def test_agent_refuses_settings(spoil: Any, where: str) -> None:
    message = settings()
    spoil(message)
    async with serving() as server, agent_line(server) as line:
        await line.wait("Welcome")
        await line.socket.send_raw(message)
        await line.ended()
        assert line.of("Error")[0].code == "UNPARSABLE_CLIENT_MESSAGE"
        assert len(server.violations) == 1
        assert where in server.violations[0]


@pytest.mark.parametrize("raw", [{"type": "Hello"}, {"type": "KeepAlive", "now": 1}, {}, "not JSON", "[]"])
async def test_agent_refuses_what_it_does_not_know(raw: Any) -> None:
    async with serving() as server, agent_line(server, settings()) as line:
        await line.wait("SettingsApplied")
        await line.socket.send_raw(raw)
        await line.ended()
        assert line.of("Error")[0].code == "UNPARSABLE_CLIENT_MESSAGE"
        assert len(server.violations) == 1


@pytest.mark.parametrize("turn", [None, 0])
@pytest.mark.parametrize("kind", ["close", "error", "limit", "stall", "garbage"])
async def test_agent_fails(kind: Any, turn: int | None) -> None:
    text = SCENARIO.greeting if turn is None else SCENARIO.turns[0].say
    scenario = Scenario(SCENARIO.greeting, SCENARIO.turns, [Fault(kind, turn, after_ms=300)])
    greeting = SCENARIO.greeting if turn is None else ""
    async with serving(scenario) as server, agent_line(server, settings(greeting)) as line:
        await line.wait("SettingsApplied")
        if turn is not None:
            await line.say("what are your hours")
        if kind in ("close", "error", "limit"):
            assert await line.ended() == (1011 if kind == "close" else 1000)
            assert [one.code for one in line.of("Error")] == {
                "close": [],
                "error": ["INTERNAL_SERVER_ERROR"],
                "limit": ["SESSION_DURATION_EXCEEDED"],
            }[kind]
        elif kind == "garbage":
            await line.wait("AgentAudioDone")
            assert [one for one in server.agent_sessions[0].sent if isinstance(one, str)]
            assert line.sound == ulaw(text)
        if kind != "garbage":
            await until(lambda: len(line.sound) >= 2400)
            assert line.sound == ulaw(text)[:2400]
        if kind == "stall":
            await line.say("hello")
            await line.wait("AgentAudioDone")
            assert line.sound == ulaw(text)[:2400] + ulaw(SCENARIO.turns[0 if turn is None else 1].say)
    assert server.violations == []


async def test_agent_thinks_slowly() -> None:
    scenario = Scenario(turns=SCENARIO.turns, faults=[Fault("slow", 0, seconds=0.3)])
    async with serving(scenario) as server, agent_line(server, settings()) as line:
        await line.wait("SettingsApplied")
        await line.say("what are your hours")
        await line.wait("ConversationText")
        begin = asyncio.get_running_loop().time()
        await line.wait("AgentThinking")
        assert asyncio.get_running_loop().time() - begin > 0.25
    assert server.violations == []


async def test_agent_fails_without_a_greeting_too() -> None:
    async with serving(Scenario(faults=[Fault("error", session=0), Fault("stall", session=1)])) as server:
        async with agent_line(server, settings()) as line:
            await line.ended()
            assert line.types() == ["Welcome", "SettingsApplied", "Error"]
        async with agent_line(server, settings()) as line:
            await until(lambda: server.agent_sessions[1].got("Settings"))
            await asyncio.sleep(0.1)
            assert line.types() == ["Welcome"]
    assert server.violations == []


async def test_agent_ends_a_turn_by_force() -> None:
    async with serving() as server, agent_line(server, settings()) as line:
        await line.wait("SettingsApplied")
        await line.say("what are", quiet_ms=0)
        await line.wait("UserStartedSpeaking")
        await line.socket.send_force_end_turn()
        assert (await line.wait("ConversationText")).content == "what are your hours"
    assert server.violations == []


async def test_agent_takes_settings_once() -> None:
    async with serving() as server, agent_line(server, settings()) as line:
        await line.wait("SettingsApplied")
        await line.socket.send_raw(settings())
        await line.ended()
        assert line.of("Error")[0].code == "SETTINGS_ALREADY_APPLIED"
        assert server.violations == ["a second Settings"]


async def test_a_session_that_takes_over_has_no_fault() -> None:
    scenario = Scenario(SCENARIO.greeting, SCENARIO.turns, [Fault("close", None)])
    async with serving(scenario) as server:
        async with agent_line(server, settings(SCENARIO.greeting)) as line:
            await line.ended()
        async with agent_line(server, settings(SCENARIO.greeting)) as line:
            await line.wait("AgentAudioDone")
    assert server.violations == []


async def test_session_limit() -> None:
    async with (
        serving(pace=Pace(speed=40.0, session_seconds=0.2)) as server,
        agent_line(server, settings()) as line,
        listen_line(server) as transcriber,
        speak_line(server) as voice,
    ):
        await line.ended()
        assert line.of("Error")[0].code == "SESSION_DURATION_EXCEEDED"
        assert [await transcriber.ended(), await voice.ended()] == [1008, 1008]
    assert server.violations == []


@pytest.mark.parametrize("status", [401, 429, 500])
async def test_every_socket_may_be_refused(status: int) -> None:
    async with serving(Scenario(faults=[Fault("refuse", status=status)])) as server:
        for line in (agent_line, listen_line, speak_line):
            with pytest.raises(ApiError) as refused:
                await _open(line(server))
            assert refused.value.status_code == status
            await _open(line(server))
        assert [one.refused for one in _all(server)] == 3 * [status, None]


@pytest.mark.parametrize("line", [agent_line, listen_line, flux_line, speak_line])
async def test_no_socket_opens_without_the_key(line: Any) -> None:
    async with DeepgramServer(SCENARIO, key="another").listening() as server:
        with pytest.raises(ApiError) as refused:
            await _open(line(server))
        assert refused.value.status_code == 401
        assert [one.refused for one in _all(server)] == [401]


async def test_a_socket_may_be_slow_to_open() -> None:
    async with serving(Scenario(faults=[Fault("slow", seconds=0.3)])) as server:
        begin = asyncio.get_running_loop().time()
        await _open(agent_line(server))
        assert asyncio.get_running_loop().time() - begin >= 0.3


async def test_projects_tell_whether_the_key_is_good() -> None:
    async with serving() as server:
        projects = await client(server).manage.v1.projects.list()
        assert projects.projects
        with pytest.raises(ApiError) as refused:
            await client(server, "wrong").manage.v1.projects.list()
        assert refused.value.status_code == 401
        assert server.probes == [200, 401]


async def test_nova_reports_turns_in_pieces() -> None:
    asked = {"endpointing": 300, "utterance_end_ms": 1000, "vad_events": "true"}
    async with serving() as server, listen_line(server, **asked) as line:
        await line.say("what are your hours")
        await line.wait("UtteranceEnd")
        await line.say("book a table")
        await line.wait("UtteranceEnd", 2)
        results = line.of("Results")
        finals = [one for one in results if one.is_final]
        assert [(one.channel.alternatives[0].transcript, one.speech_final) for one in finals] == [
            ("what are", False),
            ("your hours", True),
            ("book a table", True),
        ]
        interims = [one.channel.alternatives[0].transcript for one in results if not one.is_final]
        assert "what" in interims
        assert "your" in interims
        words = finals[1].channel.alternatives[0].words
        assert [word.word for word in words] == ["your", "hours"]
        assert words[0].start == pytest.approx(0.4, abs=0.05)
        assert words[1].end == pytest.approx(0.76, abs=0.05)
        assert line.of("UtteranceEnd")[0].last_word_end == words[1].end
        assert [one.timestamp for one in line.of("SpeechStarted")] == [0.0, pytest.approx(2.0, abs=0.05)]
        assert line.types("Results") == 2 * ["SpeechStarted", "UtteranceEnd"]
        await line.socket.send_close_stream(ListenV1CloseStream(type="CloseStream"))
        assert await line.ended() == 1000
        assert line.messages[-1].type == "Metadata"
        assert line.messages[-1].duration == pytest.approx(3.8, abs=0.05)
    assert server.violations == []
    assert server.listen_sessions[0].query["endpointing"] == ["300"]


async def test_nova_reports_at_once_when_asked() -> None:
    async with serving() as server, listen_line(server, endpointing=1000) as line:
        await line.say("what are your hours", quiet_ms=100)
        await line.socket.send_finalize(ListenV1Finalize(type="Finalize"))
        await until(lambda: any(one.from_finalize for one in line.of("Results")))
        last = line.of("Results")[-1]
        assert (last.is_final, last.channel.alternatives[0].transcript) == (True, "your hours")
    assert server.violations == []


async def test_nova_without_interim_results_tells_nothing_of_silence() -> None:
    async with serving() as server, listen_line(server, interim_results="false", endpointing=300) as line:
        await line.hear(bytes(2 * 8000 * 3))
        await line.say("what are your hours")
        await until(lambda: line.of("Results") and line.of("Results")[-1].speech_final)
        assert [one.is_final for one in line.of("Results")] == [True, True]
    assert server.violations == []


async def test_nova_closes_when_it_hears_nothing() -> None:
    async with serving(pace=Pace(idle_seconds=0.6)) as server, listen_line(server) as line:
        for _ in range(4):
            await asyncio.sleep(0.2)
            await line.socket.send_keep_alive(ListenV1KeepAlive(type="KeepAlive"))
        assert not line.over
        assert await line.ended() == 1011
        assert "net0001" in line.socket._websocket.close_reason
    assert server.violations == []


@pytest.mark.parametrize(
    "query",
    [
        {"model": "nova-9"},
        {"encoding": "ulaw"},
        {"sample_rate": "fast"},
        {"interim_results": "True"},
        {"utterance_end_ms": 500},
        {"endpointing": "long"},
        {"channels": 2},
    ],
)
async def test_nova_refuses_a_query(query: dict[str, Any]) -> None:
    async with serving() as server:
        with pytest.raises(ApiError) as refused:
            await _open(listen_line(server, **query))
        assert refused.value.status_code == 400
        assert len(server.violations) == 1


@pytest.mark.parametrize(
    ("line", "kind", "turn"),
    [
        (line, kind, turn)
        for line in (listen_line, flux_line)
        for kind in ("close", "error", "limit", "stall", "garbage")
        for turn in (None, 0)
        if (line, kind, turn) != (flux_line, "stall", None)
    ],
)
async def test_transcribers_fail(line: Any, kind: Any, turn: int | None) -> None:
    scenario = Scenario(turns=SCENARIO.turns, faults=[Fault(kind, turn, after_ms=300)])
    async with serving(scenario) as server:
        async with line(server) as first:
            try:
                await first.say("what are your hours", quiet_ms=1500)
            except ConnectionClosed:
                assert kind in ("close", "error", "limit")
            if kind in ("close", "error", "limit"):
                code = await first.ended()
                assert code == (1008 if kind == "limit" and line is listen_line else 1011)
                assert len(first.of("Error")) == (line is flux_line and kind != "close")
            session = server.listen_sessions[0]
            if kind == "garbage":
                await until(lambda: _transcripts(first)[-1:] == [_last(line)])
                assert [one for one in session.sent if isinstance(one, str)]
            elif kind == "stall":
                await until(lambda: len(session.caller_pcm) == 2 * 8 * (800 + 1500))
                assert "hours" not in " ".join(_transcripts(first))
        await until(lambda: session.closed)
        async with line(server) as second:
            await second.say("once more")
            expected = "book a table" if kind == "garbage" else _last(line)
            await until(lambda: _transcripts(second)[-1:] == [expected])
    assert server.violations == []


async def test_flux_may_never_say_a_word() -> None:
    async with serving(Scenario(turns=SCENARIO.turns, faults=[Fault("stall")])) as server:
        connecting = client(server).listen.v2.connect(model="flux-general-en", encoding="mulaw", sample_rate=8000)
        async with connecting as socket, reading(socket) as line:
            await line.say("what are your hours")
            await until(lambda: len(server.listen_sessions[0].caller_pcm) == 2 * 8 * (800 + 1200))
        assert line.messages == []
    assert server.violations == []


async def test_flux_tells_of_turns() -> None:
    async with serving() as server, flux_line(server) as line:
        await line.say("what are your hours")
        await line.say("book a table")
        end = await line.wait("TurnInfo", 1)
        await until(lambda: [one.event for one in line.of("TurnInfo")].count("EndOfTurn") == 2)
        told = [(one.event, one.turn_index, one.transcript) for one in line.of("TurnInfo") if one.transcript]
        assert told[0] == ("StartOfTurn", 0, "what")
        assert ("Update", 0, "what are") in told
        assert ("EndOfTurn", 0, "what are your hours") in told
        assert told[-1] == ("EndOfTurn", 1, "book a table")
        assert {event for event, _, _ in told} == {"StartOfTurn", "Update", "EndOfTurn"}
        assert [one.sequence_id for one in line.messages] == list(range(len(line.messages)))
        assert end.request_id == line.messages[0].request_id
        assert [one.trigger for one in line.of("TurnInfo") if one.event == "EndOfTurn"] == ["model", "model"]
        await line.socket.send_close_stream()
        assert await line.ended() == 1000
    assert server.violations == []


async def test_flux_is_eager_when_asked_and_may_be_wrong() -> None:
    scenario = Scenario(turns=[Turn("a table for two please today", resumed=True)])
    async with serving(scenario) as server, flux_line(server, eager_eot_threshold=0.4, eot_threshold=0.7) as line:
        await line.say("a table for two please today")
        await until(lambda: any(one.event == "EndOfTurn" for one in line.of("TurnInfo")))
        told = [
            (one.event, one.transcript) for one in line.of("TurnInfo") if one.event not in ("Update", "StartOfTurn")
        ]
        assert [event for event, _ in told] == ["EagerEndOfTurn", "TurnResumed", "EagerEndOfTurn", "EndOfTurn"]
        assert told[0][1] == "a table for"
        assert told[2][1] == told[3][1] == "a table for two please today"
    assert server.violations == []


async def test_flux_resumes_when_the_caller_goes_on() -> None:
    async with serving() as server, flux_line(server, eager_eot_threshold=0.4) as line:
        await line.say("what are", quiet_ms=300)
        await line.say("your hours")
        await until(lambda: any(one.event == "EndOfTurn" for one in line.of("TurnInfo")))
        events = [one.event for one in line.of("TurnInfo") if one.event not in ("Update", "StartOfTurn")]
        assert events == ["EagerEndOfTurn", "TurnResumed", "EagerEndOfTurn", "EndOfTurn"]
    assert server.violations == []


async def test_flux_ends_a_turn_by_force() -> None:
    async with serving() as server, flux_line(server, eot_threshold=1.0) as line:
        await line.say("what are your hours")
        await until(lambda: line.of("TurnInfo") and line.of("TurnInfo")[-1].transcript == "what are your hours")
        await line.socket.send_force_end_turn()
        await until(lambda: line.of("TurnInfo")[-1].event == "EndOfTurn")
        assert line.of("TurnInfo")[-1].trigger == "manual"
    assert server.violations == []


async def test_flux_is_configured() -> None:
    async with serving() as server, flux_line(server) as line:
        await line.socket.send_configure(
            {"type": "Configure", "thresholds": {"eot_threshold": 0.8}, "keyterms": ["fern"]}
        )
        done = await line.wait("ConfigureSuccess")
        assert (done.thresholds.eot_threshold, done.keyterms) == (0.8, ["fern"])
        assert server.violations == []
        await line.socket.send_configure({"type": "Configure", "thresholds": {"eot_threshold": 0.2}})
        await line.wait("ConfigureFailure")
        assert server.violations == ["Configure: eot_threshold is out of range."]


async def test_flux_knows_no_keep_alive() -> None:
    async with serving() as server, flux_line(server) as line:
        await line.socket.send_configure({"type": "KeepAlive"})
        assert await line.ended() == 1011
        assert line.of("Error")[0].code == "UNPARSABLE_CLIENT_MESSAGE"
        assert server.violations == ["received KeepAlive: no such type"]


@pytest.mark.parametrize("query", [{"model": "nova-3"}, {"eot_threshold": 0.4}, {"eager_eot_threshold": 0.95}])
async def test_flux_refuses_a_query(query: dict[str, Any]) -> None:
    async with serving() as server:
        with pytest.raises(ApiError) as refused:
            await _open(flux_line(server, **query))
        assert refused.value.status_code == 400


@pytest.mark.parametrize(("encoding", "decoded"), [("linear16", bytes), ("mulaw", ulaw_to_pcm), ("alaw", alaw_to_pcm)])
async def test_voice_speaks(encoding: str, decoded: Any) -> None:
    async with serving() as server, speak_line(server, encoding=encoding, sample_rate=16000) as line:
        await line.socket.send_text(SpeakV1Text(text="We are open "))
        await line.socket.send_text(SpeakV1Text(text="from nine to six."))
        await line.socket.send_flush()
        assert (await line.wait("Flushed")).sequence_id == 0
        assert line.types() == ["Metadata", "sound", "Flushed"]
        assert len(decoded(line.sound)) == len(spoken("We are open from nine to six.", 16000))
        assert decoded(line.sound) == server.speak_sessions[0].speech_pcm
        await line.socket.send_text(SpeakV1Text(text="Bye."))
        await line.socket.send_close()
        assert await line.ended() == 1000
        assert len(decoded(line.sound)) == len(spoken("We are open from nine to six. Bye.", 16000))
    assert server.violations == []


async def test_voice_falls_silent_when_cleared() -> None:
    async with serving(pace=Pace(speed=1.0)) as server, speak_line(server) as line:
        await line.socket.send_text(SpeakV1Text(text="We are open from nine to six."))
        await line.socket.send_flush()
        await until(lambda: line.sound)
        await line.socket.send_clear()
        await line.wait("Cleared")
        heard = line.sound
        assert len(heard) < 8000
        await line.socket.send_text(SpeakV1Text(text="Yes."))
        await line.socket.send_flush()
        await line.wait("Flushed")
        assert line.sound == heard + ulaw("Yes.")
        assert [one.sequence_id for one in (*line.of("Cleared"), *line.of("Flushed"))] == [0, 1]
    assert server.violations == []


async def test_voice_warns_of_too_many_flushes() -> None:
    async with serving() as server, speak_line(server) as line:
        for _ in range(21):
            await line.socket.send_flush()
        assert (await line.wait("Warning")).code == "EXCESSIVE_FLUSH"
        await line.wait("Flushed", 20)
        assert server.violations == ["more than 20 Flush in 60 s"]


@pytest.mark.parametrize("query", [{"model": "aura-9"}, {"encoding": "opus"}, {"sample_rate": 11025}, {"speed": 3}])
async def test_voice_refuses_a_query(query: dict[str, Any]) -> None:
    options = {"request_options": {"additional_query_parameters": query}} if "speed" in query else query
    async with serving() as server:
        with pytest.raises(ApiError) as refused:
            await _open(speak_line(server, **options))
        assert refused.value.status_code == 400


@pytest.mark.parametrize("turn", [None, 0])
@pytest.mark.parametrize("kind", ["close", "error", "limit", "stall", "garbage"])
async def test_voice_fails(kind: Any, turn: int | None) -> None:
    text = SCENARIO.greeting if turn is None else SCENARIO.turns[0].say
    scenario = Scenario(SCENARIO.greeting, SCENARIO.turns, [Fault(kind, turn, after_ms=300)])
    async with serving(scenario) as server, speak_line(server) as line:
        await line.socket.send_text(SpeakV1Text(text=text))
        await line.socket.send_flush()
        if kind == "garbage":
            await line.wait("Flushed")
            assert [one for one in server.speak_sessions[0].sent if isinstance(one, str)]
            assert line.sound == ulaw(text)
            return
        if kind != "stall":
            assert await line.ended() == (1008 if kind == "limit" else 1011)
        await until(lambda: len(line.sound) >= 2400)
        assert line.sound == ulaw(text)[:2400]
        assert not line.of("Flushed")
        if kind == "stall":
            await line.socket.send_clear()
            await line.socket.send_text(SpeakV1Text(text="You are welcome."))
            await line.socket.send_flush()
            await line.wait("Flushed")
            assert line.sound == ulaw(text)[:2400] + ulaw("You are welcome.")
    assert server.violations == []


def test_queries_are_those_of_the_sdk() -> None:
    server = DeepgramServer(SCENARIO)
    sdk = client(server)
    for connect, rules in (
        (sdk.listen.v1.connect, deepgram_nova.RULES),
        (sdk.listen.v2.connect, deepgram_flux.RULES),
        (sdk.speak.v1.connect, deepgram_speak.RULES),
    ):
        names = set(inspect.signature(connect).parameters) - {"authorization", "request_options"}
        assert set(rules.names.split()) == names


async def _open(line: Any) -> None:
    async with line:
        pass


def _all(server: DeepgramServer) -> list[Session]:
    return [*server.agent_sessions, *server.listen_sessions, *server.speak_sessions]


def _last(line: Any) -> str:
    """What is told last of the first turn."""
    return "your hours" if line is listen_line else "what are your hours"


def _transcripts(line: Line) -> list[str]:
    """Final ones."""
    finals = [one.channel.alternatives[0].transcript for one in line.of("Results") if one.is_final]
    return finals + [one.transcript for one in line.of("TurnInfo") if one.event == "EndOfTurn"]
