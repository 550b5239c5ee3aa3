"""Whom we do not call."""

from collections.abc import Iterable

from ai_engine.jobs.ports import RequestRefused
from ai_engine.jobs.request import CallRequest
from ai_engine.jobs.settings import CallAgentSettings, Manners

_LOCAL_DIGITS = 7
"""Numbers that end in the same digits, and have so many, are one number; shorter ones are extensions."""


def check_number(manners: Manners, number: str, more_do_not_call: Iterable[str] = ()) -> None:
    """Raises RequestRefused with the rule that forbids the call. ``number`` is a ``Telephone``."""
    if any(same_number(number, other) for other in (*manners.do_not_call, *more_do_not_call)):
        raise RequestRefused(f"{number} is on the do-not-call list (call_agent.manners.do_not_call)")
    if manners.allowed_prefixes and not number.startswith(manners.allowed_prefixes):
        allowed = ", ".join(manners.allowed_prefixes)
        raise RequestRefused(
            f"{number} may not be called: numbers must begin with {allowed} (call_agent.manners.allowed_prefixes)"
        )


def check_wishes(settings: CallAgentSettings, request: CallRequest) -> None:
    """Whoever asks may want less than the house allows, and not more. Raises RequestRefused."""
    manners = settings.manners
    for name, wanted, most, key in (
        ("maxAttempts", request.max_attempts, settings.retry.max_attempts, "retry.max_attempts"),
        ("ringSeconds", request.ring_seconds, manners.ring_seconds, "manners.ring_seconds"),
        ("maxSeconds", request.max_seconds, manners.max_seconds, "manners.max_seconds"),
    ):
        if wanted is not None and wanted > most:
            raise RequestRefused(f"{name} {wanted:g} is more than the {most:g} that call_agent.{key} allows")


def read_numbers(text: str) -> list[str]:
    """A number a line; what stands behind ``#`` is for people."""
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    return [line for line in lines if line]


def same_number(one: str, other: str) -> bool:
    """However they are written: ``+49 30 1234567``, ``0049301234567`` and ``0301234567`` are one.

    Who is called in Berlin and in Hamburg under the same local number is taken for one person, too.
    """
    longer, shorter = sorted((_subscriber(one), _subscriber(other)), key=len, reverse=True)
    alike = longer == shorter or (len(shorter) >= _LOCAL_DIGITS and longer.endswith(shorter))
    return one == other or (bool(shorter) and alike)


def _subscriber(number: str) -> str:
    """Without the zeros that say where one calls from."""
    return "".join(c for c in number if c.isdigit()).lstrip("0")
