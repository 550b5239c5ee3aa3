"""Our numbers in use: what a carrier writes is understood, and a store that is broken changes nothing."""

from pathlib import Path

import pytest

from ai_engine.app.numbers import Numbers
from ai_engine.trunks.key import STORE_FILE
from ai_engine.trunks.number import SipNumber
from ai_engine.trunks.store import NumberStore

BERLIN = SipNumber(number="+49301234567", address="sip.example", inbound_agent="reception", calls=3)
BOSTON = SipNumber(
    number="+16175550100",
    address="sip.example",
    username="boston",
    password="swordfish",  # type: ignore[arg-type]
    inbound_agent="sales",
)
QUIET = SipNumber(number="+16175550199", address="sip.example")


@pytest.fixture
def store(tmp_path: Path) -> NumberStore:
    store = NumberStore(tmp_path, {})
    for number in (BERLIN, BOSTON, QUIET):
        store.add(number)
    return store


@pytest.fixture
def numbers(store: NumberStore) -> Numbers:
    numbers = Numbers(store)
    assert numbers.refresh()
    return numbers


@pytest.mark.parametrize(
    ("did", "number", "agent"),
    [
        ("+49301234567", BERLIN.number, "reception"),
        ("49301234567", BERLIN.number, "reception"),
        ("0049301234567", BERLIN.number, "reception"),
        ("0301234567", BERLIN.number, "reception"),
        ("030 123-4567", BERLIN.number, "reception"),
        ("(617) 555 0100", BOSTON.number, "sales"),
        # Two numbers at one carrier: its first trunk brings calls to both.
        ("+16175550100", BERLIN.number, "sales"),
        ("+49301234567", BOSTON.number, "reception"),
        ("+49301234567", "", "reception"),
        # The carrier does not say which.
        ("", BOSTON.number, "sales"),
        ("s", BOSTON.number, "sales"),
        ("boston", BOSTON.number, "sales"),
        ("studio-16175550100", BOSTON.number, "sales"),
        # Nobody is there.
        ("+16175550199", BOSTON.number, None),
        ("", QUIET.number, None),
        ("", "", None),
        ("s", "+15550000000", None),
        ("+49301234568", BERLIN.number, None),
        ("0044301234567", BERLIN.number, None),
        ("boston", BERLIN.number, None),
        ("\u0664\u0669301234567", BERLIN.number, None),
        # Too short to be told from others.
        ("234567", BERLIN.number, None),
        ("+234567", BERLIN.number, None),
        # The whole number is meant, and it is not ours.
        ("+301234567", BERLIN.number, None),
    ],
)
def test_who_answers(numbers: Numbers, did: str, number: str, agent: str | None) -> None:
    assert numbers.agent_for(did, number) == agent


def test_a_number_without_its_country_that_two_end_with_is_nobodys(store: NumberStore) -> None:
    store.add(BERLIN.model_copy(update={"number": "+43301234567", "inbound_agent": "sales"}))
    numbers = Numbers(store)
    numbers.refresh()
    assert numbers.agent_for("0301234567", BERLIN.number) is None
    assert numbers.agent_for("0043301234567", BERLIN.number) == "sales"


def test_each_number_is_a_way_out_that_shows_it(numbers: Numbers) -> None:
    trunks = numbers.trunks()
    assert list(trunks) == [BERLIN.number, BOSTON.number, QUIET.number]
    trunk = trunks[BERLIN.number]
    assert (trunk.dial, trunk.caller_id, trunk.calls) == ("PJSIP/{number}@studio-49301234567", BERLIN.number, 3)


def test_what_is_changed_is_read_once(store: NumberStore, numbers: Numbers) -> None:
    before = numbers.trunks()
    assert not numbers.refresh()
    store.change(QUIET.number, inbound_agent="sales")
    store.remove(BERLIN.number)
    assert numbers.refresh()
    assert not numbers.refresh()
    assert (numbers.agent_for(QUIET.number, ""), numbers.agent_for(BERLIN.number, "")) == ("sales", None)
    assert BERLIN.number in before, "whoever holds a view keeps it"


def test_a_store_that_cannot_be_read_is_told_of_once_and_what_was_known_stays(
    store: NumberStore, numbers: Numbers, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / STORE_FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    for _ in range(3):
        assert not numbers.refresh()
    assert capsys.readouterr().out.count("the numbers cannot be read") == 1
    assert numbers.agent_for(BERLIN.number, "") == "reception"
    file.write_bytes(whole)
    store.remove(BERLIN.number)
    assert numbers.refresh()
    assert numbers.agent_for(BERLIN.number, "") is None


def test_no_store_is_no_number(tmp_path: Path) -> None:
    numbers = Numbers(NumberStore(tmp_path / "nothing", {}))
    assert not numbers.refresh()
    assert not numbers.trunks()
