"""A folder per call, and a call loop that never waits for it."""

import json
import threading
import wave
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from ai_engine.call.events import (
    AgentSpoke,
    CallerPaused,
    CallerSaid,
    CallerSpoke,
    DigitReceived,
    ReplyId,
    ToolAsked,
    UsageReported,
)
from ai_engine.observe import recorder as recorder_module
from ai_engine.observe.folder import CallFolder
from ai_engine.observe.recorder import Recorder
from tests.observe.test_stereo_wav import frame, read, room_for


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path / "calls")
    yield recorder
    recorder.close()


def only(directory: Path) -> Path:
    [folder] = directory.iterdir()
    return folder


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def record(recorder: Recorder, call_id: str, frames: int = 0, now: float = 100.0) -> None:
    recorder.call_started(call_id, {"agent": "reception"}, now)
    for n in range(frames):
        recorder.frames(call_id, frame(n), frame(-n), 8000)
    recorder.call_ended(call_id, "caller_hung_up", now + frames / 50)


def test_the_whole_folder(tmp_path: Path, recorder: Recorder) -> None:
    before = datetime.now(UTC)
    recorder.call_started("call-1", {"agent": "reception", "caller": "1000"}, 100.0)
    recorder.happened("call-1", CallerSpoke(confirmed_ms=60.0), 101.06)
    for n in range(120):
        recorder.frames("call-1", frame(n) if n % 3 else None, frame(-n), 8000)
    recorder.happened("call-1", CallerPaused(silence_ms=500.0), 103.0)
    recorder.happened("call-1", CallerSaid("grüß Gott"), 103.1)
    recorder.happened("call-1", ToolAsked("t1", "hangup", {"why": "done"}), 103.15)
    recorder.happened("call-1", AgentSpoke(ReplyId(1)), 103.2)
    recorder.transcript("call-1", [{"speaker": "caller", "text": "grüß Gott", "cut": False, "at": 103.1}])
    recorder.call_ended("call-1", "agent_hung_up", 104.0)
    recorder.close()

    folder = only(tmp_path / "calls")
    assert folder.name.endswith("-call-1")
    assert folder.name[:16] in {f"{before + timedelta(seconds=s):%Y%m%dT%H%M%SZ}" for s in (0, 1, 2)}
    rate, values = read(folder / "call.wav")
    assert rate == 8000
    assert values.tolist() == [[n if n % 3 else 0, -n] for n in range(120)]
    events = lines(folder)
    assert [event["event"] for event in events] == [
        *("CallStarted", "CallerSpoke", "CallerPaused", "CallerSaid", "ToolAsked", "AgentSpoke", "CallEnded")
    ]
    assert events[0]["caller"] == "1000"
    assert (events[3]["text"], events[3]["loop"]) == ("grüß Gott", 103.1)
    assert events[4]["arguments"] == {"why": "done"}
    assert events[-1]["reason"] == "agent_hung_up"
    wall = [datetime.fromisoformat(event["wall"]) for event in events]
    assert abs(wall[0] - before) < timedelta(seconds=2)
    assert wall[-1] - wall[0] == timedelta(seconds=4)
    [said] = json.loads((folder / "transcript.json").read_text())
    assert datetime.fromisoformat(said.pop("wall")) == wall[3]
    assert said == {"speaker": "caller", "text": "grüß Gott", "cut": False, "at": 103.1}
    [turn] = json.loads((folder / "turns.json").read_text())
    assert (turn["onset"], turn["end_of_turn_ms"], turn["first_frame_ms"]) == (101.0, 500.0, 700.0)


