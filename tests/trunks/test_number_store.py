import logging
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from ai_engine.errors import ConfigError
from ai_engine.trunks.key import STORE_FILE, VaultError, find_key, generate
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.store import NoSuchNumber, NumberExists, NumberStore
from ai_engine.trunks.vault import Vault

SECRET = "s3cr3t-of-the-trunk"
NUMBER = SipNumber(
    number="+14155550123",
    address="sip.example.com",
    port=5061,
    transport="tls",
    username="user",
    password=SecretStr(SECRET),
    label="Büro",
    registers=True,
    inbound_agent="reception",
    allowed_ips=("10.0.0.0/8", "2001:db8::/32"),
    codecs=("alaw", "ulaw"),
    srtp=True,
    calls=7,
)
OTHER = SipNumber(number="+4930123456", address="192.0.2.7")


@pytest.fixture
def store(tmp_path: Path) -> NumberStore:
    return NumberStore(tmp_path, {})


def test_a_number_comes_back_as_it_was_in_every_process(store: NumberStore, tmp_path: Path) -> None:
    store.add(NUMBER)
    store.add(OTHER)
    again = NumberStore(tmp_path, {})
    assert again.numbers() == [NUMBER, OTHER]
    assert again.find(NUMBER.number) == NUMBER
    found = again.find(NUMBER.number)
    assert found is not None
    assert found.password.get_secret_value() == SECRET
    assert again.find("+1000000000") is None


def test_a_folder_with_nothing_in_it_has_no_numbers_and_no_key(store: NumberStore, tmp_path: Path) -> None:
    assert (store.numbers(), store.removed(), store.stamp()) == ([], (), "")
    assert not list(tmp_path.iterdir())


def test_the_same_number_is_not_added_twice_unless_it_may_replace(store: NumberStore) -> None:
    store.add(NUMBER)
    store.add(OTHER)
    with pytest.raises(NumberExists, match=r"\+14155550123 is there already"):
        store.add(NUMBER.model_copy(update={"label": "other"}))
    assert store.numbers() == [NUMBER, OTHER]
    store.add(NUMBER.model_copy(update={"label": "other"}), replace=True)
    assert [each.label for each in store.numbers()] == ["other", ""]


def test_a_change_is_checked_like_a_new_number(store: NumberStore) -> None:
    store.add(NUMBER)
    assert store.change(NUMBER.number, label="new", inbound_agent=None).label == "new"
    assert store.numbers()[0].password.get_secret_value() == SECRET
    assert store.change(NUMBER.number, password="an0ther").password.get_secret_value() == "an0ther"
    with pytest.raises(ConfigError, match="SRTP needs TLS") as caught:
        store.change(NUMBER.number, transport="udp")
    assert "an0ther" not in str(caught.value)
    with pytest.raises(ConfigError, match="calls: .*greater than"):
        store.change(NUMBER.number, calls=0)
    with pytest.raises(NoSuchNumber):
        store.change("+1000000000", label="x")
    assert store.numbers()[0].transport == "tls"


def test_what_was_removed_is_remembered_until_asterisk_has_forgotten_it(store: NumberStore) -> None:
    store.add(NUMBER)
    store.add(OTHER)
    assert store.remove(NUMBER.number) == NUMBER
    assert store.remove(OTHER.number) == OTHER
    assert store.numbers() == []
    assert store.removed() == ("studio-14155550123", "studio-4930123456")
    store.add(NUMBER)
    assert store.removed() == ("studio-4930123456",)
    store.forget(["studio-4930123456", "studio-1"])
    assert store.removed() == ()
    with pytest.raises(NoSuchNumber, match="studio number list"):
        store.remove(OTHER.number)


def test_nothing_is_written_where_nothing_changes(store: NumberStore) -> None:
    store.add(NUMBER)
    stamp = store.stamp()
    store.change(NUMBER.number, label="Büro")
    store.add(NUMBER, replace=True)
    store.forget(["studio-1"])
    assert store.stamp() == stamp
    store.change(NUMBER.number, label="x")
    assert store.stamp() != stamp


