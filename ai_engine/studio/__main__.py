"""The command line of `studio`."""

import os
import sys
from collections.abc import Mapping, Sequence

from typer.exceptions import Abort, TyperException

from ai_engine.errors import ConfigError
from ai_engine.studio.app import app
from ai_engine.studio.errors import INTERRUPTED, USAGE, Stop
from ai_engine.studio.where import Where


def main(arguments: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """The exit status, as ``errors`` has them."""
    where = Where(dict(os.environ if environ is None else environ))  # noqa: TID251  the one place
    try:
        status = app(arguments, prog_name="studio", standalone_mode=False, obj=where)
        return status if isinstance(status, int) else 0
    except Stop as stop:
        return _told(str(stop), stop.status)
    except ConfigError as error:
        return _told(str(error), USAGE)
    except TyperException as error:
        return _misused(error)
    except (Abort, KeyboardInterrupt):
        return INTERRUPTED


def _misused(error: TyperException) -> int:
    ctx = getattr(error, "ctx", None)
    command = ctx.command_path if ctx is not None else "studio"
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    if not text:  # help was shown instead
        return USAGE
    option = getattr(error, "option_name", "")
    if option in ("--config", "--env-file", "--url", "--token", "--engine"):
        return _told(f"{text}; it stands before the verb: studio {option} … {command.partition(' ')[2]}", USAGE)
    return _told(f"{text} ({command} --help shows how)", USAGE)


def _told(text: str, status: int) -> int:
    for line in text.splitlines():
        print(f"studio: {line}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