def test_two_calls_at_once(tmp_path: Path, recorder: Recorder) -> None:
    recorder.call_started("a", {}, 1.0)
    recorder.call_started("b", {}, 1.0)
    for n in range(70):
        recorder.frames("a", frame(n), None, 8000)
        recorder.frames("b", None, frame(n, 320), 16000)
    recorder.transcript("a", [{"speaker": "agent", "text": "of a"}])
    recorder.call_ended("a", "x", 2.0)
    recorder.call_ended("b", "x", 2.0)
    recorder.close()
    a, b = sorted((tmp_path / "calls").iterdir(), key=lambda folder: folder.name[-1])
    assert json.loads((a / "transcript.json").read_text()) == [{"speaker": "agent", "text": "of a"}]
    assert read(a / "call.wav")[1].tolist() == [[n, 0] for n in range(70)]
    assert read(b / "call.wav")[1].tolist() == [[0, n] for n in range(70)]


def test_open_calls_are_made_valid_at_close(tmp_path: Path, recorder: Recorder) -> None:
    recorder.call_started("a", {}, 1.0)
    for n in range(50):
        recorder.frames("a", frame(n), None, 8000)
    recorder.close()
    folder = only(tmp_path / "calls")
    assert len(read(folder / "call.wav")[1]) == 50
    assert json.loads((folder / "turns.json").read_text()) == []


def test_name_of_the_folder_cannot_leave_the_directory(tmp_path: Path, recorder: Recorder) -> None:
    record(recorder, "../../x/y z")
    recorder.close()
    assert only(tmp_path / "calls").name.endswith("Z-.._.._x_y_z")


def test_text_that_utf8_does_not_have_is_escaped_and_the_next_call_recorded(tmp_path: Path, recorder: Recorder) -> None:
    recorder.call_started("a", {"caller": "\ud800"}, 1.0)
    recorder.happened("a", CallerSpoke(), 1.5)
    recorder.happened("a", CallerSaid("half \udc00"), 2.0)
    recorder.transcript("a", [{"speaker": "caller", "text": "half \udc00"}])
    recorder.call_ended("a", "x", 3.0)
    record(recorder, "b", frames=1)
    recorder.close()
    a, b = sorted((tmp_path / "calls").iterdir(), key=lambda folder: folder.name[-1])
    assert [event.get("text") for event in lines(a)] == [None, None, "half \udc00", None]
    assert json.loads((a / "transcript.json").read_text())[0]["text"] == "half \udc00"
    assert json.loads((a / "turns.json").read_text())[0]["text"] == "half \udc00"
    assert len(read(b / "call.wav")[1]) == 1


def test_what_is_no_json_costs_its_own_call_only(tmp_path: Path, recorder: Recorder) -> None:
    endless: dict[str, Any] = {}
    endless["itself"] = endless
    with structlog.testing.capture_logs() as logs:
        recorder.call_started("a", {}, 1.0)
        recorder.transcript("a", [endless])
        recorder.call_ended("a", "x", 2.0)
        record(recorder, "b", frames=1)
        recorder.close()
    assert [(entry["event"], entry["call_id"]) for entry in logs] == [
        ("recording is incomplete", "a"),
        ("recording saved", "a"),
        ("recording saved", "b"),
    ]


def test_which_keys_were_pressed_is_not_kept(tmp_path: Path, recorder: Recorder) -> None:
    recorder.call_started("a", {}, 1.0)
    recorder.happened("a", DigitReceived("4"), 2.0)
    recorder.close()
    pressed = lines(only(tmp_path / "calls"))[1]
    assert (pressed["event"], pressed["digit"]) == ("DigitReceived", "*hidden*")


def test_what_providers_count_is_added_up(tmp_path: Path, recorder: Recorder) -> None:
    recorder.call_started("call-1", {"agent": "reception"}, 100.0)
    for provider, tokens in (("nova", 10.0), ("spare", 1.0), ("nova", 5.5)):
        recorder.happened("call-1", UsageReported(provider, {"tokens": tokens}), 101.0)
    recorder.call_ended("call-1", "caller_hung_up", 102.0)
    recorder.close()
    assert json.loads((only(tmp_path / "calls") / "usage.json").read_text()) == {
        "nova": {"tokens": 15.5},
        "spare": {"tokens": 1.0},
    }


