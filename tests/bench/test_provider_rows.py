"""What an answer cost besides the provider, and a takeover, from what caller, fakes and engine saw."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from ai_engine.audio.format import SLIN8
from ai_engine.config import load
from ai_engine.protocol.audiosocket import WholeFrames
from scripts.bench import plots, provider_kinds, providers, report, voices
from scripts.bench.agent import tone
from scripts.bench.engine import settings
from scripts.bench.provider_caller import LAST_QUIET_SECONDS, QUIET_SECONDS, Talker, sentence
from scripts.bench.provider_kinds import KINDS, SPARE, SPARE_SOUND, Kind
from scripts.bench.provider_rows import Heard, Noted, Row, Unmeasured, answer, covered_ms, row, takeover
from scripts.bench.report import Findings
from tests.fakes import deepgram_agent, deepgram_flux

MACHINE = {"cpu": "abacus", "cores": "2", "python": "3.11", "commit": "abc"}
AGENT, NOVA, FLUX = KINDS[1:4]

ASKED = 100.0
"""The caller's last voice; all times below are seconds after it."""

Events = Sequence[Mapping[str, Any]]


def _call(*voiced: float, held_up: Sequence[float] = ()) -> Heard:
    return Heard("abc", [ASKED], [ASKED + at for at in voiced], [ASKED + at for at in held_up])


def _seen(*notes: tuple[float, str, str]) -> list[Noted]:
    return [Noted(ASKED + at, place, what) for at, place, what in notes]


def _paused(silence_ms: float = 440.0) -> Events:
    return [{"loop": ASKED + 0.445, "event": "CallerPaused", "silence_ms": silence_ms, "forced": False}]


PIPELINE = _seen(
    (0.442, "ear", "< Finalize"),
    (0.452, "ear", "> Results from_finalize"),
    (0.455, "model", "< chat"),
    (0.505, "model", "> chat"),
    (0.506, "voice", "< Flush"),
    (0.536, "voice", "> sound"),
    (0.576, "voice", "> sound"),
)


class TestAnswer:
    def test_what_the_fakes_took_and_the_quiet_that_ends_a_turn_are_not_ours(self) -> None:
        found = answer(NOVA, _call(-1.0, 0.548, 0.568), 0, PIPELINE, _paused())
        assert found.total_ms == pytest.approx(548.0)
        assert found.end_of_turn_ms == 440.0
        assert found.provider_ms == pytest.approx(10 + 50 + 30)
        assert found.overhead_ms == pytest.approx(18.0)
        assert (found.hearing_ms, found.speaking_ms) == (pytest.approx(2.0), pytest.approx(12.0))

    def test_the_parts_of_an_overhead_add_up_to_it(self) -> None:
        made = row(NOVA, [_call(0.548)], PIPELINE, {"abc": _paused()})
        assert {name: values[0] for name, values in made.parts().items()} == {
            "hearing": pytest.approx(2.0),
            "between": pytest.approx(4.0),
            "speaking": pytest.approx(12.0),
        }

    def test_ears_of_their_own_have_heard_the_end_with_the_last_sound_before_they_say_so(self) -> None:
        notes = _seen(
            *((at / 100, "agent", "< sound") for at in range(0, 54, 2)),
            (0.523, "agent", "> ConversationText user"),
            (0.54, "agent", "< sound"),
            (0.543, "agent", "> sound"),
        )
        found = answer(AGENT, _call(0.55), 0, notes, ())
        assert found.end_of_turn_ms == provider_kinds.AGENT_END_MS == deepgram_agent.END_OF_TURN_MS
        assert found.hearing_ms == pytest.approx(20.0), "the sound of the last quiet came late"
        assert found.provider_ms == pytest.approx(3.0 + 20.0)
        assert found.overhead_ms == pytest.approx(27.0)

    def test_what_was_prepared_before_the_turn_was_over_took_no_time(self) -> None:
        notes = _seen(
            (0.21, "model", "< chat"),
            (0.26, "model", "> chat"),
            (0.261, "voice", "< Flush"),
            (0.27, "voice", "> sound"),
            (0.51, "ear", "< sound"),
            (0.512, "ear", "> TurnInfo EndOfTurn"),
        )
        found = answer(FLUX, _call(0.52), 0, notes, ())
        assert found.end_of_turn_ms == provider_kinds.FLUX_END_MS == deepgram_flux.END_MS
        assert found.provider_ms == pytest.approx(2.0)
        assert (found.hearing_ms, found.speaking_ms) == (pytest.approx(10.0), pytest.approx(8.0))

    def test_what_an_earlier_answer_left_in_the_log_does_not_count(self) -> None:
        earlier = [note._replace(at=note.at - 5) for note in PIPELINE]
        call = replace(_call(-4.4, 0.548), asked=[ASKED - 5, ASKED])
        assert answer(NOVA, call, 1, [*earlier, *PIPELINE], _paused()).overhead_ms == pytest.approx(18.0)

    @pytest.mark.parametrize(
        ("call", "notes", "events", "why"),
        [
            (_call(-1.0), PIPELINE, _paused(), "nothing was heard"),
            (_call(0.548), PIPELINE[1:], _paused(), "the ear did not send"),
            (_call(0.53), PIPELINE, _paused(), "the voice did not send"),
            (_call(0.548), PIPELINE, (), "no CallerPaused"),
        ],
    )
    def test_what_was_not_seen_is_not_guessed(
        self, call: Heard, notes: Sequence[Noted], events: Events, why: str
    ) -> None:
        with pytest.raises(Unmeasured, match=why):
            answer(NOVA, call, 0, notes, events)
        assert why in row(NOVA, [call], notes, {"abc": events}).unmeasured[0]

    def test_what_happened_while_the_caller_was_late_is_left_out(self) -> None:
        made = row(NOVA, [_call(0.548, held_up=[0.3])], PIPELINE, {"abc": _paused()})
        assert (made.answers, made.held_up) == ([], 1)
        assert row(NOVA, [_call(0.548, held_up=[0.6])], PIPELINE, {"abc": _paused()}).held_up == 0

    def test_an_answer_to_the_next_question_is_none_to_this_one(self) -> None:
        call = replace(_call(4.0), asked=[ASKED, ASKED + 3])
        assert (call.answered(0), call.answered(1)) == (None, ASKED + 4)


