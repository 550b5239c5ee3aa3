"""Log lines, written by a thread of their own."""

import atexit
import logging
import logging.handlers
import queue
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ai_engine.observe.log_ring import LogRing

_MOST_WAITING = 10_000
_HIDDEN = "[hidden]"
_SECRET_KEY = re.compile(r"password|secret|token|api_key|authorization", re.IGNORECASE)
_SECRET_IN_TEXT = re.compile(
    r"""(?ix) ( \b(?:api_key|password|secret|token|access_token) ['"]? \s*[=:]\s* ['"]?
              | \bauthorization ['"]? \s*[=:]\s* ['"]? (?:basic|bearer|token)? \s* )
        [^\s'"&,;})]+ """
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""Orders to a terminal; tabs and newlines stay, for a traceback has them and the renderer quotes those of values."""
_FIRST_KEYS = ("timestamp", "level", "call_id", "event")


CHATTY = ("aiohttp.access", "websockets", "uvicorn", "mcp", "httpx", "httpcore", "dbos")
"""Libraries that say too much, and of which some would say keys at DEBUG."""


class LogPipe(logging.handlers.QueueHandler):
    """Carries log lines away from whoever logs; a full queue drops the line and counts it in ``dropped``."""

    def __init__(self, target: logging.Handler, most_waiting: int = _MOST_WAITING, ring: LogRing | None = None) -> None:
        """``ring`` holds the latest lines."""
        waiting: queue.Queue[Any] = queue.Queue(most_waiting)
        super().__init__(waiting)
        self.dropped = 0
        self.ring = LogRing() if ring is None else ring
        self._listener = _Listener(waiting, target)
        self._stopped = False
        self._listener.start()
        atexit.register(self.stop)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # formatted by the listener: that is the point

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self.dropped += 1

    def stop(self) -> None:
        """Write what is waiting, then end the thread. May be called more than once."""
        if not self._stopped:
            self._stopped = True
            logging.getLogger().removeHandler(self)
            self._listener.stop()


class _Listener(logging.handlers.QueueListener):
    def __init__(self, waiting: queue.Queue[Any], target: logging.Handler) -> None:
        super().__init__(waiting, target)
        self._waiting = waiting

    def enqueue_sentinel(self) -> None:
        self._waiting.put(None)  # waits for room, where the original would raise


def start_logging(
    level: str = "info", format: Literal["console", "json"] = "console", stream: TextIO | None = None
) -> LogPipe:
    """Send structlog's and the standard library's lines to ``stream`` (standard error); ``stop()`` flushes."""
    ring = LogRing()
    target = logging.StreamHandler(stream or sys.stderr)
    target.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level],
            processors=[_stamp, structlog.processors.format_exc_info, redact, ring, *_renderers(format, target.stream)],
        )
    )
    pipe = LogPipe(target, ring=ring)
    root = logging.getLogger()
    root.addHandler(pipe)
    root.setLevel(level.upper())
    for chatty in CHATTY:
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            _catch,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    return pipe


def _renderers(format: Literal["console", "json"], stream: TextIO) -> list[Processor]:
    if format == "json":
        return [_in_order, structlog.processors.JSONRenderer(default=str)]
    renderer = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(),
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,
        pad_event_to=0,
    )
    return [_in_order, _disarm, renderer]


def _catch(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Take hold of the exception while we are on the thread it was raised on."""
    if event.get("exc_info") is True:
        event["exc_info"] = sys.exc_info()
    return event


def _stamp(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    created = datetime.fromtimestamp(event["_record"].created, UTC)
    event["timestamp"] = created.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return event


def _in_order(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    first = {key: event[key] for key in _FIRST_KEYS if key in event}
    rest = {key: value for key, value in event.items() if key not in first and not key.startswith("_")}
    return first | rest


def _disarm(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """What a caller's phone or a peer sent must not command the operator's terminal."""
    return {key: _CONTROL.sub(_escape, value) if isinstance(value, str) else value for key, value in event.items()}


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Processor: hide values whose key or wording gives them away as secrets."""
    return {key: value if key.startswith("_") else _hide(key, value) for key, value in event.items()}


def _hide(key: str, value: Any) -> Any:
    if _SECRET_KEY.search(key) and not isinstance(value, bool | int | float):
        return _HIDDEN
    if isinstance(value, str):
        return _SECRET_IN_TEXT.sub(rf"\1{_HIDDEN}", value)
    if isinstance(value, Mapping):
        return {inner: _hide(str(inner), found) for inner, found in value.items()}
    if isinstance(value, list | tuple):
        return [_hide("", item) for item in value]
    return value
