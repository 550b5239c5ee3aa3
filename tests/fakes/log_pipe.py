"""Logging as the engine starts it, and the process as it was before afterwards."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import structlog

from ai_engine.observe.logs import CHATTY, LogPipe, start_logging


@contextmanager
def started(level: str = "info", format: Literal["console", "json"] = "json") -> Iterator[tuple[LogPipe, io.StringIO]]:
    """The pipe, and what it has written."""
    levels = {name: logging.getLogger(name).level for name in (None, *CHATTY)}
    stream = io.StringIO()
    pipe = start_logging(level, format, stream)
    try:
        yield pipe, stream
    finally:
        pipe.stop()
        for name, before in levels.items():
            logging.getLogger(name).setLevel(before)
        structlog.reset_defaults()
