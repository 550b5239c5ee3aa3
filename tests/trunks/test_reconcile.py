"""The keeper of trunks against an Asterisk in memory that breaks down at will; a real one is in test_trunks_real."""

import asyncio
import base64
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from ai_engine.errors import AsteriskError
from ai_engine.switchboard.settings import StudioSettings
from ai_engine.trunks import pjsip_file, pjsip_push, reconcile
from ai_engine.trunks.compare import same
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.pjsip import Kind, PjsipObject
from ai_engine.trunks.pjsip_file import FILE
from ai_engine.trunks.reconcile import TrunkKeeper
from ai_engine.trunks.store import NumberStore
from tests.waiting import until

FIRST, SECOND = "studio-15551230001", "studio-15551230002"
KINDS = ("auth", "aor", "endpoint", "identify", "registration")


class Memory:
    """Implements ``Pbx``: objects in memory, and after ``left`` more requests nothing answers."""

    def __init__(self, directory: Path | None = None) -> None:
        self.objects: dict[tuple[str, str], dict[str, str]] = {}
        self.log: list[str] = []
        """What was changed, in order."""
        self.left = 10_000
        self.busy = self.tried = 0
        self.refusals: dict[str, int] = {}
        """Statuses by ``METHOD kind``."""
        self.unread: set[str] = set()
        """Kinds of objects that it does not take from a file."""
        self.state = "offline"
        self._directory = directory

    async def endpoints(self) -> Mapping[str, str]:
        await self._asked("GET endpoints")
        return {object_id: self.state for kind, object_id in self.objects if kind == "endpoint"}

    async def read(self, kind: str, object_id: str) -> tuple[tuple[str, str], ...] | None:
        await self._asked(f"GET {kind}")
        found = self.objects.get((kind, object_id))
        return None if found is None else tuple(found.items())

    async def write(self, kind: str, object_id: str, fields: Iterable[tuple[str, str]]) -> None:
        await self._asked(f"PUT {kind}")
        self.log.append(f"PUT {kind} {object_id}")
        self.objects.setdefault((kind, object_id), dict(DEFAULTS)).update(fields)

    async def delete(self, kind: str, object_id: str) -> bool:
        await self._asked(f"DELETE {kind}")
        found = self.objects.pop((kind, object_id), None) is not None
        if found:
            self.log.append(f"DELETE {kind} {object_id}")
        return found

    async def reload(self) -> None:
        await self._asked("PUT reload")
        self.log.append("reload")
        assert self._directory is not None
        found = _objects_in(self._directory)
        self.objects = {key: fields for key, fields in found.items() if key[0] not in self.unread}

    def kinds(self, object_id: str) -> set[str]:
        return {kind for kind, each in self.objects if each == object_id}

    async def _asked(self, request: str) -> None:
        self.tried += 1
        self.busy += 1
        assert self.busy == 1, "two at once"
        try:
            await asyncio.sleep(0)
            if self.left == 0:
                raise AsteriskError("connection lost")
            self.left -= 1
            if (status := self.refusals.get(request)) is not None:
                raise AsteriskError(f"{request}: {status}", status)
        finally:
            self.busy -= 1


DEFAULTS = {
    "outbound_auth": "",
    "media_address": "",
    "bind_rtp_to_media_address": "false",
    "media_encryption": "no",
}


def _objects_in(directory: Path) -> dict[tuple[str, str], dict[str, str]]:
    """What Asterisk would read there."""
    objects: dict[tuple[str, str], dict[str, str]] = {}
    for path in directory.glob("*.conf"):
        for section in path.read_text(encoding="utf-8").split("\n["):
            name, *lines = [line for line in section.splitlines() if line and not line.startswith(";")] or [""]
            fields = dict(line.split(" = ", 1) for line in lines)
            if "type" in fields:
                objects[fields.pop("type"), name.strip("[]")] = {**DEFAULTS, **fields}
    return objects


def _store(directory: Path) -> NumberStore:
    directory.mkdir(exist_ok=True)
    return NumberStore(directory, {"OFFHOOK_STUDIO_KEY": base64.b64encode(bytes(32)).decode()})


def _number(number: str = "+15551230001", **fields: object) -> SipNumber:
    return SipNumber.model_validate({"number": number, "address": "192.0.2.7", **fields})


LINE: dict[str, Any] = {"username": "line", "password": "s3cret", "registers": True}


@pytest.fixture(autouse=True)
def _no_goodbyes(monkeypatch: pytest.MonkeyPatch) -> None:
    """No carrier answers here."""
    for module in (pjsip_push, pjsip_file):
        monkeypatch.setattr(module, "_GOODBYE_SECONDS", 0.0)


