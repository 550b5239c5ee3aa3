"""The page of the mock telephone in a real Chromium, whose microphone is a file."""

import asyncio
import base64
import wave
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray
from playwright.async_api import Browser, Page, async_playwright

from ai_engine.audio.g711 import pcm_to_ulaw, ulaw_to_pcm
from ai_engine.jobs.record import CallRecord, ScheduledEvent
from ai_engine.jobs.status import Status
from tests.telephony.mock_world import Leg, World, mock_world
from tests.waiting import until

# A browser takes seconds to start: all tests share one, and its loop.
pytestmark = pytest.mark.asyncio(loop_scope="module")

_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--autoplay-policy=no-user-gesture-required",
]
_MIC_RATE = 48000
_MIC_HZ = 1010
"""Not 1000: what mu-law adds to that lies at 3 kHz, too."""
_MIC_AMPLITUDE = 0.25
"""Of each of the two tones."""

_RAW_MICROPHONE = """
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = (constraints) => {
        window.asked = constraints.audio;
        // Noise suppression takes a steady tone for noise, and the gain control makes it louder.
        const off = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
        return real({ audio: { ...constraints.audio, ...off } });
    };
"""


_RESAMPLED = """async (rate) => {
    const { Resampler } = await import("/mock/assets/sound.js");
    const tone = (hertz, rate, n) => Math.sin((2 * Math.PI * hertz * n) / rate);
    const down = {};
    for (const hertz of [300, 1000, 3400, 4300, 5000]) {
        const resampler = new Resampler(rate, 8000);
        const out = (down[hertz] = []);
        for (let n = 0; n < rate / 2; n++) resampler.push(tone(hertz, rate, n), (sample) => out.push(sample));
    }
    const resampler = new Resampler(8000, rate);
    let n = 0;
    return [down, Array.from({ length: rate / 2 }, () => resampler.pull(() => tone(1000, 8000, n++)))];
}"""
"""Half a second of tones, down to the line's rate by their pitch, and one up from it."""


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    voice = tmp_path_factory.mktemp("microphone") / "tones.wav"
    _write_tones(voice)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=[*_FLAGS, f"--use-file-for-fake-audio-capture={voice}"]
        )
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def world() -> AsyncIterator[World]:
    async with mock_world() as made:
        yield made


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncIterator[Page]:
    context = await browser.new_context(permissions=["microphone"], viewport={"width": 1000, "height": 820})
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if "Content Security" in message.text else None)
    await page.add_init_script(_RAW_MICROPHONE)
    yield page
    await context.close()
    assert faults == []


def _write_tones(path: Path) -> None:
    """About 1 kHz, which a telephone carries, and 5 kHz, which would come back as 3 kHz."""
    time = np.arange(10 * _MIC_RATE) / _MIC_RATE
    sound = _MIC_AMPLITUDE * (np.sin(2 * np.pi * _MIC_HZ * time) + np.sin(2 * np.pi * 5000 * time))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, _MIC_RATE, 0, "NONE", ""))
        file.writeframes((sound * 32767).astype("<i2").tobytes())


def _amplitude(samples: NDArray[np.float64], frequency: float, rate: float) -> float:
    """Of a tone in ``samples`` (-1..1)."""
    window = np.hanning(len(samples))
    turning = np.exp(-2j * np.pi * frequency * np.arange(len(samples)) / rate)
    return float(2 * abs(np.sum(samples * window * turning)) / np.sum(window))


def _db(amplitude: float, reference: float) -> float:
    return float(20 * np.log10(max(amplitude, 1e-9) / reference))


def _tone(seconds: float) -> bytes:
    """Mu-law of 1 kHz at a quarter of full scale."""
    samples = 8192 * np.sin(2 * np.pi * np.arange(int(8000 * seconds)) / 8)
    return pcm_to_ulaw(samples.astype("<i2").tobytes())


async def _open(page: Page, world: World, more: str = "") -> CallRecord:
    record = await world.ring(user_name="Ada")
    await page.goto(f"{world.url}/mock?callId={record.id}{more}")
    return record


async def _answer(page: Page, world: World) -> tuple[CallRecord, Leg]:
    record = await _open(page, world)
    await page.click("#answer")
    await until(lambda: world.door.legs)
    return record, world.door.legs[-1]


async def _phase(page: Page, phase: str) -> None:
    await page.wait_for_selector(f"#phase[data-phase={phase}]")


async def _listen(page: Page) -> None:
    """Hold what the loudspeaker gets, a fifth of a second of it, where ``_loudspeaker`` finds it."""
    await page.evaluate(
        """() => {
            window.ear = new AnalyserNode(mockPhone.context, { fftSize: 8192 });
            mockPhone.player.connect(window.ear);
            window.hear = () => {
                const heard = new Float32Array(window.ear.fftSize);
                window.ear.getFloatTimeDomainData(heard);
                return heard;
            };
        }"""
    )


async def _loudspeaker(page: Page) -> NDArray[np.float64]:
    return np.array(await page.evaluate("Array.from(hear())"))


