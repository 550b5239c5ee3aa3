"""Trunks of our numbers in a real Asterisk, with a second one for a carrier: applied, used, changed and removed."""

import asyncio
import base64
import logging
import os
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.client import Ari
from ai_engine.ari.pbx import AriPbx
from ai_engine.ari.stasis import AriApp
from ai_engine.ari.transport import AriSettings
from ai_engine.switchboard.models import TrunkState
from ai_engine.switchboard.settings import StudioSettings
from ai_engine.trunks import reconcile
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.pjsip import PjsipObject
from ai_engine.trunks.pjsip_file import FILE
from ai_engine.trunks.pjsip_push import PushedTrunks
from ai_engine.trunks.reconcile import TrunkKeeper
from ai_engine.trunks.store import NumberStore
from scripts.trial import asterisk as trials
from scripts.trial.asterisk import Trial
from scripts.trial.carrier import Called, Carrier
from scripts.trial.speech import synthesize
from scripts.trial.wire import RtpCapture
from tests.conftest import MakePhone, StartAsterisk
from tests.waiting import until

pytestmark = pytest.mark.asterisk

NUMBER, OTHER = "+15551230001", "+15551230002"
CALLER, CALLEE = "+15557650001", "+15557650002"
TRUNK = "studio-15551230001"
KEY = {"OFFHOOK_STUDIO_KEY": base64.b64encode(bytes(32)).decode()}
"""A passphrase would take its time at every step."""
BOTH = pytest.mark.parametrize("ours", ["file", "ari"], indirect=True)


class Ours:
    """Our side: a store of numbers, and the keeper that applies them to ``trial``."""

    def __init__(self, trial: Trial, carrier: Carrier, ari: Ari, directory: Path, *, shares_folder: bool) -> None:
        self.trial = trial
        self.carrier = carrier
        self.store = NumberStore(directory, KEY)
        self.settings = StudioSettings(
            directory=directory,
            media_address=trial.bind,
            pjsip_directory=trial.trunks if shares_folder else None,
        )
        self.pbx = AriPbx(lambda: ari)
        self.keeper = TrunkKeeper(self.settings, self.store, self.pbx)

    def number(self, number: str = NUMBER, **fields: object) -> SipNumber:
        """Of the carrier, which knows us by our address."""
        there = {"number": number, "address": self.carrier.address, "port": self.carrier.port}
        return SipNumber.model_validate({**there, **fields})

    def registering(self, number: str = NUMBER, **fields: object) -> SipNumber:
        account = {"username": self.carrier.username, "password": self.carrier.password}
        return self.number(number, **{**account, "registers": True, **fields})

    async def qualified(self, wanted: str) -> TrunkState:
        """Of the first number, as soon as Asterisk has asked the carrier and come to this."""
        async with asyncio.timeout(8):  # an unanswered OPTIONS counts as lost after three seconds
            while True:
                self.trial.cli(f"pjsip qualify {TRUNK}")
                state = (await self.keeper.states())[0]
                if state.state == wanted:
                    return state
                await asyncio.sleep(0.05)

    async def call_out(self, to: str, trunk: str = TRUNK) -> None:
        """Have Asterisk call somebody by a trunk; what answers hears an echo."""
        query = f"endpoint=PJSIP/{to}@{trunk}&context=offhook&extension=600&priority=1&callerId={NUMBER}&timeout=5"
        await asyncio.to_thread(self.trial.ari, "POST", f"/channels?{query.replace('+', '%2B')}")

    async def called(self, to: str) -> Called:
        """That call, as it reached the carrier and was answered."""
        await until(lambda: any(call.to == to for call in self.carrier.calls()), 5)
        await until(lambda: any(channel["state"] == "Up" for channel in _channels(self.trial)), 5)
        for channel in _channels(self.trial):
            await asyncio.to_thread(self.trial.ari, "DELETE", f"/channels/{channel['id']}")
        return next(call for call in reversed(self.carrier.calls()) if call.to == to)


def _channels(trial: Trial) -> list[dict[str, str]]:
    found = trial.ari("GET", "/channels")
    assert isinstance(found, list)
    return found


def _registrations(trial: Trial) -> dict[str, str]:
    """Status by object id."""
    lines = trial.cli("pjsip show registrations")
    return dict(re.findall(r"^ (studio-\d+)/\S+ +\S+ +(\w+)", lines, re.MULTILINE))


def _trunks(trial: Trial) -> set[str]:
    """Ids of our trunks of which Asterisk has any object."""
    shown = (trial.cli(f"pjsip show {kind}s") for kind in ("auth", "aor", "endpoint", "registration"))
    return set(re.findall(r"studio-\d+", "".join(shown) + trial.cli("pjsip show identifies")))


