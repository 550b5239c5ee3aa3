"""The studio as a full screen in a terminal; imported only when it is opened, since Textual takes its time."""

from ai_engine.studio.tui.run import run_tui

__all__ = ["run_tui"]
