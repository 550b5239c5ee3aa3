"""The tab of numbers."""

import pytest

from tests.studio.tui.fakes.scene import PASSWORD
from tests.studio.tui.fakes.stage import Stage


@pytest.fixture
async def at_numbers(studio: Stage) -> Stage:
    await studio.press("2")
    await studio.shows("sip.carrier.example;tls")
    return studio


async def test_numbers_stand_there_with_their_trunks(at_numbers: Stage) -> None:
    await at_numbers.shows("+4930123456 front desk sip.carrier.example;tls reception online")
    await at_numbers.press("down")
    await at_numbers.shows("offline: sip.backup.example does not answer OPTIONS: is UDP 5060 let through to it?")
    assert PASSWORD not in at_numbers.text


async def test_reconcile(at_numbers: Stage) -> None:
    await at_numbers.press("r")
    await at_numbers.shows("Asterisk has them (ari): 1 written, 0 removed.")
    assert at_numbers.engine.asked == [("reconcile",)]


async def _fill(stage: Stage, number: str) -> None:
    await stage.press("i")
    await stage.type(number)
    await stage.press("tab")
    await stage.type("sip.new.example:5070")
    await stage.press("tab", "tab")
    await stage.type("office")
    await stage.press("tab")
    await stage.type("s3cret words")
    await stage.press("tab", "tab")
    await stage.type("sales")


async def test_a_number_is_imported_and_applied(at_numbers: Stage) -> None:
    await _fill(at_numbers, "+14155550100")
    await at_numbers.shows("•••")
    assert "s3cret" not in at_numbers.text
    await at_numbers.press("enter")
    await at_numbers.shows("+14155550100 is imported. Asterisk has them (ari)", "sip.new.example:5070;udp")
    (number,) = [number for number in at_numbers.office.numbers.held if number.number == "+14155550100"]
    assert number.password.get_secret_value() == "s3cret words"
    assert (number.address, number.port, number.registers, number.inbound_agent) == (
        "sip.new.example",
        5070,
        True,
        "sales",
    )
    assert "s3cret" not in at_numbers.text


async def test_what_is_wrong_with_a_number_is_said_in_the_form(at_numbers: Stage) -> None:
    await _fill(at_numbers, "030 12")
    await at_numbers.press("enter")
    await at_numbers.shows("number: String should match pattern")
    assert "s3cret" not in at_numbers.text


async def test_a_number_that_is_there_is_replaced_only_if_one_says_so(at_numbers: Stage) -> None:
    await _fill(at_numbers, "+4930123457")
    await at_numbers.press("enter")
    await at_numbers.shows("+4930123457 is there already. Replace it?")
    await at_numbers.press("n")
    await at_numbers.shows("sip.backup.example;udp")
    await _fill(at_numbers, "+4930123457")
    await at_numbers.press("enter", "y")
    await at_numbers.shows("sip.new.example:5070;udp")


async def test_remove_asks_first(at_numbers: Stage) -> None:
    await at_numbers.press("d")
    await at_numbers.shows("Remove +4930123456 (sip.carrier.example)?")
    await at_numbers.press("escape")
    assert len(at_numbers.office.numbers.held) == 2
    await at_numbers.press("delete", "y")
    await at_numbers.shows("+4930123456 is removed. Asterisk has them")
    assert [number.number for number in at_numbers.office.numbers.held] == ["+4930123457"]


async def test_without_an_engine_numbers_are_still_looked_after(at_numbers: Stage) -> None:
    at_numbers.engine.stop()
    await at_numbers.shows("no engine since 14:30:42", "How it stands in Asterisk is known when the engine is there.")
    await at_numbers.press("d", "y")
    await at_numbers.shows("+4930123456 is removed; Asterisk learns of it when the engine starts.")
    await at_numbers.press("r")
    await at_numbers.shows("Not done: no engine answers at http://127.0.0.1:4545; start one with")


async def test_a_store_that_cannot_be_opened_is_told_and_not_taken_for_empty(at_numbers: Stage) -> None:
    at_numbers.office.numbers.trouble = "numbers.enc was changed by somebody else; put it back from a backup"
    await at_numbers.shows("numbers.enc was changed by somebody else; put it back from a backup", "+4930123456")
    await at_numbers.press("d", "y")
    await at_numbers.until(lambda: at_numbers.app.told_bad)
    assert len(at_numbers.office.numbers.held) == 2


async def test_the_filter_narrows_the_list(at_numbers: Stage) -> None:
    await at_numbers.press("slash")
    await at_numbers.type("backup")
    await at_numbers.until(lambda: "front desk" not in at_numbers.text)
    await at_numbers.press("escape")
    await at_numbers.shows("front desk")
