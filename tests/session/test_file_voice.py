"""The agent's voice as files, against an Asterisk whose time is the test's."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import numpy as np
import pytest

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.audio.voice import Cut, Unheard, Voice
from ai_engine.errors import AsteriskError, CallGone, MediaError
from ai_engine.session.file_voice import FileVoice
from tests.fakes.virtual_time import run_virtual

LATENCY = 0.003
"""Seconds an answer of Asterisk, or of the disk, takes."""


def sound(ms: int, seed: int = 1, rate: int = 8000) -> bytes:
    """Noise that never pauses."""
    noise = np.random.default_rng(seed).integers(4000, 9000, rate * ms // 1000)
    return (noise * np.where(np.arange(noise.size) % 2, 1, -1)).astype("<i2").tobytes()


def pairs(cuts: tuple[Cut, ...]) -> list[tuple[int, object]]:
    return [(cut.reply, cut.heard_ms) for cut in cuts]


class Store:
    """Implements ``SoundStore``."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.most = 0
        self.fails: MediaError | None = None

    async def put(self, name: str, pcm: bytes, format: AudioFormat) -> str:
        await asyncio.sleep(LATENCY)
        if self.fails is not None:
            raise self.fails
        self.files[f"sound:/{name}"] = pcm
        self.most = max(self.most, len(self.files))
        return f"sound:/{name}"

    def remove(self, uri: str) -> None:
        self.files.pop(uri, None)