def test_unknown_call_is_ignored(tmp_path: Path, recorder: Recorder) -> None:
    recorder.frames("nobody", b"", b"", 8000)
    recorder.happened("nobody", CallerSpoke(), 1.0)
    recorder.transcript("nobody", [])
    recorder.call_ended("nobody", "x", 1.0)
    recorder.close()
    assert not (tmp_path / "calls").exists()


def test_slow_disk_drops_counts_and_keeps_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, waiting = threading.Event(), threading.Event()

    class SlowFolder(CallFolder):
        def note(self, *line: Any) -> None:
            waiting.set()
            assert go_on.wait(10)
            super().note(*line)

    monkeypatch.setattr(recorder_module, "CallFolder", SlowFolder)
    recorder = Recorder(tmp_path / "calls", most_waiting=2)
    recorder.call_started("a", {}, 1.0)
    assert waiting.wait(10)
    for n in range(200):  # four seconds, of which the first two find room
        recorder.frames("a", frame(n), None, 8000)
    recorder.happened("a", CallerSpoke(), 2.0)
    assert (recorder.dropped_frames, recorder.dropped_events) == (100, 1)
    go_on.set()
    recorder.close()
    assert len(read(only(tmp_path / "calls") / "call.wav")[1]) == 100


def test_disk_that_never_comes_back_fills_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, waiting = threading.Event(), threading.Event()

    class StuckFolder(CallFolder):
        def note(self, *line: Any) -> None:
            waiting.set()
            assert go_on.wait(10)
            super().note(*line)

    monkeypatch.setattr(recorder_module, "CallFolder", StuckFolder)
    recorder = Recorder(tmp_path / "calls", most_waiting=10)
    recorder.call_started("first", {}, 1.0)
    assert waiting.wait(10)
    with structlog.testing.capture_logs() as logs:
        for n in range(100):
            recorder.call_started(f"call-{n}", {}, 1.0)
            recorder.transcript(f"call-{n}", [{"speaker": "agent", "text": "hello"}])
            recorder.call_ended(f"call-{n}", "x", 2.0)
    assert recorder._jobs.qsize() <= 3 * 10
    assert recorder.dropped_calls == [entry["event"] for entry in logs].count("no room to record the call") > 90
    go_on.set()
    recorder.close()
    # Who was let in has a whole folder for all that.
    whole = [folder for folder in (tmp_path / "calls").iterdir() if not folder.name.endswith("first")]
    assert len(whole) == 100 - recorder.dropped_calls
    assert all((folder / "transcript.json").exists() and (folder / "turns.json").exists() for folder in whole)


def test_lost_sound_leaves_silence(tmp_path: Path) -> None:
    folder = CallFolder(tmp_path, "a", 1.0, datetime.now(UTC))
    folder.sound(0, [(frame(1), frame(1))], 8000)
    folder.sound(3, [(frame(2), frame(2))], 8000)
    folder.close()
    assert read(folder.path / "call.wav")[1][:, 0].tolist() == [1, 0, 0, 0, 2]


def test_full_disk_is_said_once_and_survived(tmp_path: Path, recorder: Recorder) -> None:
    with structlog.testing.capture_logs() as logs, room_for(3000):
        record(recorder, "a", frames=150)
        recorder.close()
    troubles = [entry for entry in logs if entry["log_level"] == "error"]
    assert [entry["event"] for entry in troubles] == ["recording is incomplete"]
    with wave.open(str(only(tmp_path / "calls") / "call.wav")) as sound:
        assert sound.getnframes() > 0


def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "calls").write_text("a file is in the way")
    with structlog.testing.capture_logs() as logs:
        recorder = Recorder(tmp_path / "calls")
        record(recorder, "a", frames=60)
        record(recorder, "b", frames=60)
        recorder.close()
    assert [(entry["event"], entry["call_id"]) for entry in logs] == [
        ("recording is incomplete", "a"),
        ("recording is incomplete", "b"),
    ]
