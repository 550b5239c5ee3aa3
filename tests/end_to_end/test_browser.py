"""The five steps in a browser: the page of the mock telephone in a real Chromium, talking with the real engine."""

import asyncio
import json
import wave
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.async_api import Page, WebSocket, async_playwright

from ai_engine.audio.g711 import ulaw_to_pcm
from scripts.trial.asterisk import Trial
from scripts.trial.speech import synthesize
from tests.end_to_end.call_agent_world import START, World, world
from tests.end_to_end.test_five_steps import check_all, converse
from tests.fakes.openai_realtime_session import Session
from tests.waiting import until

pytestmark = [pytest.mark.asterisk, pytest.mark.timeout(120)]

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

_MUTED = """
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = async (constraints) => {
        const stream = await real(constraints);
        for (const track of stream.getTracks()) track.enabled = false;
        return stream;
    };
"""
"""The file that is the microphone talks without a pause; whoever sits before the page opens it to speak."""

_OPENED = "(open) => mockPhone.microphone.getTracks().forEach((track) => (track.enabled = open))"

_VOICED_FRAMES = 60
_VOICED = 500
"""The level (of 32768) from which a frame is voice."""


class Wire:
    """The page's media stream, as the browser sees it go by."""

    def __init__(self, page: Page) -> None:
        self.changes = 0
        """Sound that came, and marks that went: both rest when the agent has been heard to its end."""
        self.voiced = 0
        """Frames of the microphone."""
        self.over = asyncio.Event()
        page.on("websocket", self._opened)

    def _opened(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: self._note(json.loads(frame)))
        socket.on("framesent", lambda frame: self._note_sent(json.loads(frame)))
        socket.on("close", lambda _: self.over.set())

    def _note(self, message: dict[str, Any]) -> None:
        self.changes += message["event"] == "media"

    def _note_sent(self, message: dict[str, Any]) -> None:
        self.changes += message["event"] == "mark"
        if message["event"] == "media":
            sound = np.frombuffer(ulaw_to_pcm(b64decode(message["media"]["payload"])), "<i2").astype(float)
            self.voiced += bool(np.sqrt(np.mean(sound**2)) > _VOICED)


@asynccontextmanager
async def chromium(directory: Path) -> AsyncIterator[Page]:
    voice = directory / "microphone.wav"
    _write_voice(voice)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=[*_FLAGS, f"--use-file-for-fake-audio-capture={voice}"]
        )
        context = await browser.new_context(permissions=["microphone"], locale="en-US")
        page = await context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        await page.add_init_script(_MUTED)
        yield page
        await browser.close()
        assert faults == []


def _write_voice(path: Path) -> None:
    """Speech in which no pause is long enough to end a turn; the browser plays it again and again."""
    with wave.open(str(synthesize("one two three four five six seven", rate=48000))) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    loud = np.flatnonzero(np.abs(samples.astype(int)) > _VOICED)
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 48000, 0, "NONE", ""))
        file.writeframes(samples[loud[0] : loud[-1]].tobytes())


async def _session(there: World) -> Session:
    """Of the call; others are trials of the provider."""

    def found() -> Session | None:
        sessions = there.model.sessions
        return next((one for one in sessions if "Doctor Who" in one.settings.get("instructions", "")), None)

    await until(found)
    session = found()
    assert session is not None
    return session


async def _conversation(page: Page, wire: Wire, session: Session) -> None:
    async def say(_: Path) -> None:
        turns, voiced = len(session.turns), wire.voiced
        await page.evaluate(_OPENED, True)
        await until(lambda: wire.voiced >= voiced + _VOICED_FRAMES)
        await page.evaluate(_OPENED, False)
        await until(lambda: len(session.turns) > turns)

    await converse(lambda: wire.changes, say, wire.over)


async def test_busy_then_answered_then_booked(asterisk: Trial, tmp_path: Path) -> None:
    """All on one page that stays open: it rings again by itself, is talked through, and shows what came of it."""
    async with AsyncExitStack() as stack:
        there = await stack.enter_async_context(world(asterisk, tmp_path, {"telephony": {"provider": "mock"}}))
        page = await stack.enter_async_context(chromium(tmp_path))
        wire = Wire(page)
        call_id = await there.call()
        record = await there.until(call_id, lambda record: "userHint" in record)
        await page.goto(record["userHint"].removeprefix("open ").removesuffix(" to start"))
        await page.click("text=Busy")
        await page.wait_for_selector("#about:has-text('attempt 2')")
        await page.click("#answer")
        await page.wait_for_selector("#phase[data-phase=talking]")
        await _conversation(page, wire, await _session(there))
        await page.wait_for_selector("#phase[data-phase=over]")
        notice = await page.inner_text("#notice")
        assert "Call ended: scheduled. Booked: Check-up" in notice
        assert f"{START:%B} {START.day}, {START.year} at 10:00" in notice
        assert "(Europe/Berlin)" in notice
        said = await page.locator("#transcript li").all_inner_texts()
        assert [line.partition("\n")[0] for line in said] == ["Agent", "You"] * 3 + ["Agent"]
        whole = " ".join(said)
        assert "I am calling about an appointment." in whole
        assert "yes tuesday at ten is fine" in whole
        assert "it is booked" in whole
        assert (await there.record(call_id))["attempt"] == 2
        assert "busy" in await there.kinds(call_id)
        await check_all(there, call_id, dials=2)
