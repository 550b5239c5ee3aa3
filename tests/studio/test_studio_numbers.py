"""`studio number …`, on a real store."""

import asyncio
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ai_engine.studio import trunk_address, trunk_states
from ai_engine.switchboard.models import Applied, TrunkState
from ai_engine.switchboard.ports import Refused
from ai_engine.trunks.store import NumberStore
from tests.fakes.switchboard import ScriptedSwitchboard
from tests.studio.house import House
from tests.trunks.test_probe import reply, udp_peer
from tests.waiting import until

PASSWORD = "Tr0ub4dor&3-of-the-trunk"
ROOT = Path(__file__).parents[2]


def test_four_generic_parameters_are_enough(house: House) -> None:
    ended = house.import_number(password=PASSWORD)
    assert ended.status == 0
    assert "sip:+15550199@" in ended.out
    assert "in udp port 5060, from sip.example.com" in " ".join(ended.out.split())
    assert "at the engine's next start" in ended.err
    kept = NumberStore(house.folder / "studio", {}).numbers()
    assert [(one.number, one.address, one.username) for one in kept] == [("+15550199", "sip.example.com", "ada")]
    assert kept[0].password.get_secret_value() == PASSWORD


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("example.pstn.twilio.com", ("example.pstn.twilio.com", None, "udp")),
        ("sip.telnyx.com:5061;transport=tls", ("sip.telnyx.com", 5061, "tls")),
        ("in.sip.exotel.com:5070;transport=TCP", ("in.sip.exotel.com", 5070, "tcp")),
        ("sip:203.0.113.7", ("203.0.113.7", None, "udp")),
        ("sips:sip.example.com", ("sip.example.com", None, "tls")),
        ("[2001:db8::1]:5080", ("2001:db8::1", 5080, "udp")),
    ],
)
def test_addresses_as_carriers_write_them(text: str, parsed: tuple[str, int | None, str]) -> None:
    found = trunk_address.parse(text)
    assert (found.address, found.port, found.transport) == parsed


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--trunk-address", "sip.example.com;transport=sctp"), "no transport 'sctp'"),
        (("--trunk-address", "sip.example.com;lr"), "'lr' means nothing here"),
        (("--trunk-address", "ada:pw@sip.example.com"), "--sip-username"),
        (("--trunk-address", "sip.example.com:99999"), "--trunk-address: must be less than or equal to 65535"),
        (("--number", "12"), "--number: must be in the international form"),
        (("--codec", "mp3"), "--codec: must be 'ulaw'"),
        (("--allowed-ip", "300.1.1.1"), "--allowed-ip:"),
        (("--calls", "0"), "--calls: must be greater"),
        (("--srtp",), "SRTP needs TLS"),
        (("--inbound-agent", "a b"), "--inbound-agent:"),
    ],
)
def test_what_is_wrong_is_named_as_it_was_typed_and_nothing_is_kept(
    house: House, words: tuple[str, ...], told: str
) -> None:
    ended = house.import_number("+15550199", *words, password=PASSWORD)
    assert (ended.status, ended.out) == (2, "")
    assert told in ended.err
    assert PASSWORD not in ended.err
    assert ended.err.count("\n") == 1
    assert house.studio("number", "list", "--json").json == []