@pytest.fixture
def quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile, "FIRST_RETRY_SECONDS", 0.01)
    monkeypatch.setattr(reconcile, "LAST_RETRY_SECONDS", 0.01)


@pytest.fixture
def store(tmp_path: Path) -> NumberStore:
    return _store(tmp_path / "store")


@pytest.fixture
def pbx() -> Memory:
    return Memory()


@pytest.fixture
def keeper(store: NumberStore, pbx: Memory) -> TrunkKeeper:
    return TrunkKeeper(StudioSettings(), store, pbx)


# -- over ARI -----------------------------------------------------------------------------------------------


async def test_objects_are_made_in_order_and_then_left_alone(
    keeper: TrunkKeeper, store: NumberStore, pbx: Memory
) -> None:
    store.add(_number(**LINE))
    applied = await keeper.reconcile()
    assert pbx.log == [f"PUT {kind} {FIRST}" for kind in KINDS]
    assert (applied.backend, applied.written, applied.removed) == ("ari", (FIRST,), ())
    assert (await keeper.reconcile()).written == ()
    assert len(pbx.log) == 5


async def test_an_outage_at_any_request_leaves_it_to_the_next_connection(tmp_path: Path) -> None:
    for requests in range(60):
        store, pbx = _store(tmp_path / f"store-{requests}"), Memory()
        keeper = TrunkKeeper(StudioSettings(), store, pbx)
        store.add(_number(**LINE))
        await keeper.reconcile()
        store.change("+15551230001", password="another")
        store.add(_number("+15551230002"))
        pbx.left = requests
        try:
            await keeper.reconcile()
        except AsteriskError:
            pbx.left = 10_000
            await keeper.reconcile()
        else:
            assert requests > 20, "it ended before it could be cut off"
            break
        assert pbx.kinds(FIRST) == set(KINDS)
        assert pbx.objects["auth", FIRST]["password"] == "another"
        assert pbx.kinds(SECOND) == {"aor", "endpoint", "identify"}
    else:
        pytest.fail("it never came to an end")


async def test_an_outage_while_removing_is_made_up_for_even_where_the_store_knows_nothing(tmp_path: Path) -> None:
    for requests in range(1, 7):
        pbx = Memory()
        store = _store(tmp_path / f"store-{requests}")
        store.add(_number(**LINE))
        await TrunkKeeper(StudioSettings(), store, pbx).reconcile()
        empty = TrunkKeeper(StudioSettings(), _store(tmp_path / "empty"), pbx)
        pbx.left = requests
        with pytest.raises(AsteriskError):
            await empty.reconcile()
        pbx.left = 10_000
        await empty.reconcile()
        assert pbx.objects == {}


async def test_calls_at_the_same_time_are_done_one_after_the_other(
    keeper: TrunkKeeper, store: NumberStore, pbx: Memory
) -> None:
    store.add(_number(**LINE))
    done = await asyncio.gather(*(keeper.reconcile() for _ in range(5)))
    assert [applied.written for applied in done] == [(FIRST,), (), (), (), ()]


async def test_a_removed_number_is_forgotten_once_it_is_gone(
    keeper: TrunkKeeper, store: NumberStore, pbx: Memory
) -> None:
    store.add(_number())
    await keeper.reconcile()
    store.remove("+15551230001")
    pbx.refusals = {"DELETE endpoint": 403}
    assert (await keeper.reconcile()).removed == ()
    assert store.removed() == (FIRST,)
    pbx.refusals = {}
    assert (await keeper.reconcile()).removed == (FIRST,)
    assert store.removed() == ()


async def test_nothing_that_is_not_ours_is_touched(keeper: TrunkKeeper, pbx: Memory) -> None:
    await pbx.write("endpoint", "reception", ())
    await keeper.reconcile()
    assert pbx.kinds("reception") == {"endpoint"}


async def test_one_trunk_that_cannot_be_told_keeps_no_other_away(
    keeper: TrunkKeeper, store: NumberStore, pbx: Memory
) -> None:
    store.add(_number(username="line", password=" blank "))
    store.add(_number("+15551230002"))
    bad, good = (await keeper.reconcile()).trunks
    assert (bad.state, good.state) == ("failed", "unknown")
    assert "cannot be told this password" in bad.detail
    assert " blank " not in bad.detail


