"""Every way for sound on the real Asterisk: four calls at the same time over each, then looked at closely."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from scripts.trial.asterisk import Trial
from scripts.trial.measure import keys, likeness
from scripts.trial.measure import tones as tones_in
from scripts.trial.phone import CODECS
from scripts.trial.programs import Programs
from tests.asterisk.callers import (
    Caller,
    calling,
    cough,
    joined,
    left_of,
    leftovers,
    length,
    media_legs,
    pcm_of,
    until,
    words,
)
from tests.asterisk.hearing import assert_tones, heard_twice_seconds, positions, unheard_seconds
from tests.fakes.tone_agent import OUTPUT_RATE, Answer, Script, Session, ToneAgent, sweep, tones

pytestmark = [pytest.mark.asterisk, pytest.mark.phone, pytest.mark.timeout(120)]

GREETING_HZ = (5500, 500, 700, 900, 1200)
"""The first one is above what a telephone of 8 kHz carries: nothing of it may be heard there."""

CALLER_HZ = (1100, 600, 1600, 800)
REPLY_HZ = (1700, 650, 2100)
GOODBYE_HZ = (800, 1300)

PAUSE = 0.3
"""Seconds of quiet after which the caller takes the agent to have finished."""


class Combination(NamedTuple):
    transport: str
    codec: str
    downstream: str

    def __str__(self) -> str:
        return f"{self.transport}-{self.codec}-{self.downstream}"

    @property
    def way(self) -> str:
        """As /health names it."""
        return f"{self.transport}/{self.downstream}"

    @property
    def phone_rate(self) -> int:
        return CODECS[self.codec][1]


COMBINATIONS = [
    Combination("audiosocket", "PCMU", "stream"),
    Combination("audiosocket", "PCMU", "file"),
    Combination("audiosocket", "G722", "stream"),
    Combination("audiosocket", "G722", "file"),
    Combination("websocket", "PCMU", "stream"),
    Combination("websocket", "PCMU", "file"),
    Combination("websocket", "G722", "stream"),
    Combination("legacy", "PCMU", "stream"),
    Combination("legacy", "PCMU", "file"),
]


@dataclass(slots=True)
class Call:
    """One call and what is known of it afterwards."""

    caller: Caller
    session: Session
    said: list[Path] = field(default_factory=list)
    moments: dict[str, float] = field(default_factory=dict)
    """Epoch seconds."""

    @property
    def id(self) -> str:
        return str(self.session.start["call_id"])


@dataclass(slots=True)
class Evidence:
    """All that one combination left behind."""

    combination: Combination
    programs: Programs
    health: dict[str, Any]
    calls: dict[str, Call | BaseException]
    left: list[str]
    """What was still there after the last call."""

    def call(self, name: str) -> Call:
        call = self.calls[name]
        if isinstance(call, BaseException):
            raise call
        return call

    def recorded(self, name: str, file: str) -> Path:
        (folder,) = (path for path in self.programs.calls() if path.name.endswith(self.call(name).id))
        return folder / file

    def transcript(self, name: str) -> list[dict[str, Any]]:
        lines: list[dict[str, Any]] = json.loads(self.recorded(name, "transcript.json").read_text())
        return lines


@pytest.fixture(scope="module", params=COMBINATIONS, ids=str)
def evidence(request: pytest.FixtureRequest, asterisk: Trial, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    return asyncio.run(_collect(request.param, asterisk, tmp_path_factory.mktemp("matrix")))


async def _collect(combination: Combination, trial: Trial, directory: Path) -> Evidence:
    settings = {
        "LOG_FORMAT": "json",
        "AUDIO_TRANSPORT": combination.transport,
        "DOWNSTREAM_MODE": combination.downstream,
    }
    programs = Programs(trial, directory, settings, with_local=False)
    agent = ToneAgent(*(script for script, _ in STORIES.values()))
    async with programs, agent.listening(programs.local_port):
        stage = _Stage(combination, trial, directory, agent)
        calls = await stage.play()
        left = await leftovers(trial, programs)
        return Evidence(combination, programs, programs.health(), calls, left)


# -- the four calls ---------------------------------------------------------------------------------------------


class _Stage:
    """Plays the stories at the same time; each begins when the one before has its agent, for scripts go by order."""

    def __init__(self, combination: Combination, trial: Trial, directory: Path, agent: ToneAgent) -> None:
        self._codec = combination.codec
        self._trial = trial
        self._directory = directory
        self._agent = agent
        self._leg_of_first = ""

    async def play(self) -> dict[str, Call | BaseException]:
        begun: list[asyncio.Event] = [asyncio.Event() for _ in STORIES]
        stories = [self._play(number, name, story, begun) for number, (name, (_, story)) in enumerate(STORIES.items())]
        results = await asyncio.gather(*stories, return_exceptions=True)
        return dict(zip(STORIES, results, strict=True))

    async def _play(self, number: int, name: str, story: "Story", begun: list[asyncio.Event]) -> Call:
        try:
            async with calling(self._trial, self._directory / name, self._codec) as caller:
                if number:
                    await begun[number - 1].wait()
                await caller.dial()
                call = Call(caller, await self._agent.session(number))
                if not number:
                    (self._leg_of_first,) = await asyncio.to_thread(media_legs, self._trial)
                begun[number].set()
                await story(self, call)
                return call
        finally:
            begun[number].set()

    async def lose_leg(self) -> None:
        """The connection of the first story's sound ends, and not by its will."""
        await asyncio.to_thread(self._trial.ari, "DELETE", f"/channels/{self._leg_of_first}")

    def word(self, call: Call, text: str) -> Path:
        call.said.append(words(text, call.caller.phone.rate))
        return call.said[-1]


