"""A folder with an .ics file of every appointment, by calendar."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path
from urllib.parse import quote

import structlog

from ai_engine.calendar.ics import event_ics
from ai_engine.calendar.store import Event

log = structlog.get_logger(__name__)

_LONGEST_NAME = 200


class IcsFolder:
    """``DIRECTORY/CALENDAR/EVENTID.ics``. Every method blocks, and may be called from several threads."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.failures = 0
        """Files that could not be written."""

    def write(self, event: Event) -> None:
        """The file is there as a whole, or as it was. Where it cannot be written that is logged: the appointment holds
        all the same, and ``write_missing`` makes up for it."""
        path = self._path(event)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, event_ics(event))
        except OSError as error:
            self.failures += 1
            log.error("an appointment cannot be written as .ics", path=str(path), reason=str(error))

    def write_missing(self, events: list[Event]) -> None:
        """After a crash between an appointment and its file, or its cancellation."""
        for event in events:
            if not _is_written(self._path(event), event):
                self.write(event)

    def _path(self, event: Event) -> Path:
        return self._directory / folder_name(event.calendar_id) / f"{event.id}.ics"


def folder_name(calendar_id: str) -> str:
    """One folder for each calendar, whatever it is called; never ``..``, nor a name of the store's own files."""
    name = quote(calendar_id, safe="@+ ")
    if name.startswith((".", "calendar.sqlite")):
        name = name.replace(".", "%2E", 1)
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:100]}~{hashlib.sha256(calendar_id.encode()).hexdigest()[:32]}"


def _is_written(path: Path, event: Event) -> bool:
    try:
        return path.read_bytes() == event_ics(event)
    except OSError:
        return False


def _replace(path: Path, content: bytes) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
