"""Log lines: complete, without secrets, and written by somebody else."""

import io
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from ai_engine.observe.logs import LogPipe, redact
from tests.fakes.log_pipe import started

Start = Callable[..., tuple[LogPipe, io.StringIO]]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as pipes:
        yield lambda level="info", format="json": pipes.enter_context(started(level, format))


def written(pipe: LogPipe, stream: io.StringIO) -> list[dict[str, Any]]:
    pipe.stop()
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_line_begins_with_time_level_and_call(start: Start) -> None:
    pipe, stream = start()
    structlog.get_logger("x").info("caller said", text="hello", call_id="c1")
    [line] = written(pipe, stream)
    assert list(line) == ["timestamp", "level", "call_id", "event", "text"]
    assert (line["level"], line["call_id"], line["event"], line["text"]) == ("info", "c1", "caller said", "hello")
    assert line["timestamp"].endswith("Z")
    assert abs(datetime.fromisoformat(line["timestamp"]) - datetime.now(UTC)) < timedelta(seconds=10)


def test_console_line(start: Start) -> None:
    pipe, stream = start(format="console")
    structlog.get_logger("x").warning("media lost", reason="gone", call_id="c1")
    pipe.stop()
    line = stream.getvalue()
    assert "[warning" in line
    assert line.index("call_id=c1") < line.index("reason=gone")
    assert "\x1b" not in line


def test_nobody_commands_the_terminal(start: Start) -> None:
    pipe, stream = start(format="console")
    structlog.get_logger("x").info("call started", caller="1\x1b[2Jx", name="\x9b2J\x7f\b", facts={"a": "\x1b[2J"})
    logging.getLogger("some.library").error("bad \x1b[2J line")
    try:
        raise ValueError("\x1b[2J")
    except ValueError:
        structlog.get_logger("x").exception("lost")
    pipe.stop()
    written = stream.getvalue()
    assert not set("\x1b\x9b\x7f\b") & set(written)
    assert r"caller=1\x1b[2Jx" in written
    assert "Traceback (most recent call last):\n" in written


def test_the_standard_library_uses_the_same_door(start: Start) -> None:
    pipe, stream = start()
    logging.getLogger("some.library").error("refused %s", "x")
    [line] = written(pipe, stream)
    assert (line["level"], line["event"]) == ("error", "refused x")


def test_level(start: Start) -> None:
    pipe, stream = start("warning")
    structlog.get_logger("x").info("quiet")
    structlog.get_logger("x").error("loud")
    assert [line["event"] for line in written(pipe, stream)] == ["loud"]


@pytest.mark.parametrize("format", ["json", "console"])
def test_exceptions_are_told_without_secrets(start: Start, format: str) -> None:
    pipe, stream = start(format=format)
    try:
        raise OSError("GET /ari/events?api_key=offhook:swordfish&app=x failed")
    except OSError:
        structlog.get_logger("x").exception("ari lost")
    pipe.stop()
    assert "OSError" in stream.getvalue()
    assert "test_logs.py" in stream.getvalue()
    assert "swordfish" not in stream.getvalue()


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "swordfish"},
        {"ASTERISK_ARI_PASSWORD": "swordfish"},
        {"api_key": "swordfish"},
        {"headers": {"Authorization": "Bearer swordfish"}},
        {"deep": [{"access_token": "swordfish"}]},
        {"url": "ws://h/ari/events?api_key=swordfish&app=x"},
        {"text": "Authorization: Basic swordfish"},
        {"text": "{'Authorization': 'Bearer swordfish', 'x': 1}"},
        {"text": 'password="swordfish"'},
    ],
)
def test_secrets_are_hidden(fields: dict[str, Any]) -> None:
    hidden = redact(None, "info", {"event": "x", **fields})
    assert "swordfish" not in str(hidden)
    assert "[hidden]" in str(hidden)


@pytest.mark.parametrize("fields", [{"tokens": 12}, {"text": "I forgot my password, the secret one"}, {"caller": "1"}])
def test_what_is_no_secret_stays(fields: dict[str, Any]) -> None:
    assert redact(None, "info", {"event": "x", **fields}) == {"event": "x", **fields}


def test_slow_stream_holds_nobody_up_and_drops_are_counted() -> None:
    go_on, waiting = threading.Event(), threading.Event()

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            waiting.set()
            assert go_on.wait(10)

    pipe = LogPipe(Slow(), most_waiting=3)
    record = logging.LogRecord("x", logging.INFO, "", 0, "x", None, None)
    pipe.handle(record)
    assert waiting.wait(10)
    for _ in range(5):
        pipe.handle(record)
    assert pipe.dropped == 2
    threading.Timer(0.05, go_on.set).start()
    pipe.stop()  # even with a full queue
    pipe.stop()


def test_lines_are_flushed_when_the_program_ends() -> None:
    program = (
        "import structlog\n"
        "from ai_engine.observe.logs import start_logging\n"
        "start_logging('info', 'json')\n"
        "for n in range(500): structlog.get_logger('x').info('line', n=n)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True, timeout=30
    )
    assert [json.loads(line)["n"] for line in done.stderr.splitlines()] == list(range(500))