def test_the_password_comes_from_a_file_the_environment_or_standard_input(house: House) -> None:
    (secret := house.folder / "pw").write_text(f"{PASSWORD}\nanother line\n")
    secret.chmod(0o600)
    shared = ("number", "import", "--trunk-address", "sip.example.com", "--sip-username", "ada", "--number")
    assert house.studio(*shared, "+15550101", "--sip-password-file", str(secret)).err.count("\n") == 2
    secret.chmod(0o644)
    assert "others may read it" in house.studio(*shared, "+15550102", "--sip-password-file", str(secret)).err
    house.environ["STUDIO_SIP_PASSWORD"] = PASSWORD
    assert house.studio(*shared, "+15550103").status == 0
    del house.environ["STUDIO_SIP_PASSWORD"]
    (house.folder / ".env").write_text(f"STUDIO_SIP_PASSWORD='{PASSWORD}'\n")
    assert house.studio(*shared, "+15550104").status == 0
    (house.folder / ".env").write_text("STUDIO_SIP_PASSWORD=of-the-file\n")
    house.environ["STUDIO_SIP_PASSWORD"] = PASSWORD
    assert house.studio(*shared, "+15550107").status == 0
    del house.environ["STUDIO_SIP_PASSWORD"]
    (house.folder / ".env").unlink()
    loud = house.studio(*shared, "+15550105", "--sip-password", PASSWORD)
    assert loud.status == 0
    assert "the list of processes shows" in loud.err
    kept = NumberStore(house.folder / "studio", {}).numbers()
    assert {one.password.get_secret_value() for one in kept} == {PASSWORD}
    assert len(kept) == 6

    none = house.studio(*shared, "+15550106")
    assert (none.status, "STUDIO_SIP_PASSWORD" in none.err) == (2, True)
    assert house.studio(*shared, "+15550106", "--sip-password", "-").status == 2
    both = house.studio(*shared, "+15550106", "--sip-password", "-", "--sip-password-file", "pw")
    assert both.status == 2


def test_a_trunk_that_is_known_by_address_needs_no_password(house: House) -> None:
    words = ("number", "import", "--number", "0091 2240 001234", "--trunk-address", "203.0.113.7:5070;transport=tcp")
    ended = house.studio(*words, "--allowed-ip", "203.0.113.0/28", "--json")
    assert ended.status == 0
    assert ended.json | {"number": "+912240001234", "port": 5070, "password": "", "trunk": None} == ended.json
    assert "--sip-username" in house.studio(*words, "--sip-password", "-").err


def test_sound_is_encrypted_with_tls_unless_somebody_says_no(house: House) -> None:
    tls = ("number", "import", "--trunk-address", "sip.example.com;transport=tls", "--json", "--number")
    assert house.studio(*tls, "+15550101").json["srtp"] is True
    assert house.studio(*tls, "+15550102", "--no-srtp").json["srtp"] is False
    assert house.import_number("+15550103", "--json").json["srtp"] is False


def test_the_list_shows_no_password_to_people_or_programs(house: House) -> None:
    house.import_number("+15550199", "--label", "Main line", "--register", password=PASSWORD)
    table, data = house.studio("number", "list"), house.studio("number", "list", "--json")
    assert "Main line" in table.out
    assert "registers" in table.out
    assert data.json[0]["password"] == "********"
    assert PASSWORD not in table.out + table.err + data.out + data.err


def test_a_number_is_replaced_only_where_that_is_said(house: House) -> None:
    house.import_number()
    again = house.import_number()
    assert (again.status, "--replace" in again.err) == (2, True)
    assert house.import_number("+15550199", "--label", "new", "--replace").status == 0
    assert [one["label"] for one in house.studio("number", "list", "--json").json] == ["new"]


def test_a_number_is_removed_when_somebody_says_so(house: House) -> None:
    house.import_number()
    asked = house.studio("number", "remove", "+15550199")
    assert (asked.status, "--force" in asked.err) == (2, True)
    assert len(house.studio("number", "list", "--json").json) == 1
    assert house.studio("number", "remove", "+15550199", "--force").status == 0
    assert house.studio("number", "list", "--json").json == []
    assert house.studio("number", "remove", "+15550199", "--force").status == 3


def test_an_export_has_the_password_only_where_that_is_said(house: House) -> None:
    house.import_number(password=PASSWORD)
    masked = house.studio("number", "export")
    assert "[studio-15550199]" in masked.out
    assert "password = ********" in masked.out
    assert PASSWORD not in masked.out + masked.err
    assert f"password = {PASSWORD}" in house.studio("number", "export", "+15550199", "--show-secrets").out
    requests = house.studio("number", "export", "--format", "ari").json
    assert [one["put"].rsplit("/", 2)[1] for one in requests] == ["auth", "aor", "endpoint", "identify"]
    assert PASSWORD not in str(requests)
    assert house.studio("number", "export", "+1555").status == 3


