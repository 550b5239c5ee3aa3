"""What `studio logs` does."""

import json
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

from rich.console import Console
from rich.text import Text

from ai_engine.studio.client import StudioClient
from ai_engine.studio.engines import ask, one
from ai_engine.studio.errors import OK
from ai_engine.studio.place import place
from ai_engine.studio.where import Where
from ai_engine.switchboard.models import LogLine
from ai_engine.web.call_screen import console, printable

_STYLES = {"debug": "dim", "info": "", "warning": "yellow", "error": "red", "critical": "bold red"}


def show_logs(where: Where, call_id: str, *, follow: bool, as_json: bool) -> int:
    """With ``follow`` until Ctrl-C. Raises Stop."""
    engine = one(where, place(where))
    screen = console()

    async def shown(client: StudioClient) -> None:
        async with aclosing(client.logs(call_id, follow=follow)) as lines:
            async for line in lines:
                if as_json:
                    print(json.dumps(line.as_json(), ensure_ascii=False), flush=True)
                else:
                    _show(screen, line)

    try:
        ask(engine, shown)
    except KeyboardInterrupt:
        if not follow:
            raise
    return OK


def _show(screen: Console, line: LogLine) -> None:
    text = Text.assemble(
        (f"{line.at.astimezone():%H:%M:%S.%f}"[:12] + "  ", "dim"),
        (f"{line.level:8}", _STYLES.get(line.level, "")),
        printable(line.event),
    )
    if line.call_id:
        text.append(f"  {printable(line.call_id)}", "cyan")
    text.append("".join(f"  {key}={printable(_value(value))}" for key, value in _fields(line).items()), "dim")
    screen.print(text, soft_wrap=True)


def _fields(line: LogLine) -> Mapping[str, Any]:
    return {key: value for key, value in line.fields.items() if key != "call_id"}


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
