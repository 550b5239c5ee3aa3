"""What ends a verb early: one line that says what to do next, and the exit status of its kind."""

OK, FAULT, USAGE, NOT_FOUND, NOT_CAPABLE, UNREACHABLE, CALL_FAILED = range(7)
"""``FAULT`` is ours alone: no verb ends with it on purpose."""
INTERRUPTED = 130

EXIT_STATUSES = (
    "Exit status: 0 done · 2 an option, a file or the store is wrong · 3 there is no such thing · "
    "4 the agent cannot do that · 5 no engine, or no Asterisk · 6 the call failed, or was refused"
)


def plainly(text: str) -> str:
    """What pydantic says of a value, in the words of somebody who typed it."""
    return text.removeprefix("Value error, ").replace("Input should", "must").replace("String should", "must")


class Stop(Exception):
    """``str()`` is for the operator as it is."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
