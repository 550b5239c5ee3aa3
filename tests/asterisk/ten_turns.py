"""The conversation every brain must hold over a real SIP call, and what the caller must hear of it.

Greeting, question, interruption, tool, failed tool, key, silence, transfer declined, resume, goodbye. The agents speak
in tones, a pitch for each word (tests/fakes/word_tones.py), so what was heard is known word for word.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from scripts.trial.measure import Pcm, likeness, tones, voice_segments
from scripts.trial.programs import free_port
from scripts.trial.speech import synthesize
from tests.asterisk.callers import Caller, pcm_of, words
from tests.fakes.scenario import Call, Fault, Scenario, Turn
from tests.fakes.tool_servers import HttpTarget, Reply
from tests.fakes.word_tones import pitches

GREETING = "Hello, this is the garden center."
NUDGE = "Are you still there?"
GOODBYE = "Thank you and goodbye."
FALLBACK = "Sorry, say that again."

HOURS = Turn("what are your opening hours", "We are open from nine to six.")
SERVICES = Turn(
    "tell me everything about your services",
    "We sell plants and trees and seeds, we plan your garden, we bring heavy things to your house, and repair tools.",
)
STOP = Turn("no wait please stop it now", "Of course, I will stop.")
ORDER = Turn("where is my order", tools=[Call("lookup_order", {"number": 7})], then="It will arrive on Friday.")
CANCEL = Turn("cancel my order please", tools=[Call("cancel_order", {"number": 7})], then="That was not possible.")
KEY = Turn("[the caller pressed 5]", "You pressed number five.")
SALES = Turn(
    "connect me to the sales people",
    tools=[Call("transfer", {"to": "sales", "summary": "They want to buy a tree."})],
    then="They have no time just now.",
)
ADDRESS = Turn("then tell me your address", "Twelve River Road next to the mill.")
BYE = Turn("thank you very much goodbye", GOODBYE, tools=[Call("hangup")])

TURNS = (HOURS, SERVICES, STOP, ORDER, CANCEL, KEY, SALES, ADDRESS, BYE)

PAUSE = 0.5
"""Seconds of quiet after which the caller takes the agent to have finished."""

QUIET_SECONDS = 4.0
"""After which the agent breaks the silence."""

RATE = 8000


def scenario(*faults: Fault) -> Scenario:
    """The whole call, for a fake that is told of keys, or answers words."""
    return Scenario(GREETING, TURNS, faults, lost=FALLBACK)


def spoken(*faults: Fault) -> Scenario:
    """What is said aloud in it, for a fake that only listens."""
    return Scenario(GREETING, [turn for turn in TURNS if turn is not KEY], faults, lost=FALLBACK)


TARGET = {
    "/orders/7": Reply(body={"day": "Friday"}),
    "/orders/7/cancel": Reply(503, body={"error": "try later"}),
}


def configuration(
    path: Path, target: HttpTarget, brains: Mapping[str, Mapping[str, Any]], **sections: Any
) -> tuple[Path, dict[str, str]]:
    """Write a configuration with an agent for each of ``brains`` (name -> ``providers`` section, or a pipeline's with
    ``stt``); returns its path, and the extension of each agent in the trial's dialplan."""
    tools = {
        "destinations": {"sales": {"extension": "declines", "attended": True, "description": "Sales."}},
        "http": {
            "lookup_order": {
                "description": "Find out about an order.",
                "method": "GET",
                "url": f"{target.url}/orders/{{number}}",
                "parameters": {"number": {"type": "integer"}},
                "required": ["number"],
            },
            "cancel_order": {
                "description": "Cancel an order.",
                "method": "POST",
                "url": f"{target.url}/orders/{{number}}/cancel",
                "parameters": {"number": {"type": "integer"}},
                "required": ["number"],
            },
        },
    }
    agent = {
        "greeting": GREETING,
        "prompt": "You are the receptionist of a garden center.",
        "nudge": NUDGE,
        "goodbye": GOODBYE,
        "fallback": FALLBACK,
        "tools": ["hangup", "transfer", "lookup_order", "cancel_order"],
        # For the embedded ear, which knows phrases; the models that think do not look at them.
        "intents": {"said": {"phrases": [turn.heard for turn in TURNS if turn is not KEY], "answer": FALLBACK}},
    }
    timeouts = sections.pop("timeouts", {})
    said = {
        "default_agent": next(iter(brains)),
        "downstream_mode": "stream",
        "no_input": {"seconds": QUIET_SECONDS, "limit": 3},
        "streaming": {"level_dbfs": None, "timeouts": timeouts},
        "logging": {"format": "json"},
        "tools": tools,
        "providers": {name: dict(brain) for name, brain in brains.items() if "stt" not in brain},
        "pipelines": {name: dict(brain) for name, brain in brains.items() if "stt" in brain},
        "agents": {name: {**agent, "provider": name} for name in brains},
    }
    for section, values in sections.items():
        said[section] = {**said.get(section, {}), **values} if isinstance(values, dict) else values
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({key: value for key, value in said.items() if value != {}}))
    return path, {name: str(201 + number) for number, name in enumerate(brains)}


# -- the caller's side -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Heard:
    """One stretch of the conversation."""

    what: str
    pcm: Pcm = field(repr=False)
    """What the caller heard, at 8000 Hz."""
    asked_at: float
    """Epoch seconds: the caller's last voice before it."""
    begun_at: float
    """The agent's first voice."""
    longest_gap: float = 0.0
    """Seconds without a sound, from the caller's last voice to the last of these words."""

    @property
    def pitches(self) -> list[int]:
        """Of the words, where they are tones."""
        return heard_words(self.pcm)

    @property
    def answer_ms(self) -> float:
        return (self.begun_at - self.asked_at) * 1000


