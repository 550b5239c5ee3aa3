"""Whom we do not call, and how often at most."""

from collections.abc import Iterable

from ai_engine.jobs.ports import RequestRefused
from ai_engine.jobs.settings import Manners


def check_number(manners: Manners, number: str, more_do_not_call: Iterable[str] = ()) -> None:
    """Raises RequestRefused with the rule that forbids the call. ``number`` is a ``Telephone``."""
    if _bare(number) in {_bare(other) for other in (*manners.do_not_call, *more_do_not_call)}:
        raise RequestRefused(f"{number} is on the do-not-call list (call_agent.manners.do_not_call)")
    if manners.allowed_prefixes and not number.startswith(manners.allowed_prefixes):
        allowed = ", ".join(manners.allowed_prefixes)
        raise RequestRefused(
            f"{number} may not be called: numbers must begin with {allowed} (call_agent.manners.allowed_prefixes)"
        )


def read_numbers(text: str) -> list[str]:
    """A number a line; what stands behind ``#`` is for people."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def _bare(number: str) -> str:
    """However it is written: ``+1 415 555-0123`` and ``0014155550123`` are one number."""
    digits = "".join(c for c in number if c.isdigit())
    return digits.removeprefix("00")