def test_a_store_that_was_changed_by_somebody_else_is_an_error_and_never_empty(house: House) -> None:
    house.import_number()
    store = house.folder / "studio/numbers.enc"
    data = bytearray(store.read_bytes())
    data[-1] ^= 1
    store.write_bytes(data)
    for words in (("list",), ("list", "--json"), ("remove", "+15550199", "--force"), ("export",), ("rotate-key",)):
        ended = house.studio("number", *words)
        assert (ended.status, ended.out) == (2, "")
        assert "numbers.enc" in ended.err
    assert house.import_number("+15550198").status == 2
    assert store.read_bytes() == bytes(data)


def test_the_key_is_changed_and_the_numbers_stay(house: House) -> None:
    house.import_number()
    key, store = house.folder / "studio/numbers.key", house.folder / "studio/numbers.enc"
    before = key.read_bytes(), store.read_bytes()
    assert house.studio("number", "rotate-key").status == 0
    assert key.read_bytes() != before[0]
    assert store.read_bytes() != before[1]
    assert len(house.studio("number", "list", "--json").json) == 1
    own = house.folder / "own.key"
    own.write_bytes(before[0])
    own.chmod(0o600)
    told = house.studio("number", "rotate-key", "--key-file", str(own))
    assert f"OFFHOOK_STUDIO_KEY_FILE={own}" in told.out
    assert house.studio("number", "list").status == 2
    house.environ["OFFHOOK_STUDIO_KEY_FILE"] = str(own)
    assert len(house.studio("number", "list", "--json").json) == 1
    refused = house.studio("number", "rotate-key", "--key-file", str(house.folder / "none"))
    assert refused.status == 2


def test_the_password_is_nowhere_in_plain_text_nor_in_the_list_of_processes(house: House) -> None:
    command = [
        sys.executable, "-m", "ai_engine.studio", "number", "import", "--number", "+15550199", "--trunk-address",
        "sip.example.com", "--sip-username", "ada", "--sip-password", "-", "--inbound-agent", "reception",
    ]  # fmt: skip
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environ
    ) as running:
        process = Path(f"/proc/{running.pid}")
        asyncio.run(until(lambda: b"--sip-username" in (process / "cmdline").read_bytes()))  # it has begun
        seen = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        listed = subprocess.run(["ps", "-ef"], capture_output=True, check=True).stdout
        out, err = running.communicate(f"{PASSWORD}\n".encode())
    assert running.returncode == 0
    files = [path for path in house.folder.rglob("*") if path.is_file()]
    assert house.folder / "studio/numbers.enc" in files
    for text in (seen, listed, out, err, *(path.read_bytes() for path in files)):
        assert PASSWORD.encode() not in text
    for path in (house.folder / "studio").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


# -- with an engine ------------------------------------------------------------------------------------------


async def test_an_engine_that_runs_applies_it_at_once(house: House) -> None:
    board = ScriptedSwitchboard()
    trunk = TrunkState(number="+15550199", object_id="studio-15550199", state="offline", detail="no answer to OPTIONS")
    board.answers["reconcile"] = Applied(backend="ari", written=("studio-15550199",), trunks=(trunk,))
    async with house.engine(board):
        ended = await house.ask(
            "number", "import", "--number", "+15550199", "--trunk-address", "sip.example.com"
        )  # fmt: skip
        assert ended.status == 0
        assert ("reconcile",) in board.asked
        assert "no answer to OPTIONS" in ended.out
        states = (await house.ask("number", "list", "--status", "--json")).json
        assert states[0]["trunk"]["state"] == "online"
        assert "online" in (await house.ask("number", "list", "--status")).out
        board.answers["reconcile"] = Applied(backend="ari", removed=("studio-15550199",))
        removed = await house.ask("number", "remove", "+15550199", "--force")
        assert "forgotten studio-15550199" in removed.out


