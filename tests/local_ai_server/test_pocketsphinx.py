"""Hearing the demo agent's phrases over a telephone line, and not hearing them in other speech."""

import numpy as np
import pytest

from local_ai_server import asides
from local_ai_server.agent import Agent, read_agent
from local_ai_server.errors import AgentError
from local_ai_server.stt.pocketsphinx import DictationSphinx, GrammarSphinx
from local_ai_server.stt.sound import resample
from tests.local_ai_server.demo_agent import AGENT, FOREIGN, UNDERSTOOD
from tests.local_ai_server.phone_speech import caller

VOICES = ("rms", "awb", "slt")


@pytest.fixture(scope="module")
def sphinx() -> GrammarSphinx:
    return GrammarSphinx()


@pytest.fixture(scope="module")
def agent() -> Agent:
    return read_agent(AGENT)


def one_intent(*phrases: str) -> Agent:
    return read_agent({"name": "x", "intents": {"only": {"phrases": list(phrases), "answer": ""}}})


def test_its_own_phrases_are_heard_and_other_speech_is_not(sphinx: GrammarSphinx, agent: Agent) -> None:
    heard = {(v, t): sphinx.transcribe(agent, caller(t, v)) for v in VOICES for t in UNDERSTOOD}
    rejected = [key for key, transcript in heard.items() if transcript.text == ""]
    mistaken = [(key, t.text) for key, t in heard.items() if t.text not in ("", key[1])]
    accepted = [(v, t) for v in VOICES for t in FOREIGN if sphinx.transcribe(agent, caller(t, v)).text]
    print(f"{len(heard)} said: {len(mistaken)} mistaken, {len(rejected)} rejected {rejected}")
    print(f"{len(FOREIGN) * len(VOICES)} foreign: {len(accepted)} accepted {accepted}")
    assert not mistaken
    assert not rejected
    assert not accepted


def test_few_phrases_do_not_attract_other_speech(sphinx: GrammarSphinx) -> None:
    few = one_intent("a pepperoni pizza please", "goodbye", "talk to a human")
    accepted = [(v, t) for v in VOICES for t in FOREIGN if sphinx.transcribe(few, caller(t, v)).text]
    print(f"{len(FOREIGN) * len(VOICES)} foreign: {len(accepted)} accepted {accepted}")
    assert not accepted
    for text in ("a pepperoni pizza please", "goodbye", "talk to a human"):
        assert [sphinx.transcribe(few, caller(text, voice)).text for voice in VOICES] == [text] * 3


@pytest.mark.parametrize("voice", ["rms", "awb"])
@pytest.mark.parametrize(
    "text",
    ["what are your opening hours", "what can you do for me", "can i speak to a person", "no that's all goodbye"],
)
@pytest.mark.parametrize(("before_ms", "after_ms"), [(60, 300), (200, 600), (600, 1500)])
def test_pauses_around_a_turn_do_not_matter(
    sphinx: GrammarSphinx, agent: Agent, text: str, voice: str, before_ms: int, after_ms: int
) -> None:
    assert sphinx.transcribe(agent, caller(text, voice, before_ms, after_ms)).text == text


@pytest.mark.parametrize("pcm", [b"", b"\0\0", bytes(640), bytes(32000)])
def test_silence_says_nothing(sphinx: GrammarSphinx, agent: Agent, pcm: bytes) -> None:
    assert sphinx.transcribe(agent, pcm).text == ""


def test_agents_take_turns_at_one_decoder(sphinx: GrammarSphinx) -> None:
    pizza, weather = one_intent("a pepperoni pizza please"), one_intent("is it going to rain today")
    said = caller("is it going to rain today", "rms")
    for _ in range(2):
        assert sphinx.transcribe(pizza, said).text == ""
        assert sphinx.transcribe(weather, said).text == "is it going to rain today"


