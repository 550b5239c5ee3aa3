"""The ``.env`` file, line by line."""

import pytest

from ai_engine.config.dotenv import parse


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=b", "b"),
        ("A = b ", "b"),
        ("export A=b", "b"),
        ("A=", ""),
        ("A=b c", "b c"),
        ("A=b # why", "b"),
        ("A=b#c", "b#c"),
        ("A= # why", ""),
        ("A='b # c'", "b # c"),
        ("A='b' # why", "b"),
        (r"A='b\n'", r"b\n"),
        ('A="b c"', "b c"),
        (r'A="b\n\"c\" \\"', 'b\n"c" \\'),
        ("A=b=c==", "b=c=="),
        ("A=ws://h:1/v1", "ws://h:1/v1"),
        ("A=p$x!y", "p$x!y"),
        ("A=it's", "it's"),
    ],
)
def test_value(line: str, value: str) -> None:
    variables, broken = parse(line)
    assert not broken
    assert variables["A"].value == value


@pytest.mark.parametrize("line", ["A", "=b", "1A=b", "A-B=c", "A='b", 'A="b', "A='b' c"])
def test_no_variable(line: str) -> None:
    assert parse(f"# first\n\n{line}\n") == ({}, [3])


def test_last_one_counts_and_lines_are_known() -> None:
    variables, _ = parse("A=1\n\nA=2\n")
    assert (variables["A"].value, variables["A"].line) == ("2", 3)


def test_value_does_not_show() -> None:
    assert "hunter2" not in repr(parse("A=hunter2"))