@dataclass(slots=True)
class Conversation:
    """What was said, and what the caller heard."""

    caller: Caller
    heard: list[Heard] = field(default_factory=list)

    async def hold(self) -> None:
        """From the call to its end. Raises TimeoutError where the agent stays silent."""
        caller = self.caller
        dialled = time.time()
        quiet = await self.listen("greeting", dialled)
        quiet = await self.ask("question", HOURS, quiet)
        quiet = await self._interrupt(quiet)
        quiet = await self.ask("tool", ORDER, quiet)
        quiet = await self.ask("failed tool", CANCEL, quiet)
        await caller.phone.send_digit("5")
        quiet = await self.listen("key", time.time())
        quiet = await self.listen("silence", quiet, timeout=QUIET_SECONDS + 6)
        quiet = await self.ask("transfer declined", SALES, quiet, timeout=40)
        quiet = await self.ask("resume", ADDRESS, quiet)
        asked = await self.say(BYE)
        closed = await caller.phone.wait_for("CALL_CLOSED", 15)
        self._note("goodbye", asked, asked, closed.at)

    async def say(self, turn: Turn) -> float:
        """Speak, and return when the last voice of it went out."""
        await self.caller.finish(words(turn.heard, self.caller.phone.rate))
        return voice_segments(self.caller.own.packets, join_seconds=0.2)[-1].end

    async def ask(self, what: str, turn: Turn, after: float, timeout: float = 15.0, pause: float = PAUSE) -> float:
        """Speak, and listen to the answer."""
        return await self.listen(what, await self.say(turn), timeout=timeout, pause=pause)

    async def listen(self, what: str, asked: float, timeout: float = 15.0, pause: float = PAUSE) -> float:
        """The agent's next words to their end; returns when that was."""
        begun = await self.caller.agent.wait_voice(after=asked, timeout=timeout)
        quiet = await self.caller.agent.wait_quiet(pause, after=begun, timeout=timeout)
        self._note(what, asked, begun, quiet + PAUSE)
        return quiet

    async def _interrupt(self, after: float) -> float:
        asked = await self.say(SERVICES)
        begun = await self.caller.agent.wait_voice(after=asked)
        await asyncio.sleep(max(0.0, begun + 1.5 - time.time()))
        interrupted = await self.caller.say(words(STOP.heard, self.caller.phone.rate))
        quiet = await self.caller.agent.wait_quiet(PAUSE, after=interrupted)
        self._note("interrupted", asked, begun, quiet)
        return await self.listen("interruption", max(quiet, time.time() - PAUSE))

    def _note(self, what: str, asked: float, begun: float, until: float) -> None:
        parts = voice_segments([packet for packet in self.caller.agent.packets if asked <= packet.at < until])
        moments = [asked, *(moment for part in parts for moment in (part.start, part.end))]
        gap = max((later - earlier for earlier, later in zip(moments[::2], moments[1::2], strict=False)), default=0.0)
        self.heard.append(Heard(what, self.caller.heard(begun - 0.02, until), asked, begun, gap))

    def of(self, what: str) -> Heard:
        return next(heard for heard in self.heard if heard.what == what)


def heard_words(pcm: Pcm) -> list[int]:
    """The pitches of the words in ``pcm``, in order."""
    return [round(tone.hz / 50) * 50 for tone in tones(pcm, RATE) if tone.end - tone.start > 0.08]


def alike(found: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether the same words were heard, but for one that a late packet may have blurred."""
    return _distance(found, wanted) <= 1


def assert_heard(heard: Heard, text: str) -> None:
    """All the words of ``text``, in order and no others; one may be blurred by a late packet."""
    wanted = pitches(text)
    assert alike(heard.pitches, wanted), f"{heard.what}: heard {heard.pitches}, not {wanted} ({text})"


def assert_heard_at_last(heard: Heard, text: str) -> None:
    """The words of ``text``, after something else: music."""
    wanted = pitches(text)
    assert alike(heard.pitches[-len(wanted) :], wanted), f"{heard.what}: heard {heard.pitches}, not {wanted}"
    assert len(heard.pitches) > len(wanted), f"{heard.what}: nothing was heard while the caller waited"


def assert_spoken(heard: Heard, text: str) -> None:
    """The words of ``text`` in the voice of the embedded text to speech."""
    wanted = pcm_of(synthesize(text, "slt", RATE))
    found = likeness(heard.pcm, wanted)
    assert found > 0.6, f"{heard.what}: {found:.2f} like {text!r}"


def assert_heard_the_beginning(heard: Heard, text: str) -> None:
    """Some words of ``text``, from its first, and not its last."""
    wanted = pitches(text)
    assert 2 <= len(heard.pitches) < len(wanted), f"{heard.what}: {len(heard.pitches)} of {len(wanted)} words"
    whole = len(heard.pitches) - 1  # the last one may be cut
    assert _distance(heard.pitches[:whole], wanted[:whole]) <= 1, f"{heard.what}: heard {heard.pitches}, not {wanted}"


def _distance(found: Sequence[int], wanted: Sequence[int]) -> int:
    """How many words are missing, wrong or too many (Levenshtein)."""
    row = list(range(len(wanted) + 1))
    for i, one in enumerate(found, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(wanted, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (one != other))
    return row[-1]


__all__ = [
    "Conversation",
    "assert_heard",
    "assert_heard_at_last",
    "assert_heard_the_beginning",
    "configuration",
    "free_port",
    "scenario",
]