Story = Callable[[_Stage, Call], Awaitable[None]]


async def _lose_the_leg(stage: _Stage, call: Call) -> None:
    caller = call.caller
    greeted = await caller.agent.wait_quiet(PAUSE)
    await caller.finish(stage.word(call, "hello there"))
    call.moments["asked"] = greeted
    begun = await caller.agent.wait_voice(after=greeted + PAUSE)
    await asyncio.sleep(begun + 1.0 - time.time())
    call.moments["lost"] = time.time()
    await stage.lose_leg()
    quiet = await caller.agent.wait_quiet(1.0, after=call.moments["lost"] + 1.0)
    await caller.finish(stage.word(call, "good morning"))
    await caller.agent.wait_voice(after=quiet + PAUSE)
    await caller.hang_up()


async def _cough_and_interrupt(stage: _Stage, call: Call) -> None:
    caller = call.caller
    begun = await caller.agent.wait_voice()
    await asyncio.sleep(begun + 0.6 - time.time())
    call.moments["coughed"] = await caller.say(cough(caller.phone.directory, caller.phone.rate))
    greeted = await caller.agent.wait_quiet(1.0, after=begun)
    call.moments["greeted"] = greeted
    await caller.finish(stage.word(call, "hello there"))
    begun = call.moments["begun"] = await caller.agent.wait_voice(after=greeted + PAUSE)
    await asyncio.sleep(begun + 1.6 - time.time())
    call.moments["interrupted"] = await caller.finish(stage.word(call, "no wait please stop it now"))
    call.moments["answered"] = await caller.agent.wait_voice(after=time.time())
    await caller.hang_up()


async def _hold(stage: _Stage, call: Call) -> None:
    caller = call.caller
    greeted = await caller.agent.wait_quiet(PAUSE)
    await caller.finish(stage.word(call, "hello there"))
    begun = call.moments["begun"] = await caller.agent.wait_voice(after=greeted + PAUSE)
    await asyncio.sleep(begun + 1.2 - time.time())
    await caller.phone.hold()
    call.moments["held"] = time.time()
    await asyncio.sleep(HOLD_SECONDS)
    call.moments["resumed"] = time.time()
    await caller.phone.resume()
    call.moments["ended"] = await caller.agent.wait_quiet(1.0, after=call.moments["resumed"])
    await caller.hang_up()