@pytest.mark.parametrize(
    ("spans", "ms"),
    [
        ([], 0.0),
        ([(1.0, 2.0)], 1000.0),
        ([(3.0, 4.0), (1.0, 2.0)], 2000.0),
        ([(1.0, 3.0), (2.0, 4.0)], 3000.0),
        ([(1.0, 4.0), (2.0, 3.0)], 3000.0),
        ([(-1.0, 0.5), (9.0, 12.0)], 1500.0),
        ([(-2.0, -1.0), (11.0, 12.0)], 0.0),
    ],
)
def test_fakes_that_work_at_the_same_time_are_counted_once_and_within_bounds(
    spans: list[tuple[float, float]], ms: float
) -> None:
    assert covered_ms(spans, 0.0, 10.0) == pytest.approx(ms)


class TestTakeover:
    BREAK = _seen((-3.0, "voice", "> close"), (1.0, "voice", "> close"), (1.012, SPARE, SPARE_SOUND))
    EVENTS: Events = [
        {"loop": ASKED + at, "event": event, **fields}
        for at, event, fields in (
            (-9.0, "AgentStarted", {"provider": "main"}),
            (0.6, "ReplyBegan", {"reply": 2}),
            (0.61, "AgentSpoke", {"reply": 2}),
            (1.001, "AgentFailed", {"reason": "gone"}),
            (1.004, "AgentStarted", {"provider": SPARE}),
            (1.013, "ReplyBegan", {"reply": 4}),
            (1.014, "AgentSpoke", {"reply": 3}),
            (1.1, "AgentSpoke", {"reply": 4}),
        )
    ]

    def test_every_step_is_counted_from_the_break(self) -> None:
        found = takeover(NOVA, _call(0.61, 1.02, 1.04, 1.099, 1.119), self.BREAK, self.EVENTS)
        assert found.noticed_ms == pytest.approx(1.0)
        assert found.seated_ms == pytest.approx(4.0)
        assert found.ready_ms == pytest.approx(12.0)
        assert found.left_ms == pytest.approx(60.0), "with the frame that began at 1.04"
        assert found.voice_ms == pytest.approx(99.0)
        assert found.silent_ms == pytest.approx(39.0)

    def test_a_connection_that_did_not_break_is_not_taken_over(self) -> None:
        with pytest.raises(Unmeasured, match="did not break"):
            takeover(NOVA, _call(0.6), self.BREAK[:1], self.EVENTS)

    def test_a_caller_who_hears_nobody_any_more_is_no_takeover(self) -> None:
        with pytest.raises(Unmeasured, match="nobody was heard"):
            takeover(NOVA, _call(0.61, 1.02), self.BREAK, self.EVENTS)
        with pytest.raises(Unmeasured, match="no AgentStarted"):
            takeover(NOVA, _call(0.61, 1.02), self.BREAK, self.EVENTS[:4])


