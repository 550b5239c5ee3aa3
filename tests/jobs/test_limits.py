"""Whom we do not call, however the number is written."""

import pytest

from ai_engine.jobs.limits import check_number, read_numbers, same_number
from ai_engine.jobs.ports import RequestRefused
from ai_engine.jobs.settings import Manners


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("+49301234567", "0049301234567", True),
        ("+49301234567", "0301234567", True),
        ("+49 (30) 123-4567", "1234567", True),
        ("+14155550123", "4155550123", True),
        ("+14155550123", "+14155550124", False),
        ("+49301234567", "+4930123456", False),
        ("100", "100", True),
        ("100", "+4930123100", False),
        ("", "100", False),
        ("0", "0", True),
        ("anonymous", "0", False),
        ("anonymous", "+49301234567", False),
    ],
)
def test_one_number_in_many_ways(one: str, other: str, same: bool) -> None:
    assert same_number(one, other) is same
    assert same_number(other, one) is same


@pytest.mark.parametrize("written", ["+49 30 1234567", "0049301234567", "030 123 45 67"])
def test_nobody_is_called_who_does_not_want_it(written: str) -> None:
    with pytest.raises(RequestRefused, match="do-not-call"):
        check_number(Manners(do_not_call=(written,)), "+49301234567")
    with pytest.raises(RequestRefused, match="do-not-call"):
        check_number(Manners(), "+49301234567", [written])


def test_only_where_calls_may_go() -> None:
    only = Manners(allowed_prefixes=("+49", "+43"))
    check_number(only, "+4315550100")
    with pytest.raises(RequestRefused, match="must begin with \\+49, \\+43"):
        check_number(only, "+15550100")


def test_a_list_of_numbers_for_people() -> None:
    assert read_numbers("# all of them\n+1 555 0100  # Ana\n\n 0049 30 1 \n") == ["+1 555 0100", "0049 30 1"]