async def _converse(stage: _Stage, call: Call) -> None:
    caller, rate = call.caller, call.caller.phone.rate
    greeted = await caller.agent.wait_quiet(PAUSE)
    call.moments["greeted"] = greeted
    # The tones stand before the words: they belong to the same turn, whether or not the ear takes them for speech.
    narrow = np.frombuffer(tones(*CALLER_HZ).pcm, "<i2")[:: OUTPUT_RATE // rate]
    speech = stage.word(call, "what are your opening hours")
    await caller.finish(joined(caller.phone.directory / "asked.wav", rate, [narrow.tobytes(), speech]))
    replied = await caller.agent.wait_quiet(PAUSE, after=greeted + PAUSE)
    call.moments["replied"] = replied
    await caller.phone.send_digit("5")
    await until(lambda: call.session.tool_results)
    await until(lambda: keys(caller.agent.packets) == "7#")
    await caller.finish(stage.word(call, "good bye"))
    call.moments["closed"] = (await caller.phone.wait_for("CALL_CLOSED")).at


HOLD_SECONDS = 5.0
"""Longer than an agent may take to reply, than AudioSocket's patience, and than a file may stand still."""

STORIES: dict[str, tuple[Script, Story]] = {
    "lost": (Script([tones(500)], [Answer(sweep(3)), Answer([tones(700)])]), _lose_the_leg),
    "held": (Script([tones(500)], [Answer(sweep(3))]), _hold),
    "interrupted": (Script(sweep(2), [Answer(sweep(10)), Answer([tones(700)])]), _cough_and_interrupt),
    "conversation": (
        Script(
            [tones(*GREETING_HZ[:3]), tones(*GREETING_HZ[3:])],
            [
                Answer([tones(*REPLY_HZ)], said="hours?"),
                Answer([tones(*GOODBYE_HZ)], said="bye", tools=[("hangup", {})]),
            ],
            # Not while it speaks: what is said while Asterisk presses a key is lost.
            on_digit=[("send_dtmf", {"digits": "7#"})],
        ),
        _converse,
    ),
}


# -- what is expected of them -------------------------------------------------------------------------------------


def test_sound_travelled_the_way_that_was_asked_for(evidence: Evidence) -> None:
    calls = evidence.health["calls"]
    assert calls["attached"][evidence.combination.way] == len(STORIES)
    assert calls["fell_back"] == {evidence.combination.way: 1}, "only the call whose leg was taken away"
    assert evidence.call("conversation").session.input_rate == evidence.combination.phone_rate


def test_the_agents_tones_arrive_in_order_and_whole(evidence: Evidence) -> None:
    call = evidence.call("conversation")
    caller = call.caller
    greeted = call.moments["greeted"] + PAUSE
    carried = [hz for hz in GREETING_HZ if hz < 4000]
    assert_tones(caller.heard(before=greeted), carried)
    assert_tones(caller.heard(greeted, call.moments["replied"] + PAUSE), REPLY_HZ)
    rate = caller.phone.rate
    heard = pcm_of(caller.phone.recordings().heard)
    # A phone whose processor was busy elsewhere for a moment repeats or tears a tone; what reached it is seen above.
    greeting = _without_repeats([tone.hz for tone in tones_in(heard, rate)])
    assert greeting[: len(carried)] == pytest.approx(GREETING_HZ[:-1] if rate == 16000 else carried, abs=15)


def _without_repeats(heard: Sequence[float]) -> list[float]:
    return [hz for before, hz in zip([0.0, *heard], heard, strict=False) if abs(hz - before) > 15]


def test_the_callers_voice_arrives(evidence: Evidence) -> None:
    call = evidence.call("conversation")
    assert_said(call)
    pcm, rate = left_of(evidence.recorded("conversation", "call.wav"))
    assert rate == evidence.combination.phone_rate
    assert_tones(pcm, CALLER_HZ, rate)


def test_a_key_is_one_event_at_the_agent(evidence: Evidence) -> None:
    assert evidence.call("conversation").session.digits == ["5"]


def test_the_agents_keys_reach_the_phone(evidence: Evidence) -> None:
    call = evidence.call("conversation")
    assert keys(call.caller.agent.packets) == "7#"
    assert [result["ok"] for result in call.session.tool_results.values()] == [True, True]


def test_the_agent_hangs_up_after_its_last_word(evidence: Evidence) -> None:
    call = evidence.call("conversation")
    goodbye = call.caller.heard(call.moments["replied"] + PAUSE)
    assert_tones(goodbye, GOODBYE_HZ)
    assert call.moments["closed"] > call.caller.silent_from(call.moments["replied"] + PAUSE)
    assert evidence.health["calls"]["agent_hung_up"] == 1


def test_a_cough_costs_no_word(evidence: Evidence) -> None:
    call = evidence.call("interrupted")
    greeting = positions(call.caller.heard(before=call.moments["greeted"] + 0.1))
    assert greeting[0].second < 0.05
    assert greeting[-1].second == pytest.approx(2.0, abs=0.05), "the greeting was not heard to its end"
    assert unheard_seconds(greeting) == 0
    assert call.session.cancels[0][0] == 2, "the greeting was cancelled"
    events = evidence.health["calls"]["events"]
    assert events["false_alarms"] + events["hums"] == 1, "it was not noticed at all"


def test_the_agent_falls_silent_for_a_caller_who_speaks(evidence: Evidence) -> None:
    call = evidence.call("interrupted")
    interrupted = call.moments["interrupted"]
    assert call.caller.silent_from(interrupted) - interrupted < 1.0
    assert call.caller.heard(interrupted + 1.0, call.moments["answered"] - 0.1).max(initial=0) < 300


def test_what_is_on_record_is_what_was_heard(evidence: Evidence) -> None:
    call = evidence.call("interrupted")
    heard = positions(call.caller.heard(call.moments["begun"] - 0.02, call.moments["answered"] - 0.1))
    ((reply, heard_ms),) = call.session.cancels
    assert reply == 2
    tolerance = 0.2 if evidence.combination.downstream == "file" else 0.15
    assert heard_ms / 1000 == pytest.approx(heard[-1].second, abs=tolerance)
    (cut,) = (line for line in evidence.transcript("interrupted") if line["cut"])
    assert "To second 1." in cut["text"]
    assert "To second 4." not in cut["text"]


def test_a_caller_who_interrupts_is_heard_from_the_first_syllable(evidence: Evidence) -> None:
    assert_said(evidence.call("interrupted"))


def test_a_reply_goes_on_when_its_way_is_lost(evidence: Evidence) -> None:
    call = evidence.call("lost")
    heard = positions(call.caller.heard(call.moments["asked"] + PAUSE), at_least=0.02)
    reply = [moment for moment in heard if moment.second < 3.1]
    end = next(n for n, moment in enumerate(reply) if moment.second > 2.9)
    assert unheard_seconds(reply[: end + 1]) < 0.3
    assert heard_twice_seconds(reply[: end + 1]) < 0.3
    assert max(later.at - earlier.at for earlier, later in pairwise(reply[: end + 1])) < 2.0


def test_the_caller_is_heard_again_after_a_loss(evidence: Evidence) -> None:
    assert_said(evidence.call("lost"))


def test_a_caller_who_comes_back_from_hold_hears_the_rest(evidence: Evidence) -> None:
    call = evidence.call("held")
    reply = positions(call.caller.heard(call.moments["begun"] - 0.02, call.moments["ended"] + 0.1))
    assert reply[0].second < 0.05
    assert reply[-1].second == pytest.approx(3.0, abs=0.05), "the reply was not heard to its end"
    assert unheard_seconds(reply) < 0.3
    assert heard_twice_seconds(reply) < 0.3
    while_away = positions(call.caller.heard(call.moments["held"] + 0.3, call.moments["resumed"]))
    assert while_away == []
    assert call.session.cancels == []
    assert_said(call)


def test_nothing_is_left_when_the_calls_are_over(evidence: Evidence) -> None:
    assert evidence.left == []
    assert evidence.health["calls"]["caller_hung_up"] == len(STORIES) - 1
    assert all(call.session.closed for call in map(evidence.call, STORIES))
    assert "Traceback" not in evidence.programs.engine.log_text()


def assert_said(call: Call) -> None:
    """Every word of the caller is in the turn it belongs to."""
    turns = [np.frombuffer(bytes(turn.pcm), "<i2") for turn in call.session.answered]
    assert len(turns) == len(call.said)
    alike = [likeness(heard, pcm_of(said)) for heard, said in zip(turns, call.said, strict=True)]
    assert min(alike) > 0.9, alike
    assert all(
        length(said) <= heard.size / call.session.input_rate for heard, said in zip(turns, call.said, strict=True)
    )