class TestTalker:
    LINE = [tone(SLIN8)] * 3

    def _talk(self, talker: Talker, seconds: float, *, answers_after: float, answer_seconds: float) -> float:
        """Be the agent: greet at once, and answer each question; returns when the caller was done."""
        codec, now = WholeFrames(SLIN8), 0.0
        while not talker.over(now) and now < seconds:
            talker.next_message(now)
            since = now - (talker.asked[-1] + answers_after if talker.asked else 0.0)
            talker.receive(codec.encode(tone(SLIN8)) if 0 <= since < answer_seconds else codec.silence, now)
            now += talker.due_seconds
        return now

    def test_it_asks_when_the_agent_has_finished_and_ends_after_the_last_answer(self) -> None:
        talker = Talker([self.LINE, self.LINE], voices.hiss())
        end = self._talk(talker, 30.0, answers_after=0.5, answer_seconds=0.4)
        first, second = talker.asked
        assert first == pytest.approx(0.4 + QUIET_SECONDS + 3 * 0.02, abs=0.05)
        assert second - first == pytest.approx(0.5 + 0.4 + QUIET_SECONDS + 3 * 0.02, abs=0.05)
        assert end - second == pytest.approx(0.9 + LAST_QUIET_SECONDS, abs=0.05)
        call = Heard("abc", talker.asked, talker.voiced, [])
        assert call.answered(1) == pytest.approx(second + 0.5, abs=0.025)

    def test_each_question_comes_at_another_place_within_the_frames(self) -> None:
        talker = Talker([self.LINE] * 4, voices.hiss())
        self._talk(talker, 30.0, answers_after=0.5, answer_seconds=0.4)
        places = sorted(at % 0.02 for at in talker.asked)
        assert len(places) == 4
        assert min(later - earlier for earlier, later in zip(places, places[1:], strict=False)) > 0.002

    def test_an_agent_that_is_silent_is_not_waited_for(self) -> None:
        talker = Talker([self.LINE], voices.hiss())
        assert self._talk(talker, 60.0, answers_after=99.0, answer_seconds=0.0) < 20.0
        assert Heard("abc", talker.asked, talker.voiced, []).answered(0) is None

    def test_a_question_ends_in_the_middle_of_a_loud_sound(self) -> None:
        quiet, loud = voices.hiss()[0], tone(SLIN8)
        assert sentence([loud, loud, quiet, loud, quiet, quiet]) == [loud, loud, quiet, loud]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_the_engine_takes_the_configuration_of_every_kind(kind: Kind, tmp_path: Path) -> None:
    urls = {
        place: "http://127.0.0.1:9/v1" if fake == "openai" else "ws://127.0.0.1:9/v1"
        for place, fake in (*kind.fakes.items(), (SPARE, "realtime"))
    }
    path = tmp_path / "engine.yaml"
    path.write_text(yaml.safe_dump(settings(providers.changes(kind, urls))))
    keys = {"OPENAI_API_KEY": "test-key", "DEEPGRAM_API_KEY": "test-key", "DEFAULT_AGENT": providers.AGENT}
    config = load(path, {**keys, "ASTERISK_ARI_USERNAME": "nobody", "ASTERISK_ARI_PASSWORD": "nothing"})
    assert config.providers_of(config.default_agent) == ("main", SPARE)
    assert {stage.place for stage in kind.stages} | {kind.strikes} <= kind.fakes.keys()


class TestReport:
    def _row(self) -> Row:
        return row(
            NOVA,
            [_call(0.548, 1.04, 1.099, 1.119)],
            sorted([*PIPELINE, *TestTakeover.BREAK]),
            {"abc": [*_paused(), *TestTakeover.EVENTS]},
        )

    def test_a_row_is_json_a_table_and_a_picture(self, tmp_path: Path) -> None:
        findings = Findings(MACHINE, providers=[self._row(), Row("nothing was measured")])
        said = json.loads(json.dumps(findings.plain()))["providers"][NOVA.name]
        assert said["overhead_ms"] == {"p50": 18.0, "p95": 18.0, "max": 18.0}
        assert said["takeovers"][0]["voice_ms"] == 99.0
        console = Console(record=True, width=160, file=StringIO())
        report.show(findings, console)
        assert "18.0 / 18.0" in console.export_text()
        plots.draw(findings, tmp_path / "bench.png")
        assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")

    def test_a_provider_that_costs_too_much_or_leaves_silence_breaks_a_promise(self) -> None:
        well = self._row()
        assert [bar.met for bar in Findings(MACHINE, providers=[well]).bars()] == [True, True]
        slow = replace(well, answers=[replace(well.answers[0], total_ms=600.0)])
        silent = replace(well, takeovers=[replace(well.takeovers[0], silent_ms=900.0)])
        assert [bar.met for bar in Findings(MACHINE, providers=[slow]).bars()] == [False, True]
        assert [bar.met for bar in Findings(MACHINE, providers=[silent]).bars()] == [True, False]

    def test_what_was_not_measured_is_said(self) -> None:
        bars = Findings(MACHINE, providers=[replace(self._row(), unmeasured=["call 0: broken pipe"])]).bars()
        assert not bars[-1].met
        assert "broken pipe" in bars[-1].found
