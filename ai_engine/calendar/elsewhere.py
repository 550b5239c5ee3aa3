"""Calendars elsewhere, read again and again; what is busy there counts here."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import httpx
import structlog
from sqlalchemy.exc import SQLAlchemyError

from ai_engine.calendar.caldav_import import is_caldav, read_caldav
from ai_engine.calendar.ics_import import UnreadableCalendar, busy_in
from ai_engine.calendar.slots import Span
from ai_engine.calendar.store import Store
from ai_engine.jobs.settings import Login, login_name

log = structlog.get_logger(__name__)

BEHIND, AHEAD = timedelta(days=2), timedelta(days=400)
"""How far around now they are read."""

_STALE = timedelta(hours=12)
"""What has not changed is worked out again after so long, since ``AHEAD`` has moved on."""

_READ_SECONDS = 20
_MOST_BYTES = 20 * 1024 * 1024
_WEB = {"http": "http", "https": "https", "webcal": "https", "webcals": "https"}


@dataclass(slots=True)
class Source:
    """A calendar elsewhere, and how the reading of it goes."""

    url: str
    login: Login | None = None
    read_at: datetime | None = None
    """When it was read for the last time since we started; None: what counts is what was read before, if anything."""
    appointments: int | None = None
    misunderstood: int = 0
    failures: int = 0
    """In a row."""
    error: str = ""
    digest: bytes = b""
    """Of what was worked out, at ``worked_out_at``."""
    worked_out_at: datetime | None = None

    @property
    def id(self) -> str:
        """For the store: the path of a private calendar is its password."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:32]

    @property
    def public_name(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}/…" if "://" in self.url and parts.hostname else self.url

    def health(self) -> dict[str, Any]:
        known = {
            "calendar": self.public_name,
            "ok": not self.error,
            "read_at": self.read_at and self.read_at.isoformat(timespec="seconds"),
            "appointments": self.appointments,
            "misunderstood": self.misunderstood or None,
            "failures": self.failures or None,
            "error": self.error or None,
        }
        return {name: value for name, value in known.items() if value is not None}


class Elsewhere:
    """Reads in threads, one calendar after the other."""

    def __init__(
        self,
        urls: tuple[str, ...],
        logins: Mapping[str, Login],
        store: Store,
        clock: Callable[[], float],
        own_zone: ZoneInfo,
    ) -> None:
        """``clock`` is epoch seconds; times without a zone are meant in ``own_zone``."""
        self.sources = [Source(url, logins.get(login_name(url))) for url in urls]
        self._store = store
        self._clock = clock
        self._zone = own_zone

    async def keep_reading(self, every_seconds: float) -> None:
        """For ever."""
        while True:
            await self.read_all()
            await asyncio.sleep(every_seconds)

    async def read_all(self) -> None:
        """Each once. Of one that cannot be read, what was known of it goes on to count."""
        for source in self.sources:
            await asyncio.to_thread(self._read, source)

    def _read(self, source: Source) -> None:
        now = datetime.fromtimestamp(self._clock(), UTC)
        window = Span(now - BEHIND, now + AHEAD)
        try:
            texts = _texts(source, window)
            self._work_out(source, texts, window, now)
        except (UnreadableCalendar, SQLAlchemyError) as error:
            source.failures += 1
            source.error = str(error) if isinstance(error, UnreadableCalendar) else type(error).__name__
            log.error("a calendar elsewhere cannot be read", calendar=source.public_name, reason=source.error)
            return
        if source.error:
            log.info("a calendar elsewhere can be read again", calendar=source.public_name)
        source.read_at, source.failures, source.error = now, 0, ""

    def _work_out(self, source: Source, texts: Sequence[bytes], window: Span, now: datetime) -> None:
        """Unless nothing has changed: it takes its time, and calls want theirs."""
        digest = hashlib.sha256(b"\0".join(sorted(texts))).digest()
        if digest == source.digest and source.worked_out_at is not None and now - source.worked_out_at < _STALE:
            return
        parts = [busy_in(text, window, self._zone) for text in texts]
        found, bad = [taken for part, _ in parts for taken in part], sum(bad for _, bad in parts)
        self._store.replace_imported(source.id, found)
        source.digest, source.worked_out_at = digest, now
        source.appointments, source.misunderstood = len(found), bad
        told = {"calendar": source.public_name, "appointments": len(found), "misunderstood": bad}
        (log.warning if bad else log.info)("a calendar elsewhere was read", **told)


def _texts(source: Source, window: Span) -> list[bytes]:
    if is_caldav(source.url):
        return read_caldav(source.url, source.login, window, _READ_SECONDS)
    return [_read_ics(source.url, source.login)]


def _read_ics(url: str, login: Login | None) -> bytes:
    scheme = urlsplit(url).scheme.lower() if "://" in url else "file"
    if scheme == "file":
        return _read_file(Path(unquote(urlsplit(url).path) if "://" in url else url))
    if scheme not in _WEB:
        raise UnreadableCalendar(f"nobody knows how to read {scheme}://")
    return _fetch(_web_url(url), login)


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableCalendar(f"the file cannot be read: {error.strerror or error}") from error


def _web_url(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit((_WEB[parts.scheme.lower()], parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))


def _fetch(url: str, login: Login | None) -> bytes:
    credentials = (login.user, login.password.get_secret_value()) if login else None
    body = bytearray()
    try:
        with httpx.stream("GET", url, auth=credentials, timeout=_READ_SECONDS, follow_redirects=True) as response:
            if response.status_code != httpx.codes.OK:
                raise UnreadableCalendar(f"the server answers {response.status_code}")
            for piece in response.iter_bytes():
                body += piece
                if len(body) > _MOST_BYTES:
                    raise UnreadableCalendar(f"it has more than {_MOST_BYTES} bytes")
    except httpx.HTTPError as error:
        raise UnreadableCalendar(f"the server cannot be reached: {type(error).__name__}") from error
    return bytes(body)