@pytest.mark.parametrize(
    ("request_", "status", "advice"),
    [
        ("PUT aor", 403, "docs/snippets/sorcery.conf"),
        ("PUT registration", 404, "res_pjsip_outbound_registration.so"),
        ("PUT endpoint", 400, "Asterisk refuses endpoint"),
    ],
)
async def test_a_refusal_says_what_to_do(
    keeper: TrunkKeeper, store: NumberStore, pbx: Memory, request_: str, status: int, advice: str
) -> None:
    store.add(_number(**LINE))
    pbx.refusals = {request_: status}
    [state] = (await keeper.reconcile()).trunks
    assert state.state == "failed"
    assert advice in state.detail
    assert "s3cret" not in state.detail
    assert (await keeper.states())[0] == state
    pbx.refusals = {}
    assert (await keeper.reconcile()).trunks[0].state == "unknown"


async def test_states_say_what_is_known(
    keeper: TrunkKeeper, store: NumberStore, pbx: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add(_number())
    assert [state.state for state in await keeper.states()] == ["missing"]
    await keeper.reconcile()
    [just_written] = await keeper.states()
    assert (just_written.state, "within a minute" in just_written.detail) == ("unknown", True)
    monkeypatch.setattr(reconcile, "FIRST_ANSWER_SECONDS", 0.0)
    [offline] = await keeper.states()
    assert offline.state == "offline"
    assert "192.0.2.7 does not answer OPTIONS over udp" in offline.detail
    pbx.state = "online"
    assert [(state.state, state.detail) for state in await keeper.states()] == [("online", "")]


async def test_an_outage_after_a_connection_is_said_once_and_made_up_for(
    keeper: TrunkKeeper, store: NumberStore, pbx: Memory, quick_retries: None
) -> None:
    store.add(_number(**LINE))
    pbx.left = 3
    with capture_logs() as logs:
        running = asyncio.create_task(keeper.connected())
        await until(lambda: pbx.tried > 10)
        pbx.left = 10_000
        async with asyncio.timeout(5):
            await running
    assert [line["event"] for line in logs] == ["trunks could not be applied to Asterisk", "trunks applied"]
    assert "s3cret" not in str(logs)


async def test_a_store_that_cannot_be_read_raises_nothing_and_changes_nothing(
    keeper: TrunkKeeper, store: NumberStore, pbx: Memory, tmp_path: Path
) -> None:
    store.add(_number())
    await keeper.reconcile()
    (tmp_path / "store/numbers.enc").write_bytes(b"no store at all")
    with capture_logs() as logs:
        running = asyncio.create_task(keeper.connected())
        await until(lambda: logs)
        running.cancel()
    assert [line["event"] for line in logs] == ["trunks could not be applied to Asterisk"]
    assert pbx.kinds(FIRST) == {"aor", "endpoint", "identify"}


async def test_a_request_that_takes_too_long_keeps_no_other_trunk_away(
    keeper: TrunkKeeper, store: NumberStore, pbx: Memory
) -> None:
    store.add(_number(**LINE))
    store.add(_number("+15551230002"))
    pbx.refusals = {"PUT registration": 0}  # no answer in time: Asterisk waits for a name server
    slow, good = (await keeper.reconcile()).trunks
    assert (slow.state, good.state) == ("failed", "unknown")
    assert "name server" in slow.detail


async def test_a_trunk_that_is_not_applied_is_tried_again_by_the_latest_connection_alone(
    keeper: TrunkKeeper, store: NumberStore, pbx: Memory, quick_retries: None
) -> None:
    store.add(_number(**LINE))
    pbx.refusals = {"PUT identify": 400}
    told: list[str] = []
    with capture_logs() as logs:
        first = asyncio.create_task(keeper.connected(lambda applied: told.append(applied.trunks[0].state)))
        await until(lambda: len(pbx.log) > 20)
        second = asyncio.create_task(keeper.connected())
        async with asyncio.timeout(5):
            await first
        assert not second.done()
        pbx.refusals = {}
        async with asyncio.timeout(5):
            await second
    assert pbx.kinds(FIRST) == set(KINDS)
    events = [line["event"] for line in logs]
    assert set(told) == {"failed"}
    assert events == ["trunk not applied", "trunk not applied", "trunks applied"]  # each connection says it once
    assert "resolve" in logs[0]["reason"]
    assert "s3cret" not in str(logs)


# -- as a file ----------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pjsip.d").mkdir()
    return tmp_path / "pjsip.d"


@pytest.fixture
def shared(folder: Path) -> Memory:
    return Memory(folder)


@pytest.fixture
def writer(store: NumberStore, shared: Memory, folder: Path) -> TrunkKeeper:
    return TrunkKeeper(StudioSettings(pjsip_directory=folder), store, shared)


async def test_the_file_is_written_and_reloaded_only_where_something_differs(
    writer: TrunkKeeper, store: NumberStore, shared: Memory, folder: Path
) -> None:
    store.add(_number(**LINE))
    applied = await writer.reconcile()
    assert (applied.backend, applied.written) == ("file", (FIRST,))
    before = (folder / FILE).stat()
    assert stat.S_IMODE(before.st_mode) == 0o600
    assert (await writer.reconcile()).written == ()
    assert shared.log == ["reload"]
    assert (folder / FILE).stat().st_ino == before.st_ino
    store.remove("+15551230001")
    assert (await writer.reconcile()).removed == (FIRST,)
    assert os.listdir(folder) == []


async def test_a_reload_that_was_missed_is_made_up_for(
    writer: TrunkKeeper, store: NumberStore, shared: Memory, tmp_path: Path, folder: Path
) -> None:
    store.add(_number())
    await writer.reconcile()
    store.change("+15551230001", codecs=["alaw"])
    shared.left = 2  # Asterisk goes away before it is told to reload
    with pytest.raises(AsteriskError):
        await writer.reconcile()
    assert "!all,alaw" in (folder / FILE).read_text(encoding="utf-8")
    assert shared.objects["endpoint", FIRST]["allow"] == "!all,ulaw,alaw"
    shared.left = 10_000
    another = TrunkKeeper(StudioSettings(pjsip_directory=folder), store, shared)
    await another.reconcile()
    assert shared.objects["endpoint", FIRST]["allow"] == "!all,alaw"


async def test_a_registration_ends_before_its_password_changes(
    writer: TrunkKeeper, store: NumberStore, shared: Memory
) -> None:
    store.add(_number(**LINE))
    await writer.reconcile()
    store.change("+15551230001", password="another")
    seen: list[set[str]] = []
    reload = shared.reload

    async def watched() -> None:
        await reload()
        seen.append(shared.kinds(FIRST))

    shared.reload = watched  # type: ignore[method-assign]
    await writer.reconcile()
    assert seen == [set(KINDS) - {"registration"}, set(KINDS)]


async def test_a_part_that_asterisk_does_not_take_is_explained(
    writer: TrunkKeeper, store: NumberStore, shared: Memory
) -> None:
    store.add(_number())
    await writer.reconcile()
    del shared.objects["identify", FIRST]
    shared.unread = {"identify"}
    [state] = (await writer.reconcile()).trunks
    assert state.state == "failed"
    assert "not its identify" in state.detail


async def test_a_folder_that_is_not_there_is_explained(store: NumberStore, shared: Memory, tmp_path: Path) -> None:
    store.add(_number())
    [state] = (
        await TrunkKeeper(StudioSettings(pjsip_directory=tmp_path / "nowhere"), store, shared).reconcile()
    ).trunks
    assert state.state == "failed"
    assert "studio.pjsip_directory" in state.detail


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_the_file_is_that_of_the_folders_owner(writer: TrunkKeeper, store: NumberStore, folder: Path) -> None:
    os.chown(folder, 12345, 12346)
    store.add(_number())
    await writer.reconcile()
    found = (folder / FILE).stat()
    assert (found.st_uid, found.st_gid) == (12345, 12346)


# -- how Asterisk spells things -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "name", "ours", "theirs", "equal"),
    [
        ("endpoint", "allow", "!all,ulaw,alaw", "(ulaw|alaw)", True),
        ("endpoint", "allow", "!all,ulaw", "(ulaw|alaw)", False),
        ("endpoint", "direct_media", "no", "false", True),
        ("endpoint", "from_user", "yes", "true", False),
        ("auth", "password", "1", "yes", False),
        ("identify", "match", "192.0.2.7,2001:db8::/32", "192.0.2.7/255.255.255.255", False),
        ("identify", "match", "192.0.2.7", "192.0.2.7/255.255.255.255", True),
        ("identify", "match", "2001:db8::/32", "2001:db8::/ffff:ffff::", True),
        ("identify", "match", "sip.example.com", "192.0.2.7/255.255.255.255", True),
        ("identify", "match", "sip.example.com", "", False),
        ("registration", "line", "yes", "true", True),
    ],
)
def test_values_are_compared_by_what_they_mean(kind: Kind, name: str, ours: str, theirs: str, equal: bool) -> None:
    wanted = PjsipObject(kind, FIRST, ((name, ours),))
    assert same(wanted, (*DEFAULTS.items(), (name, theirs))) is equal


def test_an_attribute_that_is_no_longer_wanted_makes_a_difference() -> None:
    wanted = PjsipObject("endpoint", FIRST, (("aors", FIRST),))
    assert same(wanted, (*DEFAULTS.items(), ("aors", FIRST)))
    assert not same(wanted, (*{**DEFAULTS, "outbound_auth": FIRST}.items(), ("aors", FIRST)))
