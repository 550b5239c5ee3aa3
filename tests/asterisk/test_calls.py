"""Whole calls: a real phone, a real Asterisk, both programs as processes."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import time
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from scripts.trial import asterisk as trials
from scripts.trial import conversation, report
from scripts.trial.asterisk import Trial
from scripts.trial.conversation import EXTENSION, Line
from scripts.trial.demo import SCRIPT, WORST_GAP_MS, line_of
from scripts.trial.measure import RATE, Pcm, audio, frame_gaps, likeness, missing_packets, voice_segments
from scripts.trial.phone import BaresipPhone
from scripts.trial.programs import Programs
from scripts.trial.speech import synthesize
from scripts.trial.wire import RtpCapture
from tests.conftest import MakePhone, StartAsterisk

pytestmark = [pytest.mark.asterisk, pytest.mark.phone, pytest.mark.timeout(180)]

DEAD_MAN_SECONDS = 15
GREETING = "Hello, you have reached Green Valley Garden Center."


@pytest.fixture
async def programs(asterisk: Trial, tmp_path: Path) -> AsyncIterator[Programs]:
    async with Programs(asterisk, tmp_path / "programs", {"LOG_FORMAT": "json"}) as running:
        yield running


async def until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.05)


async def call(phone: BaresipPhone) -> None:
    await phone.dial(EXTENSION)
    await phone.wait_for("CALL_ESTABLISHED")


def channels(trial: Trial) -> int:
    found = re.search(r"(\d+) active channel", trial.cli("core show channels count"))
    assert found
    return int(found.group(1))


def bridges(trial: Trial) -> object:
    return trial.ari("GET", "/bridges")


def _loudest_second(pcm: Pcm) -> Pcm:
    seconds = [pcm[start : start + RATE] for start in range(0, pcm.size - RATE, RATE)]
    return max(seconds, key=lambda second: float(np.mean(np.square(second.astype(float)))))


def pcm_of(path: Path) -> Pcm:
    with wave.open(str(path)) as sound:
        assert sound.getframerate() == RATE
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16)


async def test_a_conversation_is_held_measured_and_recorded(
    programs: Programs, asterisk: Trial, tmp_path: Path
) -> None:
    lines = [line_of(item, "rms") for item in SCRIPT]
    overheard = await conversation.place(asterisk, tmp_path, lines)
    await until(lambda: any((folder / "turns.json").exists() for folder in programs.calls()))
    measured = report.read(programs.calls()[-1], overheard)
    caller, heard = overheard.caller, overheard.heard

    said = {speaker: [str(turn["text"]) for turn in measured.transcript if turn["speaker"] == speaker]
            for speaker in ("caller", "agent")}  # fmt: skip
    assert said["caller"] == [line.text for line in lines]
    assert said["agent"][0].startswith(GREETING)
    assert "nine to six" in said["agent"][1]
    interrupted = next(turn for turn in measured.transcript if turn["cut"])
    assert str(interrupted["text"]).startswith("We offer quite a lot.")
    assert "free class" not in str(interrupted["text"]), "what was not heard is on record"
    assert "River Road" in said["agent"][3]
    assert "Goodbye" in said["agent"][4]
    assert [check.what for check in report.checks(measured, lines) if not check.good] == []
    assert 0 < measured.worst_gap_ms <= WORST_GAP_MS
    assert measured.missing == 0

    # The voice in the phone is the agent's, word for word, from the first to the last.
    assert likeness(pcm_of(heard), pcm_of(synthesize(GREETING, "slt"))) > 0.9
    assert likeness(pcm_of(heard)[-4 * RATE :], pcm_of(synthesize("Goodbye.", "slt"))) > 0.9
    with wave.open(str(measured.folder / "call.wav")) as recorded:
        assert (recorded.getnchannels(), recorded.getframerate()) == (2, RATE)
        stereo = np.frombuffer(recorded.readframes(recorded.getnframes()), np.int16).reshape(-1, 2)
    assert likeness(stereo[:, 0], _loudest_second(audio(caller))) > 0.9
    assert likeness(stereo[:, 1], pcm_of(heard)[RATE : 3 * RATE]) > 0.9
    assert likeness(stereo[:, 0], pcm_of(lines[0].wav)) > 0.9


async def test_from_answer_to_hangup_a_frame_leaves_every_20_ms(
    programs: Programs, phone: BaresipPhone, rtp: RtpCapture
) -> None:
    await call(phone)
    agent = rtp.to(phone.rtp_ports)
    ended = await agent.wait_quiet(timeout=20)
    await until(lambda: time.time() > ended + 2)
    await phone.hang_up()
    packets = agent.packets
    gaps = frame_gaps(packets)
    assert len(packets) == pytest.approx((packets[-1].at - packets[0].at) * 50 + 1, abs=2)
    assert max(gaps) <= WORST_GAP_MS
    assert missing_packets(packets) == 0
    assert {len(packet.payload) for packet in packets} == {160}


async def test_a_caller_who_hangs_up_leaves_nothing_behind(
    programs: Programs, phone: BaresipPhone, rtp: RtpCapture, asterisk: Trial
) -> None:
    await call(phone)
    await rtp.to(phone.rtp_ports).wait_voice()
    assert channels(asterisk) == 2
    listed = asterisk.cli("core show channels concise").splitlines()
    shown = asterisk.cli(f"core show channel {next(line for line in listed if line.startswith('PJSIP')).split('!')[0]}")
    assert "OFFHOOK_AGENT=reception" in shown
    assert "OFFHOOK_STATE=talking" in shown
    assert "OFFHOOK_PROVIDER=local" in shown
    assert re.search(r"OFFHOOK_CALL_ID=[0-9a-f-]{36}", shown)
    await phone.hang_up()
    await until(lambda: channels(asterisk) == 0 and bridges(asterisk) == [])
    await until(lambda: programs.health()["calls"].get("caller_hung_up") == 1)
    log = programs.engine.log_text()
    call_id = programs.calls()[-1].name.partition("-")[2]
    entries = [json.loads(line) for line in log.splitlines()]
    [bound] = [entry for entry in entries if entry["event"] == "bound to channel" and entry["call_id"] == call_id]
    assert any(
        entry["event"] == "AudioSocket connection accepted" and entry["uuid"] == bound["uuid"] for entry in entries
    )
    assert any(entry["event"] == "provider session started" and entry["call_id"] == call_id for entry in entries)
    assert f"AudioSocket server listening 127.0.0.1:{programs.audiosocket_port}" in log


async def test_keys_reach_the_agent_and_the_human_key_a_human(
    programs: Programs, phone: BaresipPhone, rtp: RtpCapture
) -> None:
    await call(phone)
    agent = rtp.to(phone.rtp_ports)
    await agent.wait_voice()
    await phone.send_digit("5")
    await until(lambda: "key pressed" in programs.engine.log_text())
    await phone.send_digit("0")
    await agent.wait_tone()
    assert programs.engine.log_text().count('"event": "key pressed"') == 2, "one key is one event"
    await until(lambda: programs.health()["calls"].get("transferred") == 1)


async def test_a_person_who_is_asked_for_takes_over(programs: Programs, phone: BaresipPhone, rtp: RtpCapture) -> None:
    words = "i want to talk to a person"
    await call(phone)
    await conversation.hold(phone, rtp, [Line(words, synthesize(words, "rms"))])
    await rtp.to(phone.rtp_ports).wait_tone()


async def test_a_killed_engine_loses_no_caller(programs: Programs, phone: BaresipPhone, rtp: RtpCapture) -> None:
    await call(phone)
    agent = rtp.to(phone.rtp_ports)
    await agent.wait_voice()
    programs.engine.kill()
    killed = time.time()
    reached = await agent.wait_tone(timeout=DEAD_MAN_SECONDS + 5)
    assert reached - killed < DEAD_MAN_SECONDS + 1


async def test_a_frozen_engine_loses_no_caller(programs: Programs, phone: BaresipPhone, rtp: RtpCapture) -> None:
    await call(phone)
    agent = rtp.to(phone.rtp_ports)
    await agent.wait_voice()
    programs.engine.process.send_signal(signal.SIGSTOP)  # its sockets stay open, and nothing is written any more
    frozen = time.time()
    reached = await agent.wait_tone(timeout=DEAD_MAN_SECONDS + 5)
    assert reached - frozen < DEAD_MAN_SECONDS + 1
    programs.engine.kill()


async def test_a_caller_whose_media_leg_is_lost_hears_the_agent_go_on(
    programs: Programs, phone: BaresipPhone, rtp: RtpCapture, asterisk: Trial
) -> None:
    await call(phone)
    agent = rtp.to(phone.rtp_ports)
    await agent.wait_voice()
    ids = [line.split("!")[-1] for line in asterisk.cli("core show channels concise").splitlines()]
    (leg,) = [channel_id for channel_id in ids if channel_id.startswith("offhook-media-")]
    asterisk.ari("DELETE", f"/channels/{leg}")
    await until(lambda: len(programs.health()["calls"]["attached"]) == 2)
    ended = await agent.wait_quiet(timeout=20)
    words = "what are your opening hours"
    await phone.say(synthesize(words, "rms"))
    await agent.wait_voice(after=ended, timeout=10)
    await phone.hang_up()
    await until(lambda: programs.health()["calls"].get("caller_hung_up") == 1)
    assert programs.health()["calls"]["fell_back"] == {"audiosocket/stream": 1}


async def test_callers_of_a_killed_engine_are_taken_up_by_the_next(
    programs: Programs, phone: BaresipPhone, rtp: RtpCapture
) -> None:
    await call(phone)
    agent = rtp.to(phone.rtp_ports)
    await agent.wait_quiet(timeout=20)
    programs.engine.kill()
    killed = time.time()
    await programs.start_engine()
    greeted = await agent.wait_voice(after=killed + 0.2)
    assert greeted - killed < DEAD_MAN_SECONDS
    assert programs.health()["ari"]["orphans"] == 1
    await phone.hang_up()


async def test_an_engine_that_is_stopped_hands_its_callers_to_a_human(
    programs: Programs, phone: BaresipPhone, rtp: RtpCapture
) -> None:
    await call(phone)
    agent = rtp.to(phone.rtp_ports)
    await agent.wait_voice()
    assert await programs.engine.stop() == 0
    await agent.wait_tone()


async def test_a_killed_local_server_means_a_prompt_and_a_human_and_no_dead_air(
    programs: Programs, phone: BaresipPhone, rtp: RtpCapture
) -> None:
    await call(phone)
    agent = rtp.to(phone.rtp_ports)
    await agent.wait_quiet(timeout=20)
    programs.local.kill()
    killed = time.time()
    prompted = await agent.wait_voice(after=killed)
    assert prompted - killed < 2.0
    reached = await agent.wait_tone(timeout=15)
    voices = [segment for segment in voice_segments(agent.packets) if segment.start >= killed]
    assert likeness(audio(agent.packets), _prompt()) > 0.9
    pauses = [after.start - before.end for before, after in zip(voices, voices[1:], strict=False)]
    assert max(pauses, default=0.0) < 2.0
    assert reached - killed < 8.0


def _prompt() -> Pcm:
    prompt = Path("ai_engine/prompts/transfer.wav")
    with wave.open(str(prompt)) as sound:
        pcm: Pcm = np.frombuffer(sound.readframes(sound.getnframes()), np.int16)
        # Every second sample of what has no sound above 4 kHz worth speaking of is near enough to be recognised.
        return pcm[:: sound.getframerate() // RATE][: 2 * RATE]


async def test_an_asterisk_that_restarts_is_found_again_and_gets_its_next_call_answered(
    start_asterisk: StartAsterisk, make_phone: MakePhone, tmp_path: Path
) -> None:
    trial = start_asterisk("restarted")
    async with Programs(trial, tmp_path / "programs") as running:
        first = await make_phone(trial)
        await call(first)
        instance = trial.instance
        await asyncio.to_thread(trials.restart, instance)
        await until(lambda: running.health()["ari"]["up"] and running.health()["ari"]["reconnects"] >= 1)
        await until(lambda: running.health()["calls"]["now"] == [])
        second = await make_phone(trial)
        async with RtpCapture(trial.rtp_ports, tmp_path / "rtp.pcap") as capture:
            await call(second)
            await capture.to(second.rtp_ports).wait_voice()
            await second.hang_up()


def _ask(port: int, data: bytes) -> None:
    """Connect, send, and read until the engine closes the connection; silence frames are all that may come."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as peer:
        peer.sendall(data)
        received = b""
        with suppress(ConnectionResetError):  # who is shut out is reset, so that a dialplan knows of the failure
            while piece := peer.recv(4096):
                received += piece
    frame = b"\x10\x01\x40" + bytes(320)
    assert received.replace(frame, b"") in (b"", b"\x00\x00\x00")