class Channel:
    """Implements ``Player`` as a channel of Asterisk does: what is asked is played one after the other."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.heard = bytearray()
        """Without the silence between."""
        self.timeline: list[tuple[float, str]] = []
        self.on_end: Callable[[str, bool], None] = lambda playback_id, failed: None
        self.fails: dict[str, Exception] = {}
        self.deaf_ms = 0
        """So long after ``play`` the channel begins, and can be paused."""
        self.reports_end = True
        self.answer_seconds = LATENCY
        self._queue: list[str] = []
        self._sounds: dict[str, bytes] = {}
        self._paused: set[str] = set()
        self._began: set[str] = set()
        self._running: asyncio.Task[None] | None = None

    async def play(self, playback_id: str, uri: str) -> None:
        self._note("play", playback_id)
        self._sounds[playback_id] = self.store.files.get(uri, b"")
        self._queue.append(playback_id)
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        await self._answer("play")

    async def pause_playback(self, playback_id: str) -> None:
        self._note("pause", playback_id)
        if playback_id not in self._began:
            raise AsteriskError("Can only pause while media is playing", 409)
        self._paused.add(playback_id)
        await self._answer("pause")

    async def resume_playback(self, playback_id: str) -> None:
        self._note("resume", playback_id)
        self._paused.discard(playback_id)
        await self._answer("resume")

    async def stop_playback(self, playback_id: str) -> None:
        self._note("stop", playback_id)
        if playback_id in self._queue:
            self._queue.remove(playback_id)
        await self._answer("stop")

    def verbs(self) -> list[str]:
        return [what.split()[0] for _, what in self.timeline]

    def _note(self, what: str, playback_id: str) -> None:
        self.timeline.append((asyncio.get_running_loop().time(), f"{what} {playback_id}"))

    async def _answer(self, what: str) -> None:
        if what in self.fails:
            raise self.fails[what]
        await asyncio.sleep(self.answer_seconds)

    async def _run(self) -> None:
        while self._queue:
            current = self._queue[0]
            await asyncio.sleep(self.deaf_ms / 1000)
            self._began.add(current)
            waiting = self._sounds[current]
            failed = not waiting
            while waiting and current in self._queue:
                if current not in self._paused:
                    self.heard += waiting[:320]
                    waiting = waiting[320:]
                await asyncio.sleep(0.02)
            if current in self._queue:
                self._queue.remove(current)
            if self.reports_end:
                self.on_end(current, failed)


class Call:
    """A voice, what it speaks through, and whoever listens to it."""

    def __init__(self, format: AudioFormat = SLIN8) -> None:
        self.store = Store()
        self.channel = Channel(self.store)
        self.started: list[int] = []
        self.drained: list[int] = []
        self.failed: list[str] = []
        self.frames: list[bytes | None] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.voice = FileVoice(
            "call-1",
            format,
            self.store,
            self.channel,
            self._spawn,
            self.started.append,
            self.drained.append,
            self.failed.append,
        )
        self.channel.on_end = self.voice.playback_ended

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        task.result()

    def say(self, reply: int, *sentences: bytes) -> None:
        assert self.voice.begin(reply)
        for pcm in sentences:
            assert self.voice.push(reply, pcm)
            self.voice.end_sentence(reply)
        self.voice.finish(reply)

    async def run(self, ms: int) -> None:
        for _ in range(ms // 20):
            self.frames.append(self.voice.pull())
            await asyncio.sleep(0.02)

    @property
    def counted(self) -> bytes:
        """What ``pull`` says was heard."""
        return b"".join(frame for frame in self.frames if frame is not None)


def virtual(test: Callable[[Call], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        async def body() -> None:
            await test(Call())

        run_virtual(body())

    return run


def test_it_is_a_voice() -> None:
    async def body() -> None:
        voice: Voice = Call().voice
        assert voice.idle
        assert voice.upcoming(10) == ()

    run_virtual(body())


@virtual
async def test_sentences_are_heard_in_order_and_counted(call: Call) -> None:
    first, second, third = sound(1000, 1), sound(2000, 2), sound(500, 3)
    call.say(1, first, second, third)
    assert call.voice.speaking is None
    await call.run(4000)
    assert bytes(call.channel.heard) == first + second + third
    assert call.counted == first + second + third
    assert (call.started, call.drained, call.failed) == ([1], [1], [])
    assert call.voice.idle
    assert call.store.files == {}
    assert call.store.most == 2


@virtual
async def test_the_next_sentence_is_asked_for_shortly_before_the_end_of_the_first(call: Call) -> None:
    call.say(1, sound(4000, 1), sound(4000, 2), sound(1000, 3))
    await call.run(10000)
    asked = [at for at, what in call.channel.timeline if what.startswith("play")]
    assert asked == pytest.approx([0.0, 3.0, 7.0], abs=0.1)
    assert len(call.channel.heard) == 9000 * 16


@virtual
async def test_replies_wait_for_each_other(call: Call) -> None:
    call.say(1, sound(500, 1))
    call.voice.begin(2)
    call.voice.push(2, sound(300, 2))
    call.say(3, sound(200, 3))
    await call.run(2000)
    assert (call.started, call.drained) == ([1], [1])  # nothing ended a sentence of the second
    call.voice.finish(2)
    await call.run(1000)
    assert (call.started, call.drained) == ([1, 2, 3], [1, 2, 3])
    assert bytes(call.channel.heard) == sound(500, 1) + sound(300, 2) + sound(200, 3)


@virtual
async def test_a_stream_without_sentences_is_cut_at_a_pause(call: Call) -> None:
    spoken = sound(3400, 1) + bytes(1600) + sound(3000, 2)
    call.voice.begin(1)
    for start in range(0, len(spoken), 640):
        call.voice.push(1, spoken[start : start + 640])
        await call.run(20)
    await call.run(4000)
    assert len(call.channel.heard) == pytest.approx(3440 * 16, abs=640)
    call.voice.finish(1)
    await call.run(4000)
    assert bytes(call.channel.heard) == spoken
    assert call.drained == [1]


@virtual
async def test_a_stream_without_a_pause_is_cut_all_the_same(call: Call) -> None:
    call.voice.begin(1)
    call.voice.push(1, sound(20000))
    call.voice.finish(1)
    await call.run(22000)
    assert bytes(call.channel.heard) == sound(20000)
    assert call.counted == sound(20000)
    assert 4 <= call.channel.verbs().count("play") <= 6


@virtual
async def test_another_rate_and_an_odd_length(call: Call) -> None:
    call.voice.begin(1, AudioFormat(24000))
    call.voice.push(1, sound(1013, rate=24000))
    call.voice.finish(1)
    await call.run(500)
    assert call.voice.speaking == 1
    assert pairs(call.voice.stop()) == [(1, pytest.approx(480, abs=20))]
    call.voice.begin(2, AudioFormat(24000))
    call.voice.push(2, sound(1013, rate=24000))
    call.voice.finish(2)
    await call.run(2000)
    assert call.drained == [2]
    assert len(call.counted) % 320 == 0


@virtual
async def test_a_reply_without_sound_is_begun_and_over(call: Call) -> None:
    call.say(1)
    await call.run(20)
    assert (call.started, call.drained, call.voice.idle) == ([1], [1], True)
    assert call.channel.timeline == []


@virtual
async def test_hold_and_resume_lose_nothing(call: Call) -> None:
    call.say(1, sound(1000, 1), sound(1000, 2))
    await call.run(500)
    call.voice.hold()
    before = len(call.counted)
    await call.run(1500)
    assert len(call.counted) == before
    assert call.voice.held
    assert call.voice.speaking == 1
    assert len(call.channel.heard) == pytest.approx(before, abs=960)
    call.voice.resume()
    await call.run(2000)
    assert bytes(call.channel.heard) == sound(1000, 1) + sound(1000, 2)
    # A frame may have left just before the pause came.
    assert len(call.counted) == pytest.approx(2000 * 16, abs=320)
    assert call.drained == [1]
    assert call.channel.verbs() == ["play", "play", "pause", "resume"]


@virtual
async def test_a_long_hold_takes_the_file_back_so_that_the_channel_is_free(call: Call) -> None:
    call.say(1, sound(2000))
    await call.run(1000)
    call.voice.hold()
    await call.run(10_000)
    assert call.channel.verbs() == ["play", "pause", "stop"]
    assert call.voice.speaking == 1
    call.voice.resume()
    await call.run(1500)
    assert call.channel.verbs() == ["play", "pause", "stop", "play"]
    assert call.drained == [1]
    assert len(call.channel.heard) == pytest.approx(2000 * 16, abs=2 * 320), "sound was lost, or said twice"


@pytest.mark.parametrize("hold_at_ms", range(0, 1200, 20))
def test_hold_at_any_moment_stands_still_at_once(hold_at_ms: int) -> None:
    async def body() -> None:
        call = Call()
        call.channel.deaf_ms = 30
        call.say(1, sound(600, 1), sound(400, 2))
        await call.run(hold_at_ms)
        call.voice.hold()
        await call.run(200)
        heard = len(call.channel.heard)
        await call.run(1500)
        assert len(call.channel.heard) == heard
        call.voice.resume()
        await call.run(2000)
        assert bytes(call.channel.heard) == sound(600, 1) + sound(400, 2)
        assert (call.drained, call.failed) == ([1], [])

    run_virtual(body())


@virtual
async def test_no_pause_before_play_was_answered(call: Call) -> None:
    call.channel.answer_seconds = 0.3
    call.say(1, sound(1000))
    await call.run(100)
    call.voice.hold()
    await call.run(100)
    assert call.channel.verbs() == ["play"]
    call.voice.resume()
    call.voice.hold()
    await call.run(1000)
    assert call.channel.verbs() == ["play", "pause"]
    call.voice.resume()
    await call.run(2000)
    assert call.drained == [1]


@virtual
async def test_a_pause_that_is_refused_is_a_failure_in_the_end(call: Call) -> None:
    call.channel.fails["pause"] = AsteriskError("no", 500)
    call.say(1, sound(3000))
    await call.run(500)
    call.voice.hold()
    await call.run(1000)
    assert call.failed == ["no"]
    assert call.channel.verbs().count("pause") == 10


@virtual
async def test_hold_before_the_first_word(call: Call) -> None:
    call.voice.hold()
    call.say(1, sound(500))
    await call.run(1000)
    assert call.channel.timeline == []
    call.voice.resume()
    await call.run(1000)
    assert call.drained == [1]


@virtual
async def test_stop_silences_what_sounds_and_what_follows(call: Call) -> None:
    call.say(1, sound(600, 1), sound(1000, 2), sound(1000, 3))
    call.say(2, sound(1000, 4))
    await call.run(300)
    assert call.channel.verbs() == ["play", "play"]
    cuts = call.voice.stop()
    assert pairs(cuts) == [(1, pytest.approx(280, abs=20)), (2, 0.0)]
    assert call.voice.idle
    assert call.store.files == {}
    await call.run(1000)
    assert len(call.channel.heard) == pytest.approx(cuts[0].heard_ms * 16, abs=960)
    # The one that follows goes first, or it would begin.
    assert [what for _, what in call.channel.timeline[2:]] == ["stop call-1-2", "stop call-1-1"]
    assert not call.voice.push(1, sound(20))
    assert not call.voice.begin(2)
    call.say(3, sound(500, 5))
    await call.run(1000)
    assert (call.started, call.drained) == ([1, 3], [3])
    assert bytes(call.channel.heard)[-8000:] == sound(500, 5)


@pytest.mark.parametrize("stop_at_ms", range(0, 700, 10))
def test_stop_at_any_moment_leaves_nothing(stop_at_ms: int) -> None:
    async def body() -> None:
        call = Call()
        call.say(1, sound(300, 1), sound(300, 2))
        await call.run(stop_at_ms)
        await asyncio.sleep(stop_at_ms % 20 / 1000)
        cuts = call.voice.stop()
        heard = len(call.channel.heard)
        await call.run(500)
        assert len(call.channel.heard) <= heard + 640
        assert all(cut.heard_ms * 16 == pytest.approx(heard, abs=960) for cut in cuts)
        assert call.store.files == {}
        call.say(2, sound(200, 3))
        await call.run(500)
        assert bytes(call.channel.heard)[-3200:] == sound(200, 3)
        assert call.store.files == {}
        assert not call.tasks
        assert call.failed == []

    run_virtual(body())


@virtual
async def test_whoever_hears_of_the_start_may_stop_it(call: Call) -> None:
    call.voice._on_started = lambda reply: call.frames.extend([] if call.voice.stop() else [])
    call.say(1, sound(500))
    await call.run(500)
    assert call.counted == b""
    assert call.voice.idle


@virtual
async def test_surrender_gives_what_was_not_heard_and_adopt_goes_on(call: Call) -> None:
    call.say(1, sound(1000, 1), sound(1000, 2))
    call.voice.begin(2, SLIN16)
    call.voice.push(2, sound(100, 3, 16000))
    await call.run(400)
    first, second = call.voice.surrender()
    heard = len(call.counted)
    assert first == Unheard(1, SLIN8, (sound(1000, 1) + sound(1000, 2))[heard:], True, heard / 16)
    assert second == Unheard(2, SLIN16, sound(100, 3, 16000), False, 0.0)
    assert call.voice.idle
    await call.run(100)
    assert call.store.files == {}
    other = Call()
    for unheard in (first, second):
        other.voice.adopt(unheard)
    assert not other.voice.begin(2)
    assert other.voice.is_open(2)
    assert not other.voice.is_open(1)
    await other.run(500)
    assert pairs(other.voice.stop()) == [(1, pytest.approx(heard / 16 + 480, abs=20)), (2, 0.0)]
    assert other.started == []  # it had started elsewhere


@virtual
async def test_a_full_disk_fails_once_and_the_rest_can_be_had(call: Call) -> None:
    call.store.fails = MediaError("no room")
    call.say(1, sound(500))
    call.say(2, sound(500))
    await call.run(1000)
    assert call.failed == ["no room"]
    assert call.channel.timeline == []
    assert [unheard.pcm for unheard in call.voice.surrender()] == [sound(500)] * 2
    call.store.fails = None
    call.say(3, sound(500))
    await call.run(1000)
    assert call.drained == [3]


@virtual
async def test_a_file_that_asterisk_does_not_play_fails(call: Call) -> None:
    call.channel.store = Store()  # another directory
    call.say(1, sound(500), sound(500))
    await call.run(1000)
    assert len(call.failed) == 1
    assert call.started == []
    assert [unheard.pcm for unheard in call.voice.surrender()] == [sound(500) * 2]


@virtual
async def test_a_hangup_fails_the_playback_but_not_the_voice(call: Call) -> None:
    call.say(1, sound(500))
    await call.run(200)
    call.voice.playback_ended("call-1-1", failed=True)
    await call.run(60)
    assert call.failed == []
    assert pairs(call.voice.stop()) == [(1, pytest.approx(180, abs=20))]


@pytest.mark.parametrize("verb", ["play", "stop"])
def test_a_refusal(verb: str) -> None:
    async def body() -> None:
        call = Call()
        call.channel.fails[verb] = AsteriskError("down")
        call.say(1, sound(500))
        await call.run(200)
        assert call.failed == (["down"] if verb == "play" else [])
        call.voice.stop()
        await call.run(200)
        assert not call.tasks

    run_virtual(body())


@pytest.mark.parametrize("verb", ["play", "pause", "resume", "stop"])
def test_a_call_that_is_gone_is_no_failure(verb: str) -> None:
    async def body() -> None:
        call = Call()
        call.channel.fails[verb] = CallGone("hung up")
        call.say(1, sound(500))
        await call.run(200)
        call.voice.hold()
        await call.run(400)
        call.voice.resume()
        await call.run(400)
        call.voice.stop()
        await call.run(200)
        assert call.failed == []

    run_virtual(body())


@virtual
async def test_an_end_that_is_never_reported(call: Call) -> None:
    call.channel.reports_end = False
    call.say(1, sound(500))
    await call.run(2400)
    assert call.drained == []
    await call.run(400)
    assert (call.drained, call.voice.overdue) == ([1], 1)
    assert call.store.files == {}


@virtual
async def test_the_end_of_a_later_one_is_the_end_of_those_before(call: Call) -> None:
    call.channel.on_end = lambda playback_id, failed: (
        call.voice.playback_ended(playback_id, failed) if playback_id == "call-1-2" else None
    )
    call.say(1, sound(500), sound(500))
    await call.run(1200)
    assert (call.drained, call.voice.overdue) == ([1], 0)


@virtual
async def test_close_removes_the_files_and_asks_for_nothing(call: Call) -> None:
    call.say(1, sound(500, 1), sound(500, 2))
    await call.run(200)
    asked = len(call.channel.timeline)
    call.voice.close()
    assert call.store.files == {}
    assert pairs(call.voice.stop()) == [(1, pytest.approx(180, abs=20))]
    assert not call.voice.push(1, sound(20))
    await call.run(1500)
    assert len(call.channel.timeline) == asked
    assert call.failed == []


@virtual
async def test_nobody_fills_our_memory(call: Call) -> None:
    call.channel.fails["play"] = CallGone("hung up")
    call.voice.begin(1)
    minutes = 0
    while call.voice.push(1, bytes(960_000)):
        minutes += 1
    assert minutes == 11
