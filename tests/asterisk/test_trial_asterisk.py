"""The trial Asterisk is real: it answers, a phone hears it, and it keeps to itself."""

import asyncio
import os
import re
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from scripts.trial import asterisk as trials
from scripts.trial.asterisk import TEMPLATES, Trial
from scripts.trial.measure import MARKER_HZ, RATE, Pcm, frame_gaps, missing_packets, tone_level, tone_starts
from scripts.trial.phone import BaresipPhone
from scripts.trial.rootfs import ROOTFS
from scripts.trial.speech import synthesize
from scripts.trial.wire import RtpCapture, read_pcap
from tests.conftest import StartAsterisk
from tests.waiting import until

pytestmark = pytest.mark.asterisk

LOOPBACK = "0100007F"
"""127.0.0.1 as /proc/net writes it."""


def _pcm(wav: Path) -> Pcm:
    with wave.open(str(wav)) as sound:
        assert (sound.getframerate(), sound.getnchannels()) == (RATE, 1)
        return np.frombuffer(sound.readframes(sound.getnframes()), np.int16)


def _listeners(pid: int) -> set[tuple[str, str, int]]:
    """(protocol, address in hexadecimal, port) of every socket of a process that peers can reach."""
    links = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd") if entry.is_symlink()]
    inodes = {found.group(1) for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}
    found_sockets = set()
    for protocol in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{protocol}").read_text(encoding="ascii").splitlines()[1:]:
            fields = line.split()
            if fields[9] in inodes and (protocol.startswith("udp") or fields[3] == "0A"):
                address, port = fields[1].split(":")
                found_sockets.add((protocol, address, int(port, 16)))
    return found_sockets


def test_ari_answers(asterisk: Trial) -> None:
    info = asterisk.ari("GET", "/asterisk/info")
    assert isinstance(info, dict)
    assert int(info["system"]["version"].split(".")[0]) >= 18


def test_every_listed_module_runs(asterisk: Trial) -> None:
    listed = re.findall(r"^load = (\S+)", (TEMPLATES / "modules.conf").read_text(encoding="utf-8"), re.MULTILINE)
    running = re.findall(r"^(\S+\.so) .* Running ", asterisk.cli("module show"), re.MULTILINE)
    assert {"chan_audiosocket.so", "app_stasis.so", "res_ari_channels.so"} <= set(listed)
    assert set(listed) == set(running)


def test_it_starts_without_a_complaint(start_asterisk: StartAsterisk) -> None:
    trial = start_asterisk("quiet")
    assert re.findall(r".*(?:WARNING|ERROR).*", trial.log.read_text(encoding="utf-8")) == []


@pytest.mark.phone
async def test_it_listens_on_loopback_alone(asterisk: Trial, phone: BaresipPhone) -> None:
    await phone.dial("600")
    await phone.wait_for("CALL_ESTABLISHED")
    listeners = _listeners(asterisk.pid)
    # PJSIP's DNS client has a port of the kernel's choosing on every address; nothing is served there.
    served = {
        (protocol, address, port)
        for protocol, address, port in listeners
        if protocol in ("tcp", "tcp6") or port == asterisk.sip_port or port in asterisk.rtp_ports
    }
    assert {address for _, address, _ in served} == {LOOPBACK}
    assert ("tcp", LOOPBACK, asterisk.http_port) in served
    assert ("udp", LOOPBACK, asterisk.sip_port) in served
    assert ("tcp", LOOPBACK, asterisk.sip_port) in served
    assert ("tcp", LOOPBACK, asterisk.tls_port) in served
    assert len(served) == 6, "ARI, SIP three ways, one call's RTP and RTCP"
    assert len(listeners - served) <= 2


def test_passwords_are_for_the_owner_alone(asterisk: Trial) -> None:
    run_dir = Path(asterisk.run_dir)
    kept = ("trial.json", "phone-password", "tls/key.pem")
    private = [*(run_dir / name for name in kept), *(run_dir / "etc").glob("*.conf")]
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}


def test_a_second_start_is_quick_and_changes_nothing(asterisk: Trial) -> None:
    began = time.monotonic()
    assert trials.start(asterisk.instance) == asterisk
    assert time.monotonic() - began < 5


async def test_instances_live_side_by_side_and_end_one_by_one(asterisk: Trial, start_asterisk: StartAsterisk) -> None:
    other = start_asterisk("other")
    assert other.http_port != asterisk.http_port
    assert other.sip_port != asterisk.sip_port
    assert set(other.rtp_ports).isdisjoint(asterisk.rtp_ports)
    assert trials.stop(other.instance)
    await until(lambda: not Path(f"/proc/{other.pid}").exists(), 5.0)
    assert trials.status(other.instance) is None
    assert trials.status(asterisk.instance) == asterisk


