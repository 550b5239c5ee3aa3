"""`make test`: first what listens to the clock on a telephone line, alone; then everything else, two files at a time.

Arguments are pytest's: paths, `-k barge`, `--durations=20` …
"""

import subprocess
import sys
from collections.abc import Sequence

_ON_A_LINE = "(asterisk or phone)"
"""Frames of 20 ms are counted there: nobody else should want the processor."""
_NO_TESTS = 5
"""Pytest's exit status where nothing was chosen."""


def main(arguments: Sequence[str]) -> int:
    """Pytest's own, the first that is not 0."""
    first = _pytest("-m", f"{_ON_A_LINE} and not models", *arguments)
    others = _pytest("-m", f"not {_ON_A_LINE} and not models", "-n", "2", "--dist", "loadfile", *arguments)
    if first == others == _NO_TESTS:
        return _NO_TESTS
    return next((status for status in (first, others) if status not in (0, _NO_TESTS)), 0)


def _pytest(*arguments: str) -> int:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
