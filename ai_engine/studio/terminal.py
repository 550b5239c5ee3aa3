"""Opens the terminal studio on what the options say."""

import sys

from ai_engine.config.agent_files import AgentFiles
from ai_engine.studio.client import StudioClient
from ai_engine.studio.engines import one
from ai_engine.studio.errors import USAGE, Stop
from ai_engine.studio.numbers import open_store
from ai_engine.studio.place import place
from ai_engine.studio.tui.run import run_tui
from ai_engine.studio.where import Where
from ai_engine.web.connection import EngineUnreachable


def open_terminal(where: Where) -> int:
    """Until it is left; raises Stop where there is no terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Stop(USAGE, "there is no terminal to draw on; `studio --help` lists the verbs")
    here = place(where)

    def switchboard() -> StudioClient:
        try:
            engine = one(where, here)  # anew each time: an engine may have been started meanwhile
        except Stop as stop:
            raise EngineUnreachable(str(stop)) from stop
        return StudioClient(engine.url, engine.token)

    return run_tui(switchboard, open_store(where, here), AgentFiles(here.settings.agents))