@pytest.fixture(scope="module")
def trial() -> Iterator[Trial]:
    instance = f"test-trunks-{os.getpid()}"
    yield trials.start(instance)
    trials.stop(instance)


@pytest.fixture(scope="module")
def carrier(trial: Trial) -> Iterator[Carrier]:
    played = Carrier(trial, f"test-carrier-{os.getpid()}")
    asyncio.run(played.start())
    yield played
    asyncio.run(played.close())


@asynccontextmanager
async def _ours(trial: Trial, carrier: Carrier, directory: Path, backend: str) -> AsyncIterator[Ours]:
    ari = await Ari.open(AriSettings(trial.ari_url, trial.username, trial.password))
    try:
        yield Ours(trial, carrier, ari, directory, shares_folder=backend == "file")
    finally:
        await ari.close()


@pytest.fixture
async def ours(trial: Trial, carrier: Carrier, tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Ours]:
    async with _ours(trial, carrier, tmp_path, getattr(request, "param", "ari")) as side:
        yield side
        for number in side.store.numbers():
            side.store.remove(number.number)
        await side.keeper.reconcile()
        carrier.trust("")
    assert _trunks(trial) == set()


# -- calls --------------------------------------------------------------------------------------------------


@BOTH
async def test_a_trunk_that_registers_carries_calls_both_ways(ours: Ours) -> None:
    ours.store.add(ours.registering())
    applied = await ours.keeper.reconcile()
    assert (applied.written, [trunk.state for trunk in applied.trunks]) == ((TRUNK,), ["unknown"])
    await until(ours.carrier.registered, 5)
    assert ours.carrier.registered().startswith("sip:15551230001@127.0.0.1:")
    for registered in (True, False):
        call = await ours.carrier.call_in(NUMBER, CALLER, registered=registered)
        await call.answered()  # by the human: no engine is connected
        await call.hang_up()
        assert await call.ended() == ("ANSWER", 16)
    await ours.call_out(CALLEE)
    assert await ours.called(CALLEE) == Called(CALLEE, ours.carrier.username, "customer")
    await until(lambda: _registrations(ours.trial) == {TRUNK: "Registered"})
    await ours.qualified("online")


@BOTH
async def test_a_trunk_known_by_its_address_needs_no_password(ours: Ours) -> None:
    ours.store.add(ours.number())
    await ours.keeper.reconcile()
    ours.carrier.trust(ours.trial.bind)
    await ours.call_out(CALLEE)
    assert await ours.called(CALLEE) == Called(CALLEE, NUMBER, "trusted")
    call = await ours.carrier.call_in(NUMBER, CALLER)
    await call.answered()
    await call.hang_up()
    assert await call.ended() == ("ANSWER", 16)
    assert _registrations(ours.trial) == {}


async def test_a_trunk_that_logs_in_without_registering_calls_out_with_the_right_password_alone(ours: Ours) -> None:
    ours.store.add(ours.registering(registers=False, password="not the password"))
    await ours.keeper.reconcile()
    await ours.call_out(OTHER)
    await until(lambda: _channels(ours.trial) == [], 5)
    ours.store.change(NUMBER, password=ours.carrier.password)
    await ours.keeper.reconcile()
    await ours.call_out(CALLEE)
    assert await ours.called(CALLEE) == Called(CALLEE, NUMBER, "customer")
    assert OTHER not in {call.to for call in ours.carrier.calls()}


async def test_a_trunk_may_use_tcp(ours: Ours) -> None:
    ours.store.add(ours.registering(transport="tcp"))
    await ours.keeper.reconcile()
    await until(ours.carrier.registered, 5)
    assert ";transp" in ours.carrier.registered()  # the rest is cut off
    call = await ours.carrier.call_in(NUMBER, CALLER, registered=True)
    await call.answered()
    await call.hang_up()
    await ours.call_out(CALLEE)
    assert await ours.called(CALLEE) == Called(CALLEE, ours.carrier.username, "customer")


@BOTH
async def test_a_trunk_may_use_tls_and_srtp(ours: Ours) -> None:
    # Both ends of these lines refuse a call without SRTP.
    username, port = ours.carrier.secure_username, ours.carrier.tls_port
    ours.store.add(ours.registering(username=username, port=port, transport="tls", srtp=True))
    await ours.keeper.reconcile()
    await until(ours.carrier.registered, 5)
    call = await ours.carrier.call_in(NUMBER, CALLER, "tls")
    await call.answered()
    await call.hang_up()
    await ours.call_out(CALLEE)
    assert await ours.called(CALLEE) == Called(CALLEE, ours.carrier.secure_username, "secure")


