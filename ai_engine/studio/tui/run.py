"""Opens the studio on this terminal."""

from datetime import datetime

from ai_engine.studio.tui.app import StudioApp
from ai_engine.studio.tui.sources import AgentSource, NumberSource, Sources, SwitchboardFactory


def run_tui(switchboard_factory: SwitchboardFactory, numbers: NumberSource, agents: AgentSource) -> int:
    """Until it is left; the exit code. ``switchboard_factory`` is called, on an event loop, for each attempt to reach
    an engine, and gives an asynchronous context manager (a ``StudioClient``); it may raise EngineUnreachable, which is
    shown, and it is tried again. ``numbers`` and ``agents`` are asked in threads."""
    app = StudioApp(Sources(switchboard_factory, numbers, agents, lambda: datetime.now().astimezone()))
    app.run(mouse=False)
    return app.return_code or 0