async def _until_loudspeaker(page: Page, fits: Callable[[NDArray[np.float64]], bool]) -> NDArray[np.float64]:
    """What it gets, as soon as it is as it should be. (The page lets nobody watch from inside: no eval.)"""
    async with asyncio.timeout(10):
        while not fits(heard := await _loudspeaker(page)):
            continue
    return heard


async def _state(page: Page) -> dict[str, Any]:
    return dict(
        await page.evaluate(
            """() => ({
                context: mockPhone.context.state,
                microphone: mockPhone.microphone.getTracks().map((track) => track.readyState),
            })"""
        )
    )


# -- sound ---------------------------------------------------------------------------------------------------------


async def test_g711_of_the_page_is_that_of_the_engine(page: Page, world: World) -> None:
    await _open(page, world)
    encoded, decoded = await page.evaluate(
        """async () => {
            const { encodeUlaw, decodeUlaw } = await import("/mock/assets/sound.js");
            const all = Uint8Array.from({ length: 65536 }, (_, bits) => encodeUlaw((bits << 16) >> 16));
            const text = Array.from(all, (code) => String.fromCharCode(code)).join("");
            return [btoa(text), Array.from({ length: 256 }, (_, code) => decodeUlaw(code))];
        }"""
    )
    assert base64.b64decode(encoded) == pcm_to_ulaw(np.arange(65536, dtype="<u2").tobytes())
    assert decoded == np.frombuffer(ulaw_to_pcm(bytes(range(256))), "<i2").tolist()