async def test_strangers_at_the_audiosocket_door_are_shut_out_and_counted(
    programs: Programs, phone: BaresipPhone, rtp: RtpCapture
) -> None:
    await call(phone)
    for data in (b"", b"GET / HTTP/1.1\r\n\r\n"):
        await asyncio.to_thread(_ask, programs.audiosocket_port, data)
    door = programs.health()["audiosocket"]
    assert (door["handshake_timeouts"], door["protocol_errors"]) == (1, 1)
    # The call in progress has noticed nothing.
    since = time.time()
    await until(lambda: time.time() > since + 0.5)
    packets = [packet for packet in rtp.to(phone.rtp_ports).packets if packet.at > since - 2]
    assert max(frame_gaps(packets)) <= WORST_GAP_MS
    await phone.hang_up()


def _open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def test_fifty_calls_leave_no_channel_bridge_task_descriptor_or_file(asterisk: Trial, programs: Programs) -> None:
    # One call first: what is opened once and kept (log, recorder, name service) is not a leak.
    await _local_calls(asterisk, programs, 1)
    files, tasks = _open_files(programs.engine.pid), programs.health()["tasks"]
    local_files = _open_files(programs.local.pid)
    for _ in range(5):
        await _local_calls(asterisk, programs, 10)
    assert programs.health()["calls"].get("caller_hung_up") == 51
    await until(lambda: programs.health()["tasks"] <= tasks)
    await until(lambda: _open_files(programs.engine.pid) <= files)
    await until(lambda: _open_files(programs.local.pid) <= local_files)
    assert programs.health()["media_clock"]["seats"] == 0
    assert [path.suffix for path in (programs.directory / "media").iterdir()] == [".lock"]


