"""Whether a number may be called: the rules of the house, and the list on the disk as it is now."""

from pathlib import Path

from ai_engine.jobs import limits
from ai_engine.jobs.ports import RequestRefused
from ai_engine.jobs.settings import Manners


def check_permission(manners: Manners, number: str) -> None:
    """Raises RequestRefused. Reads a file: to be called off any event loop."""
    path = manners.do_not_call_file
    limits.check_number(manners, number, _numbers_in(path) if path else ())


def _numbers_in(path: Path) -> list[str]:
    """Raises RequestRefused: a list that cannot be read must not let anybody be called."""
    try:
        return limits.read_numbers(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as trouble:
        raise RequestRefused(f"the do-not-call list cannot be read: {trouble}") from trouble