async def test_rates_are_changed_without_aliases(page: Page, world: World) -> None:
    await _open(page, world)
    for rate in (16000, 44100, 48000):
        down, up = await page.evaluate(_RESAMPLED, rate)
        heard = {int(hertz): np.array(samples[800:]) for hertz, samples in down.items()}
        for hertz in (300, 1000, 3400):
            assert abs(_db(_amplitude(heard[hertz], hertz, 8000), 1)) < 0.2
        for hertz in (4300, 5000):
            assert _db(float(np.max(np.abs(heard[hertz]))), 1) < -60
        played = np.array(up[rate // 10 :])
        assert abs(_db(_amplitude(played, 1000, rate), 1)) < 0.1
        # Where a staircase has its images.
        assert _db(_amplitude(played, 7000, rate), 1) < -60


async def test_marks_are_due_when_what_came_before_has_been_played(page: Page, world: World) -> None:
    """Tick by tick: 3 is the way to the loudspeaker, 480 what is waited for lest the network stumble."""
    await _open(page, world)
    told = await page.evaluate(
        """async () => {
            const { PlaybackQueue } = await import("/mock/assets/sound.js");
            const told = {};
            const queue = new PlaybackQueue(3);
            const run = (ticks) => {
                for (let n = 0; n < ticks; n++) {
                    queue.next();
                    for (const name of queue.played()) told[name] = queue.clock;
                }
            };
            queue.mark("nothing waits");
            run(100);
            queue.add(new Uint8Array(160));
            queue.mark("short");
            run(1000); // held back for 480, then played
            queue.add(new Uint8Array(600));
            queue.add(new Uint8Array(200));
            queue.mark("long");
            run(400);
            queue.add(new Uint8Array(100));
            queue.mark("gapless");
            run(2000);
            queue.add(new Uint8Array(1000));
            queue.mark("cleared");
            run(10);
            told.cleared = queue.clear().join();
            told.after = [queue.next(), queue.next(), queue.waiting];
            return told;
        }"""
    )
    assert told == {
        "nothing waits": 3,
        "short": 100 + 480 + 160 + 3,
        "long": 1100 + 800 + 3,
        "gapless": 1100 + 900 + 3,
        "cleared": "cleared",
        "after": [0, 0, 0],
    }


async def test_the_microphone_arrives_as_mulaw_of_the_right_level(page: Page, world: World) -> None:
    _, leg = await _answer(page, world)
    await until(lambda: len(leg.sound) >= 75)
    assert {len(frame) for frame in leg.sound} == {160}
    asked = await page.evaluate("window.asked")
    assert (asked["echoCancellation"], asked["noiseSuppression"], asked["autoGainControl"]) == (True, True, True)
    samples = np.frombuffer(ulaw_to_pcm(b"".join(leg.sound[:75])), "<i2").astype(np.float64) / 32768
    # Chromium's own microphone stumbles now and then: the median tells what is true of most tenths of a second.
    tenths = samples.reshape(-1, 800)
    assert abs(_db(float(np.median([_amplitude(tenth, _MIC_HZ, 8000) for tenth in tenths])), _MIC_AMPLITUDE)) < 0.5
    assert _db(float(np.median([_amplitude(tenth, 3000, 8000) for tenth in tenths])), _MIC_AMPLITUDE) < -40
    assert await page.evaluate("document.getElementById('level-microphone').value") > 0.5


async def test_the_agent_is_heard_and_its_marks_come_back(page: Page, world: World) -> None:
    _, leg = await _answer(page, world)
    await until(lambda: leg.sound)
    await _listen(page)
    rate = await page.evaluate("mockPhone.context.sampleRate")
    began = asyncio.get_running_loop().time()
    leg.play(_tone(0.5))
    leg.mark("half")
    leg.play(_tone(0.5))
    leg.mark("whole")
    heard = await _until_loudspeaker(page, lambda sound: min(np.max(sound.reshape(8, -1), axis=1)) > 0.2)
    await until(lambda: "whole" in leg.marks)
    assert list(leg.marks) == ["half", "whole"]
    assert leg.marks["half"] - began >= 0.5
    assert leg.marks["whole"] - began >= 1.0
    assert abs(_db(_amplitude(heard, 1000, rate), 0.25)) < 0.5
    assert _db(_amplitude(heard, 7000, rate), 0.25) < -40


async def test_clear_silences_the_agent_and_returns_its_marks_at_once(page: Page, world: World) -> None:
    _, leg = await _answer(page, world)
    await until(lambda: leg.sound)
    await _listen(page)
    leg.play(_tone(0.1))
    leg.mark("played")
    leg.play(_tone(60))
    leg.mark("one")
    leg.mark("two")
    await until(lambda: "played" in leg.marks)
    await _until_loudspeaker(page, lambda sound: np.max(sound) > 0.2)
    leg.clear()
    await until(lambda: len(leg.marks) == 3)
    assert list(leg.marks) == ["played", "one", "two"]
    await _until_loudspeaker(page, lambda sound: np.max(np.abs(sound)) < 0.001)
    leg.play(_tone(0.1))
    leg.mark("again")
    await until(lambda: "again" in leg.marks)


# -- buttons -------------------------------------------------------------------------------------------------------


async def test_busy_is_told_and_the_page_rings_again_and_answers_and_lets_go(page: Page, world: World) -> None:
    record = await _open(page, world)
    await page.click("text=Busy")
    await until(lambda: world.desk.news)
    assert world.desk.news[0][2].status is Status.BUSY
    await page.wait_for_selector("#about:has-text('attempt 2')")
    await page.click("#answer")
    await _phase(page, "talking")
    leg = world.door.legs[0]
    assert leg.attempt.number == 2
    await page.click("#keypad >> text='9'")
    await until(lambda: leg.digits == ["9"])
    await page.click("#stop")
    await until(lambda: leg.over == "stopped")
    assert await _state(page) == {"context": "closed", "microphone": ["ended"]}
    await _phase(page, "over")
    assert world.desk.records[record.id].status is Status.COMPLETED
    assert await page.is_disabled("#answer")


async def test_the_page_shows_what_is_said_and_what_came_of_it(page: Page, world: World) -> None:
    record, leg = await _answer(page, world)
    await _phase(page, "talking")
    world.board.said(record.id, "agent", "Hello.")
    world.board.said(record.id, "agent", "This is <b>Anna</b>.")
    world.board.said(record.id, "caller", "Tuesday at ten, then.")
    await page.wait_for_selector("#transcript li >> nth=1")
    assert await page.locator("#transcript li").all_inner_texts() == [
        "Agent\nHello. This is <b>Anna</b>.",
        "You\nTuesday at ten, then.",
    ]
    event = ScheduledEvent(
        event_id="e1",
        calendar_id="primary",
        start=datetime(2030, 3, 5, 9, 0, tzinfo=UTC),
        end=datetime(2030, 3, 5, 9, 30, tzinfo=UTC),
        timezone="Europe/Berlin",
        summary="Dentist",
    )
    world.desk.change(record.id, scheduled_event=event)
    attempt = world.desk.attempts[record.id]
    await world.network.end_call(attempt, "")
    await until(lambda: leg.over)
    await _phase(page, "over")
    notice = await page.inner_text("#notice")
    assert "Call ended: scheduled." in notice
    assert "Dentist" in notice
    assert "10:00" in notice
    assert "Europe/Berlin" in notice
    assert await _state(page) == {"context": "closed", "microphone": ["ended"]}


async def test_autostart_answers_at_once(page: Page, world: World) -> None:
    await _open(page, world, "&autostart=1")
    await _phase(page, "talking")
    await page.click("#stop")
    await _phase(page, "over")
    assert [leg.over for leg in world.door.legs] == ["stopped"]
    assert await page.locator("#log li:has-text('Call ended')").count() == 1


async def test_after_a_restart_the_page_rings_again_by_itself(page: Page, world: World) -> None:
    record = await _open(page, world)
    await _phase(page, "ringing")
    # The next engine knows nothing yet, and the page not its token.
    world.network._lines.clear()
    world.network.closed = True
    await page.wait_for_selector("#notice:has-text('not been dialled yet')")
    world.network.closed = False
    await world.network.watch_call(world.desk.attempts[record.id], "")
    await page.click("#answer")
    await _phase(page, "talking")
    assert [leg.attempt.number for leg in world.door.legs] == [1]
