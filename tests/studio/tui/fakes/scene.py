"""An afternoon at an office, the same each time: what the pictures show, and the tests begin with."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from pydantic import SecretStr

from ai_engine.errors import ConfigError
from ai_engine.studio.tui.sources import Sources
from ai_engine.switchboard.models import AgentInfo, Capability, EngineInfo, LiveCall, LogLine, TrunkState
from ai_engine.trunks.number import SipNumber
from tests.studio.tui.fakes.engine import FakeEngine

NOW = datetime(2026, 3, 2, 14, 30, 42, tzinfo=UTC)
PASSWORD = "correct horse"
INBOUND, OUTBOUND, ROOM = "in-1f0c", "out-77ab", "room-0001"


@dataclass
class FakeNumbers:
    """A store in memory; ``trouble`` is raised instead."""

    held: list[SipNumber]
    trouble: str = ""
    unlocked: threading.Event | None = None
    """Waited for, as for the lock of a file."""

    def numbers(self) -> Sequence[SipNumber]:
        self._check()
        return list(self.held)

    def add(self, number: SipNumber, *, replace: bool = False) -> None:
        self._check()
        self.held = [other for other in self.held if other.number != number.number] + [number]

    def remove(self, number: str) -> SipNumber:
        self._check()
        found = next(other for other in self.held if other.number == number)
        self.held.remove(found)
        return found

    def stamp(self) -> str:
        self._check()
        return repr(self.held)

    def _check(self) -> None:
        if self.unlocked is not None:
            self.unlocked.wait(30)
        if self.trouble:
            raise ConfigError(self.trouble)


@dataclass
class FakeAgentFiles:
    """Files in memory."""

    names: list[str]
    problems: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def list(self) -> Sequence[SimpleNamespace]:
        return [SimpleNamespace(name=name, problems=self.problems.get(name, ())) for name in self.names]


@dataclass
class Scene:
    """Everything the studio is given."""

    engine: FakeEngine
    numbers: FakeNumbers
    agents: FakeAgentFiles
    now: datetime = field(default=NOW)

    def sources(self) -> Sources:
        return Sources(self.engine.connect, self.numbers, self.agents, lambda: self.now)

    def talk(self) -> None:
        """What is said on the inbound call, and how long the answers took."""
        say = self.engine.publish
        say(NOW, "said", INBOUND, who="agent", text="Good afternoon, this is the practice of Dr. Weber.")
        say(NOW, "said", INBOUND, who="caller", text="Hello, I need an appointment for next week, please.")
        for ms in (910, 640, 720, 1340, 580, 842):
            marks = {
                "end_of_turn_ms": ms * 0.3,
                "transcript_ms": ms * 0.4,
                "first_token_ms": ms * 0.7,
                "first_audio_ms": ms * 0.95,
                "first_frame_ms": float(ms),
            }
            say(NOW, "turn", INBOUND, ms=float(ms), waterfall=marks)
        say(NOW, "said", INBOUND, who="agent", text="Gladly. On Tuesday at ten, or rather on Thursday afternoon?")
        say(NOW, "saying", INBOUND, who="caller", text="Thursday would")
        say(NOW, "levels", INBOUND, caller=-18.0, agent=-60.0)
        say(NOW, "turn", OUTBOUND, ms=1210.0, waterfall={"end_of_turn_ms": 400.0, "first_frame_ms": 1210.0})


def scene() -> Scene:
    engine = FakeEngine(
        EngineInfo(
            id="pbx1-4711",
            host="pbx1",
            pid=4711,
            version="0.1.0",
            started_at=NOW - timedelta(hours=26),
            url="http://127.0.0.1:4545",
            asterisk_up=True,
            asterisk_version="22.5.2",
            app="offhook",
            ready=True,
            calls=3,
            rooms=0,
            provider="asterisk",
            health={"media_late_ms_p99": 1.8, "failed_providers": {"local": 2, "openai": 0}},
        )
    )
    engine.in_progress = _calls()
    engine.known = _agents()
    engine.states = _trunks()
    engine.written = _log()
    return Scene(engine, FakeNumbers(_numbers()), FakeAgentFiles(["reception", "sales", "survey"]))


def _calls() -> list[LiveCall]:
    return [
        LiveCall(
            call_id=INBOUND,
            direction="inbound",
            agent="reception",
            number="+493055512345",
            did="+4930123456",
            state="talking",
            floor="caller",
            provider="openai_realtime",
            since=NOW - timedelta(seconds=75),
            answered_at=NOW - timedelta(seconds=73),
            channel="PJSIP/studio-4930123456-0000001a",
            turns=6,
            last_turn_ms=842.0,
        ),
        LiveCall(
            call_id=OUTBOUND,
            direction="outbound",
            agent="sales",
            number="+14155550123",
            did="+4930123456",
            state="talking",
            floor="agent_pending",
            provider="pipeline",
            since=NOW - timedelta(minutes=4, seconds=2),
            answered_at=NOW - timedelta(minutes=3, seconds=50),
            channel="PJSIP/studio-4930123456-0000001b",
            job="6f1c",
            turns=9,
            last_turn_ms=1210.0,
        ),
        LiveCall(
            call_id="out-88cd",
            direction="outbound",
            agent="survey",
            number="+442079460958",
            did="+4930123457",
            state="ringing",
            since=NOW - timedelta(seconds=11),
            job="8a2e",
        ),
    ]


def _agents() -> list[AgentInfo]:
    reception = (
        Capability(name="phone_call", present=True),
        Capability(name="inbound_call", present=True),
        Capability(name="web_session", present=False, reason="no page is served; set web.page in the configuration"),
        Capability(name="barge_in", present=True),
        Capability(name="tools", present=True),
        Capability(name="transcript", present=True),
        Capability(name="dtmf", present=True),
        Capability(name="recording", present=False, reason="recordings are off; set recordings.directory"),
    )
    return [
        AgentInfo(
            name="reception",
            source="config/agents/reception.yaml",
            version="3f9a1c",
            provider="openai_realtime",
            language="en",
            numbers=("+4930123456",),
            capabilities=reception,
            tools=("transfer", "calendar"),
        ),
        AgentInfo(
            name="sales",
            source="config/agents/sales.toml",
            version="77e0b2",
            provider="pipeline",
            language="en",
            capabilities=(Capability(name="phone_call", present=True),),
            not_applicable=("atem.geofence: there is no vendor's network here",),
        ),
        AgentInfo(
            name="survey",
            source="config/agents/survey.yaml",
            version="1b2c3d",
            provider="local",
            error="config/agents/survey.yaml:7: provider: 'lokal' is not known; did you mean local?",
        ),
    ]


def _trunks() -> list[TrunkState]:
    return [
        TrunkState(number="+4930123456", object_id="studio-4930123456", state="online"),
        TrunkState(
            number="+4930123457",
            object_id="studio-4930123457",
            state="offline",
            detail="sip.backup.example does not answer OPTIONS: is UDP 5060 let through to it?",
        ),
    ]


def _numbers() -> list[SipNumber]:
    return [
        SipNumber(
            number="+4930123456",
            address="sip.carrier.example",
            transport="tls",
            srtp=True,
            username="office",
            password=SecretStr(PASSWORD),
            label="front desk",
            registers=True,
            inbound_agent="reception",
        ),
        SipNumber(number="+4930123457", address="sip.backup.example", label="backup", allowed_ips=("198.51.100.0/24",)),
    ]


def _log() -> list[LogLine]:
    def line(seconds: int, level: str, event: str, call_id: str = "", **fields: object) -> LogLine:
        return LogLine(at=NOW - timedelta(seconds=seconds), level=level, event=event, call_id=call_id, fields=fields)

    return [
        line(92, "info", "connected to Asterisk", version="22.5.2"),
        line(75, "info", "call came in", INBOUND, number="+493055512345", agent="reception"),
        line(73, "info", "bound to channel", INBOUND),
        line(40, "warning", "trunk does not answer", trunk="studio-4930123457"),
        line(11, "info", "dialing", "out-88cd", to="+442079460958"),
        line(3, "info", "turn", INBOUND, ms=842),
    ]
