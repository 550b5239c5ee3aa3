"""Whether a call may be placed: the rules of the house, and what there is to place it with."""

from collections.abc import Callable, Collection
from pathlib import Path

from ai_engine.dispatch.lines import Trunks
from ai_engine.jobs import limits
from ai_engine.jobs.ports import RequestRefused
from ai_engine.jobs.request import CallRequest
from ai_engine.jobs.settings import CallAgentSettings


class Permission:
    """Asked when somebody wants a call, and again before each dial."""

    def __init__(self, settings: CallAgentSettings, agents: Callable[[], Collection[str]], trunks: Trunks) -> None:
        """``agents`` are those that a request may name now."""
        self._settings = settings
        self._manners = settings.manners
        self._trunks = trunks
        self._agents = agents

    def check(self, request: CallRequest) -> None:
        """Raises RequestRefused. Reads the do-not-call list as it is now: to be called off any event loop."""
        path = self._manners.do_not_call_file
        limits.check_number(self._manners, request.to, _numbers_in(path) if path else ())
        limits.check_wishes(self._settings, request)
        _check_name("agent", request.agent, self._agents())
        self.check_way_out(request)
        if self._manners.windows and not any(window.days for window in self._manners.windows):
            raise RequestRefused("nobody may ever be called: call_agent.manners.windows have no days")

    def check_way_out(self, request: CallRequest) -> None:
        """Raises RequestRefused where there is none, or not that one."""
        trunks = self._trunks()
        _check_name("trunk", request.trunk, trunks)
        if not trunks and self._settings.telephony.provider == "asterisk":
            raise RequestRefused(
                "there is no way out: import a number (`studio number import`), or name one below"
                " call_agent.asterisk.trunks"
            )


def _check_name(what: str, name: str | None, known: Collection[str]) -> None:
    if name is not None and name not in known:
        raise RequestRefused(f"there is no {what} {name!r} (known: {', '.join(known) or 'none'})")


def _numbers_in(path: Path) -> list[str]:
    """Raises RequestRefused: a list that cannot be read must not let anybody be called."""
    try:
        return limits.read_numbers(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as trouble:
        raise RequestRefused(f"the do-not-call list cannot be read: {trouble}") from trouble