def test_no_secret_is_in_a_file_a_message_or_a_log(
    store: NumberStore, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    store.add(NUMBER)
    store.rotate(generate())
    with pytest.raises(ConfigError) as change:
        store.change(NUMBER.number, port=0)
    with pytest.raises(ValidationError) as whole:
        SipNumber.model_validate({"number": "+14155550123", "address": "a", "password": SECRET, "registers": True})
    written = b"".join(each.read_bytes() for each in tmp_path.iterdir())
    told = [repr(store.numbers()), str(store.find(NUMBER.number)), str(change.value), str(whole.value)]
    assert SECRET.encode() not in written
    assert NUMBER.number.encode() not in written
    assert SECRET not in "".join((*told, caplog.text, *capsys.readouterr()))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'{"version": 2, "numbers": [], "removed": []}', "has version 2"),
        (b'{"version": 1, "numbers": [{"number": "s3cr3t"}], "removed": []}', "number: String should match"),
        (b"[]", "not a store"),
        (b"{}", "has version None"),
        (b'{"version": 1, "numbers": 7}', "not a store"),
        (b"s3cr3t", "not a store"),
    ],
)
def test_a_store_of_another_version_is_an_error_and_stays_as_it_is(tmp_path: Path, content: bytes, says: str) -> None:
    Vault(tmp_path / STORE_FILE, lambda: find_key(tmp_path, {})).update(lambda _: content)
    store = NumberStore(tmp_path, {})
    before = store.stamp()
    for attempt in (store.numbers, lambda: store.add(OTHER), lambda: store.remove(OTHER.number)):
        with pytest.raises(VaultError, match=says) as caught:
            attempt()
        assert "s3cr3t" not in str(caught.value)
    assert store.stamp() == before


def adding(folder: Path, first: int | str, many: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.trunks.adding_numbers", str(folder), str(first), str(many)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_processes_that_add_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    processes = [adding(tmp_path, 100_000_000 * (index + 1), 15) for index in range(4)]
    for process in processes:
        assert len(process.communicate(timeout=60)[0].split()) == 15
        assert process.returncode == 0
    numbers = {each.number for each in NumberStore(tmp_path, {}).numbers()}
    assert numbers == {f"+{100_000_000 * (index + 1) + done}" for index in range(4) for done in range(15)}


@pytest.mark.parametrize("after", [1, 3, 10, 25])
def test_killed_while_it_writes_everything_it_told_of_is_there(tmp_path: Path, after: int) -> None:
    with adding(tmp_path, 100_000_000, 0) as process:
        assert process.stdout is not None
        told = [process.stdout.readline().strip() for _ in range(after)]
        process.kill()
        told += process.stdout.read().split()
    store = NumberStore(tmp_path, {})
    numbers = [each.number for each in store.numbers()]
    assert numbers[: len(told)] == told
    assert len(numbers) <= len(told) + 1  # written, and killed before it was told
    store.add(OTHER)
    assert store.find(OTHER.number) == OTHER
    assert {each.name for each in tmp_path.iterdir()} == {"numbers.enc", "numbers.key", "numbers.lock"}


@pytest.mark.parametrize("after", [1, 2, 3, 7, 15])
def test_killed_while_it_changes_the_key_the_store_opens(tmp_path: Path, after: int) -> None:
    store = NumberStore(tmp_path, {})
    store.add(NUMBER)
    with adding(tmp_path, "key", 0) as process:
        assert process.stdout is not None
        for _ in range(after):
            assert process.stdout.readline()
        process.kill()
    assert store.numbers() == [NUMBER]
    store.add(OTHER)
    store.rotate(generate())
    assert store.numbers() == [NUMBER, OTHER]


def test_who_reads_while_the_key_is_changed_is_not_disturbed(tmp_path: Path) -> None:
    store = NumberStore(tmp_path, {})
    store.add(NUMBER)
    with adding(tmp_path, "key", 100) as process:
        assert process.stdout is not None
        reads = 0
        while process.poll() is None:
            assert store.numbers() == [NUMBER]
            reads += 1
        assert process.returncode == 0
    assert reads > 10