async def _local_calls(asterisk: Trial, programs: Programs, count: int) -> None:
    """``count`` callers at once, each an echo so that sound flows both ways; they hang up while being talked to."""
    ended = programs.health()["calls"].get("caller_hung_up", 0)
    for number in range(count):
        asterisk.ari(
            "POST",
            f"/channels?endpoint=Local/{EXTENSION}@offhook&extension=600&context=offhook&channelId=many-{number}",
        )
    await until(lambda: len(programs.health()["calls"]["now"]) == count, 30)
    await until(lambda: all(call["phase"] == "talking" for call in programs.health()["calls"]["now"]), 30)
    for number in range(count):
        asterisk.ari("DELETE", f"/channels/many-{number}")
    await until(lambda: programs.health()["calls"].get("caller_hung_up", 0) == ended + count, 30)
    await until(lambda: channels(asterisk) == 0 and bridges(asterisk) == [], 30)


async def test_health_tells_what_is_down(asterisk: Trial, programs: Programs) -> None:
    health = programs.health()
    assert health["status"] == "ok"
    assert health["ari"]["up"]
    assert health["audiosocket"]["up"]
    assert health["providers"]["local"]["up"]
    assert health["media_directory"]["writable"]
    programs.local.kill()
    assert not programs.health()["providers"]["local"]["up"]


def test_sigterm_ends_both_programs_cleanly(asterisk: Trial, tmp_path: Path) -> None:
    async def run() -> None:
        async with Programs(asterisk, tmp_path / "programs") as running:
            for program in (running.engine, running.local):
                program.process.send_signal(signal.SIGTERM)
                assert await asyncio.to_thread(program.process.wait, 10) == 0
            assert "Traceback" not in running.engine.log_text() + running.local.log_text()

    asyncio.run(run())


def test_a_wrong_configuration_is_named_and_nothing_starts(tmp_path: Path) -> None:
    config = tmp_path / "broken.yaml"
    config.write_text("downstream_mode: stream\ndefault_agent: nobody\nagents: {}\nstreeming: {}\n")
    done = subprocess.run(
        [".venv/bin/python", "-m", "ai_engine", "--config", str(config), "--env-file", "", "check"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert f"{config}:4: streeming: unknown key (did you mean streaming?)" in done.stderr
    assert "Traceback" not in done.stderr