def test_many_agents_are_forgotten_and_built_again(sphinx: GrammarSphinx) -> None:
    numbers = (
        "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    )
    agents = [one_intent(f"number {word} please") for word in numbers.split()]
    for each in agents:
        sphinx.prepare(each)
    assert sphinx.transcribe(agents[0], caller("number one please", "rms")).text == "number one please"


def test_the_latest_agents_are_kept_ready_and_only_those() -> None:
    sphinx = GrammarSphinx()
    first, *others = (one_intent(f"number {word} please") for word in ("one", "two", "three", "four", "five", "six"))
    for each in others:
        sphinx.prepare(first)
        sphinx.prepare(each)
    kept = [number for number in range(1, 7) if sphinx._decoder.get_fsg(f"agent{number}")]
    assert kept == [1, 4, 5, 6]


def test_a_turn_longer_than_any_phrase_is_not_searched(sphinx: GrammarSphinx, agent: Agent) -> None:
    hours = caller("when are you open", "rms")
    assert sphinx.transcribe(agent, hours + bytes(32000 * 20)).text == "when are you open"
    assert sphinx.transcribe(agent, hours + bytes(32000 * 30)).text == ""


def test_words_it_cannot_hear_are_named(sphinx: GrammarSphinx) -> None:
    with pytest.raises(AgentError, match="dictionary: flurgish, zzyzxy"):
        sphinx.prepare(one_intent("flurgish goodbye", "zzyzxy"))


def test_an_agent_without_intents_understands_nothing(sphinx: GrammarSphinx) -> None:
    assert sphinx.transcribe(read_agent({"name": "mute"}), caller("goodbye", "rms")).text == ""


def test_dictation_needs_no_phrases() -> None:
    sphinx = DictationSphinx()
    heard = sphinx.transcribe(read_agent({"name": "x"}), caller("what are your opening hours", "rms"))
    assert "what are your opening" in heard.text
    assert 0 <= heard.confidence <= 1


def test_asides_into_the_agents_words_are_told_apart(sphinx: GrammarSphinx, agent: Agent) -> None:
    heard = {
        (voice, text): sphinx.transcribe(agent, caller(text, voice), brief=True).text
        for voice in ("slt", *VOICES[:2], "kal16")
        for text in (*asides.HALTS["en"], "yeah", "yes", "okay", "right", "i see")
    }
    halts = [text for (_, said), text in heard.items() if said in asides.HALTS["en"]]
    hums = [text for (_, said), text in heard.items() if said not in asides.HALTS["en"]]
    print({key: text for key, text in heard.items() if text != key[1]})
    assert sum(asides.is_halt(text, "en") for text in halts) >= len(halts) * 0.7
    assert not any(asides.is_halt(text, "en") for text in hums)


def test_a_brief_turn_may_be_one_of_the_agents_phrases(sphinx: GrammarSphinx, agent: Agent) -> None:
    for voice in VOICES[:2]:
        for text in ("goodbye", "where are you", "talk to a human"):
            assert sphinx.transcribe(agent, caller(text, voice), brief=True).text == text


def test_asides_are_no_answers(sphinx: GrammarSphinx, agent: Agent) -> None:
    assert sphinx.transcribe(agent, caller("wait", "rms")).text == ""


def test_an_agent_without_intents_can_still_be_stopped(sphinx: GrammarSphinx) -> None:
    assert sphinx.transcribe(read_agent({"name": "mute"}), caller("hold on", "rms"), brief=True).text == "hold on"
    german = read_agent({"name": "stumm", "language": "de-DE"})
    assert sphinx.transcribe(german, caller("hold on", "rms"), brief=True).text == ""


def test_a_cough_is_no_word(sphinx: GrammarSphinx, agent: Agent) -> None:
    generator = np.random.default_rng(5)
    for decay in (600, 1200, 2400):
        burst = generator.normal(0, 6000, 4800) * np.exp(-np.arange(4800) / decay)
        cough = bytes(8000) + np.clip(burst, -32768, 32767).astype("<i2").tobytes() + bytes(8000)
        assert sphinx.transcribe(agent, cough, brief=True).text == ""


def test_the_telephones_own_rate_serves_as_well(sphinx: GrammarSphinx, agent: Agent) -> None:
    for voice in VOICES:
        for text in list(UNDERSTOOD)[::3]:
            pcm = resample(caller(text, voice, rate=8000), 8000, 16000)
            assert sphinx.transcribe(agent, pcm).text == text