@pytest.mark.phone
async def test_telephones_of_the_carrier_are_heard_both_ways(ours: Ours, make_phone: MakePhone, tmp_path: Path) -> None:
    words = await asyncio.to_thread(synthesize, "Hello, can you hear me?")
    ours.store.add(ours.registering())
    await ours.keeper.reconcile()
    caller, callee = await make_phone(ours.carrier.trial), await make_phone(ours.carrier.trial)
    ours.carrier.route(CALLEE, callee.sip_uri)
    async with RtpCapture(ours.carrier.trial.rtp_ports, tmp_path / "phones.pcap") as wire:
        await caller.dial(NUMBER)
        await caller.wait_for("CALL_ESTABLISHED")
        await wire.to(caller.rtp_ports).wait_tone()  # the human of our side
        await caller.hang_up()
        await caller.wait_for("CALL_CLOSED")
        await ours.call_out(CALLEE)
        await callee.wait_for("CALL_INCOMING")
        await callee.answer()
        await callee.wait_for("CALL_ESTABLISHED")
        await callee.say(words)
        await wire.to(callee.rtp_ports).wait_voice()  # itself, echoed by our side
        await callee.hang_up()
        await callee.wait_for("CALL_CLOSED")
    ours.carrier.route(CALLEE, "")
    await until(lambda: _channels(ours.trial) == [])


# -- what is wrong ------------------------------------------------------------------------------------------


@BOTH
async def test_a_wrong_password_is_refused_and_a_right_one_tried_at_once(ours: Ours) -> None:
    ours.store.add(ours.registering(password="not the password"))
    await ours.keeper.reconcile()
    await until(lambda: _registrations(ours.trial) == {TRUNK: "Rejected"}, 5)
    assert ours.carrier.registered() == ""
    ours.store.change(NUMBER, password=ours.carrier.password)
    assert (await ours.keeper.reconcile()).written == (TRUNK,)
    await until(ours.carrier.registered, 5)


async def test_a_carrier_that_is_down_is_offline_until_it_is_back(ours: Ours, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "FIRST_ANSWER_SECONDS", 0.0)
    ours.store.add(ours.number())
    await ours.keeper.reconcile()
    await ours.qualified("online")
    await ours.carrier.down()
    try:
        down = await ours.qualified("offline")
    finally:
        await ours.carrier.up()
    assert f"{ours.carrier.address} does not answer OPTIONS over udp" in down.detail
    assert (await ours.qualified("online")).detail == ""


async def test_an_asterisk_that_takes_no_objects_is_explained(
    start_asterisk: StartAsterisk, carrier: Carrier, tmp_path: Path
) -> None:
    trial = start_asterisk("untaught", overlay={"sorcery.conf": ""})
    async with _ours(trial, carrier, tmp_path, "ari") as ours:
        ours.store.add(ours.number())
        [state] = (await ours.keeper.reconcile()).trunks
    assert state.state == "failed"
    assert "sorcery.conf" in state.detail


async def test_the_attribute_that_asterisk_refuses_is_named_and_nothing_is_left(ours: Ours) -> None:
    wrong = (
        PjsipObject("aor", TRUNK, (("contact", "sip:127.0.0.2"),)),
        PjsipObject("endpoint", TRUNK, (("aors", TRUNK), ("allow", "!all,ulaw"), ("dtmf_mode", "perhaps"))),
    )
    done = await PushedTrunks(ours.pbx).apply({TRUNK: wrong}, frozenset())
    assert list(done.failures) == [TRUNK]
    assert "attribute 'dtmf_mode'" in done.failures[TRUNK]
    assert _trunks(ours.trial) == set()


async def test_a_file_that_asterisk_does_not_read_is_explained(ours: Ours, tmp_path: Path) -> None:
    elsewhere = ours.settings.model_copy(update={"pjsip_directory": tmp_path})
    ours.store.add(ours.number())
    [state] = (await TrunkKeeper(elsewhere, ours.store, ours.pbx).reconcile()).trunks
    assert state.state == "missing"
    assert "#tryinclude pjsip.d/*.conf" in state.detail


# -- what stays, and what goes ------------------------------------------------------------------------------