async def test_a_number_is_kept_though_asterisk_does_not_take_it(house: House) -> None:
    board = ScriptedSwitchboard()
    board.answers["reconcile"] = Refused("asterisk", "Asterisk does not answer")
    async with house.engine(board):
        ended = await house.ask(
            "number", "import", "--number", "+15550199", "--trunk-address", "sip.example.com"
        )  # fmt: skip
    assert (ended.status, "kept, but not applied: Asterisk does not answer" in ended.err) == (0, True)
    assert len(house.studio("number", "list", "--json").json) == 1


async def test_an_asterisk_that_is_away_hides_and_keeps_no_number(house: House) -> None:
    house.import_number()
    board = ScriptedSwitchboard()
    board.answers["reconcile"] = board.answers["trunks"] = Refused("asterisk", "Asterisk does not answer")
    async with house.engine(board):
        listed = await house.ask("number", "list", "--status", "--json")
        assert (listed.status, listed.json[0]["trunk"]["state"]) == (0, "unknown")
        removed = await house.ask("number", "remove", "+15550199", "--force")
        assert (removed.status, "until the engine reaches it" in removed.err) == (0, True)
    assert house.studio("number", "list", "--json").json == []


async def test_a_test_asks_the_carrier_and_waits_for_asterisk(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trunk_states, "_AGAIN_SECONDS", 0.01)
    board = ScriptedSwitchboard()
    trunk = TrunkState(number="+15550199", object_id="studio-15550199", state="unknown")
    board.answers["reconcile"] = Applied(backend="ari", trunks=(trunk,))
    board.answers["trunks"] = [trunk.model_copy(update={"state": "online"})]
    async with house.engine(board), udp_peer(lambda request: [reply(request, "200 OK")]) as (port, asked):
        words = ("number", "import", "--number", "+15550199", "--trunk-address", f"127.0.0.1:{port}", "--test")
        good = await house.ask(*words)
        assert (good.status, "online" in good.out) == (0, True)
        assert asked[0].startswith("OPTIONS ")
        board.answers["trunks"] = [trunk.model_copy(update={"state": "failed", "detail": "no such transport"})]
        failed = await house.ask(*words, "--replace")
        assert (failed.status, "no such transport" in failed.out) == (6, True)


async def test_a_test_names_what_the_carrier_refuses(house: House) -> None:
    def refuse(request: str) -> list[bytes]:
        return [reply(request, "403 Forbidden" if request.startswith("REGISTER") else "200 OK")]

    async with udp_peer(refuse) as (port, _):
        house.environ["STUDIO_SIP_PASSWORD"] = PASSWORD
        words = ("--sip-username", "ada", "--register", "--test", "--json")
        ended = await house.ask(
            "number", "import", "--number", "+15550199", "--trunk-address", f"127.0.0.1:{port}", *words
        )
    assert ended.status == 6
    assert [one["what"] for one in ended.json["findings"] if not one["ok"]] == ["registration"]
    assert PASSWORD not in ended.out + ended.err
    assert len(house.studio("number", "list", "--json").json) == 1


def test_files_are_shown_at_once() -> None:
    """Half of what a person notices, on a machine that does something else besides."""
    for words in (("--help",), ("number", "import", "--help")):
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "ai_engine.studio", *words], capture_output=True, check=True, cwd=ROOT)
        assert time.monotonic() - started < 2.0


def test_help_loads_no_engine() -> None:
    program = (
        "import sys; from ai_engine.studio.__main__ import main; main(['--help'], {});"
        "print([n for n in ('fastapi','dbos','numpy','httpx','pydantic','aiohttp','textual') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, cwd=ROOT, text=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_list_of_numbers_loads_no_engine(house: House) -> None:
    house.import_number()
    program = (
        "import sys; from ai_engine.studio.__main__ import main; main(['number', 'list'], {});"
        "print([n for n in ('fastapi','dbos','numpy','httpx','aiohttp','textual') if n in sys.modules])"
    )
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True, env=environ)
    assert done.stdout.splitlines()[-1] == "[]"