def test_a_restart_keeps_ports_and_passwords_even_after_a_crash(start_asterisk: StartAsterisk) -> None:
    before = start_asterisk("again")
    trials.kill(before.instance)
    assert trials.status(before.instance) is None
    after = trials.restart(before.instance)
    assert after.pid != before.pid
    assert (after.ari_url, after.password, after.sip_port) == (before.ari_url, before.password, before.sip_port)
    assert after.ari("GET", "/channels") == []


def test_nothing_stays_mounted(asterisk: Trial) -> None:
    assert str(ROOTFS) not in Path("/proc/self/mounts").read_text(encoding="utf-8")


@pytest.mark.phone
async def test_a_caller_without_an_engine_hears_the_human(
    asterisk: Trial, phone: BaresipPhone, rtp: RtpCapture
) -> None:
    await phone.dial("100")
    established = await phone.wait_for("CALL_ESTABLISHED")
    heard = rtp.to(phone.rtp_ports)
    assert await heard.wait_tone() - established.at < 1
    spoken = await heard.wait_quiet(0.3)
    await phone.hang_up()
    await phone.wait_for("CALL_CLOSED")
    pcm = _pcm(phone.recordings().heard)
    beep = tone_starts(pcm)
    assert beep is not None
    # After the beep somebody speaks: energy for a second, spread over frequencies.
    prompt = pcm[round((beep + 0.7) * RATE) : round((beep + 1.7) * RATE)]
    assert np.sqrt(np.mean(prompt.astype(float) ** 2)) > 300
    assert tone_level(prompt, MARKER_HZ) < 0.2
    assert spoken - established.at > 1.5


@pytest.mark.phone
async def test_what_the_phone_says_comes_back_as_it_was(asterisk: Trial, phone: BaresipPhone, rtp: RtpCapture) -> None:
    words = await asyncio.to_thread(synthesize, "The quick brown fox jumps over the lazy dog.")
    await phone.dial("600")
    await phone.wait_for("CALL_ESTABLISHED")
    heard = rtp.to(phone.rtp_ports)
    spoken = rtp.sent_from(phone.rtp_ports)
    assert await phone.say(words) == pytest.approx(len(_pcm(words)) / RATE)
    ended = await heard.wait_quiet(0.5)
    assert ended - await spoken.wait_quiet(0.5) == pytest.approx(0, abs=0.06)
    await phone.hang_up()
    await phone.wait_for("CALL_CLOSED")
    await rtp.stop()
    said = _pcm(words).astype(float)
    came_back = _pcm(phone.recordings().heard).astype(float)
    size = 1 << (came_back.size + said.size).bit_length()
    products = np.fft.irfft(np.fft.rfft(came_back, size) * np.conj(np.fft.rfft(said, size)), size)
    assert products.max() / np.sum(said**2) == pytest.approx(1, abs=0.05)
    assert max(frame_gaps(heard.packets)) < 40
    assert missing_packets(heard.packets) == 0
    assert rtp.dropped == 0
    assert read_pcap(rtp.pcap_path) == rtp.packets


@pytest.mark.phone
async def test_a_key_reaches_asterisk(asterisk: Trial, phone: BaresipPhone) -> None:
    await phone.dial("600")
    await phone.wait_for("CALL_ESTABLISHED")
    channel = asterisk.cli("core show channels concise").split("!")[0]
    await phone.send_digit("7")
    pressed = f"DTMF end '7' received on {channel}"
    await until(lambda: pressed in asterisk.log.read_text(encoding="utf-8"), 5.0)


@pytest.mark.phone
async def test_a_call_outlasts_the_phones_sound_file(
    asterisk: Trial, phone: BaresipPhone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.trial.phone.PAD_SECONDS", 2)
    monkeypatch.setattr("scripts.trial.phone.PAD_MARGIN_SECONDS", 1)
    await phone.dial("600")
    await phone.wait_for("CALL_ESTABLISHED")
    await phone.say(await asyncio.to_thread(synthesize, "Hello."))
    with pytest.raises(TimeoutError):
        await phone.wait_for("CALL_CLOSED", timeout=5)


@pytest.mark.phone
async def test_hanging_up_leaves_no_channel(asterisk: Trial, phone: BaresipPhone) -> None:
    await phone.dial("600")
    await phone.wait_for("CALL_ESTABLISHED")
    assert len(asterisk.cli("core show channels concise").splitlines()) == 1
    await phone.hang_up()
    await phone.wait_for("CALL_CLOSED")
    await until(lambda: asterisk.ari("GET", "/channels") == [], 5.0)


@pytest.mark.phone
async def test_the_far_end_hanging_up_closes_the_call(asterisk: Trial, phone: BaresipPhone) -> None:
    await phone.dial("600")
    await phone.wait_for("CALL_ESTABLISHED")
    asterisk.cli("channel request hangup all")
    await phone.wait_for("CALL_CLOSED")
    await until(lambda: asterisk.ari("GET", "/channels") == [], 5.0)