@BOTH
async def test_what_stands_is_left_alone_and_what_changed_is_written(ours: Ours) -> None:
    ours.store.add(ours.registering())
    ours.store.add(ours.number(OTHER))
    assert len((await ours.keeper.reconcile()).written) == 2
    assert (await ours.keeper.reconcile()).written == ()
    # An engine that has just started knows nothing of what another one did.
    another = TrunkKeeper(ours.settings, ours.store, ours.pbx)
    assert (await another.reconcile()).written == ()
    ours.store.change(OTHER, codecs=["alaw"], allowed_ips=["192.0.2.0/24", "2001:db8::/32"])
    assert (await ours.keeper.reconcile()).written == ("studio-15551230002",)
    assert (await ours.keeper.reconcile()).written == ()
    # What is no longer said is no longer so.
    ours.store.change(NUMBER, registers=False, username="")
    assert (await ours.keeper.reconcile()).written == (TRUNK,)
    assert await ours.pbx.read("auth", TRUNK) is None
    assert await ours.pbx.read("registration", TRUNK) is None
    found = await ours.pbx.read("endpoint", TRUNK)
    assert found is not None
    assert dict(found)["outbound_auth"] == ""
    assert (await ours.keeper.reconcile()).written == ()


@BOTH
async def test_a_removed_number_takes_its_trunk_along_and_says_goodbye_to_the_carrier(ours: Ours) -> None:
    ours.store.add(ours.registering())
    await ours.keeper.reconcile()
    await until(lambda: _registrations(ours.trial) == {TRUNK: "Registered"}, 5)
    ours.store.remove(NUMBER)
    assert ours.store.removed() == (TRUNK,)
    assert (await ours.keeper.reconcile()).removed == (TRUNK,)
    assert _trunks(ours.trial) == set()
    assert ours.store.removed() == ()
    await until(lambda: not ours.carrier.registered(), 5)


@BOTH
async def test_trunks_that_no_store_knows_are_removed(ours: Ours, tmp_path: Path) -> None:
    ours.store.add(ours.number())
    await ours.keeper.reconcile()
    empty = NumberStore(tmp_path / "another", KEY)
    (tmp_path / "another").mkdir()
    applied = await TrunkKeeper(ours.settings, empty, ours.pbx).reconcile()
    assert applied.removed == (TRUNK,)
    assert _trunks(ours.trial) == set()


@BOTH
async def test_the_other_way_of_applying_takes_over(ours: Ours) -> None:
    in_a_file = ours.settings.pjsip_directory is not None
    other = ours.settings.model_copy(update={"pjsip_directory": None if in_a_file else ours.trial.trunks})
    ours.store.add(ours.number())
    await ours.keeper.reconcile()
    changed = TrunkKeeper(other, ours.store, ours.pbx)
    ours.store.change(NUMBER, codecs=["alaw"])
    [state] = (await changed.reconcile()).trunks
    if in_a_file:  # what stands in a file that somebody else looks after cannot be changed
        assert (state.state, "stands in a file" in state.detail) == ("failed", True)
        (ours.trial.trunks / FILE).unlink()
        await ours.pbx.reload()
        await changed.reconcile()
    found = await ours.pbx.read("endpoint", TRUNK)
    assert found is not None
    assert dict(found)["allow"] == "(alaw)"
    ours.store.remove(NUMBER)
    await changed.reconcile()
    assert _trunks(ours.trial) == set()


@BOTH
async def test_a_call_outlives_the_change_and_the_end_of_its_trunk(ours: Ours) -> None:
    ours.store.add(ours.registering())
    await ours.keeper.reconcile()
    call = await ours.carrier.call_in(NUMBER, CALLER)
    await call.answered()
    ours.store.change(NUMBER, codecs=["ulaw"])
    assert (await ours.keeper.reconcile()).written == (TRUNK,)
    ours.store.remove(NUMBER)
    assert (await ours.keeper.reconcile()).removed == (TRUNK,)
    assert [channel["state"] for channel in _channels(ours.trial)] == ["Up"]
    await call.hang_up()
    assert await call.ended() == ("ANSWER", 16)
    await until(lambda: _channels(ours.trial) == [])


@BOTH
async def test_after_a_restart_of_asterisk_the_trunks_are_back(ours: Ours) -> None:
    ours.store.add(ours.registering())
    settings = AriSettings(ours.trial.ari_url, ours.trial.username, ours.trial.password)
    app = AriApp(settings, lambda call: None, ours.keeper.connected)
    running = asyncio.create_task(app.run())
    try:
        await until(lambda: _registrations(ours.trial) == {TRUNK: "Registered"}, 5)
        await asyncio.to_thread(trials.kill, ours.trial.instance)
        assert (await asyncio.to_thread(trials.restart, ours.trial.instance)).pid != ours.trial.pid
        await until(lambda: app.reconnects == 1)
        await until(lambda: _registrations(ours.trial) == {TRUNK: "Registered"}, 5)
        call = await ours.carrier.call_in(NUMBER, CALLER, registered=True)
        await call.hang_up()
    finally:
        await app.close()
        await running


# -- secrets ------------------------------------------------------------------------------------------------


@BOTH
async def test_the_password_is_in_no_log_and_for_no_other_user(ours: Ours, caplog: pytest.LogCaptureFixture) -> None:
    secret = ours.carrier.password
    with caplog.at_level(logging.DEBUG), capture_logs() as logs:
        ours.store.add(ours.registering())
        await ours.keeper.connected()
        ours.store.change(NUMBER, label="changed")
        await ours.keeper.connected()
        await until(ours.carrier.registered, 5)
    assert "trunks applied" in str(logs)
    assert secret not in str(logs)
    assert secret not in caplog.text
    in_a_file = ours.settings.pjsip_directory is not None
    assert _written(ours.trial, secret) == ({FILE: 0o600} if in_a_file else {})


def _written(trial: Trial, secret: str) -> dict[str, int]:
    """Modes of the files of Asterisk that hold it, by their names."""
    files = (path for path in Path(trial.run_dir).rglob("*") if path.is_file())
    return {path.name: path.stat().st_mode & 0o777 for path in files if secret.encode() in path.read_bytes()}


# -- the dialplan -------------------------------------------------------------------------------------------


@asynccontextmanager
async def _engine(trial: Trial, take: Callable[[AriCallControl], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """An engine that does this with every call, and nothing else."""
    taken: dict[AriCallControl, asyncio.Task[None]] = {}

    def on_call(call: AriCallControl) -> None:
        taken[call] = asyncio.create_task(take(call))

    app = AriApp(AriSettings(trial.ari_url, trial.username, trial.password), on_call)
    running = asyncio.create_task(app.run())
    try:
        await app.ready.wait()
        yield
    finally:
        await asyncio.gather(*taken.values())
        for call in taken:
            await call.close()
        await app.close()
        await running


async def test_the_engine_is_told_what_was_dialled_and_answers_itself(ours: Ours) -> None:
    told: list[tuple[str, dict[str, str]]] = []

    async def take(call: AriCallControl) -> None:
        told.append((_channels(ours.trial)[0]["state"], dict(call.variables)))
        await call.answer()

    ours.store.add(ours.number())
    await ours.keeper.reconcile()
    async with _engine(ours.trial, take):
        for did in ("+15551230001", "5550042"):
            call = await ours.carrier.call_in(did, CALLER)
            await call.answered()
            await call.hang_up()
            await call.ended()
            await until(lambda: _channels(ours.trial) == [])
    assert told == [
        ("Ring", {"number": NUMBER, "did": "+15551230001"}),
        ("Ring", {"number": NUMBER, "did": "5550042"}),
    ]


async def test_an_unknown_number_is_politely_refused_before_it_is_answered(ours: Ours, tmp_path: Path) -> None:
    ours.store.add(ours.number())
    await ours.keeper.reconcile()
    async with (
        _engine(ours.trial, lambda call: call.transfer("offhook-number", "unknown")),
        RtpCapture(ours.trial.rtp_ports, tmp_path / "refused.pcap") as wire,
    ):
        call = await ours.carrier.call_in("+15559999999", CALLER)
        heard = wire.to(ours.carrier.trial.rtp_ports)
        began = await heard.wait_voice()
        assert await heard.wait_quiet(0.3) - began > 1.0
        status, cause = await call.ended()
    assert (status, cause) == ("CHANUNAVAIL", 1)
    with pytest.raises(TimeoutError):
        await call.answered(0.1)


async def test_a_caller_whom_a_dead_engine_holds_reaches_the_human(ours: Ours) -> None:
    ours.store.add(ours.number())
    await ours.keeper.reconcile()

    async def hold(call: AriCallControl) -> None:
        """Neither answer nor give a sign of life."""

    ours.trial.cli("dialplan set global OFFHOOK_DEADMAN 1")
    try:
        async with _engine(ours.trial, hold):
            call = await ours.carrier.call_in(NUMBER, CALLER)
            await call.answered(5)
            await call.hang_up()
            await call.ended()
    finally:
        ours.trial.cli("dialplan set global OFFHOOK_DEADMAN 15")
    assert "Offhook gave no sign of life for 1 s" in ours.trial.log.read_text(encoding="utf-8")
