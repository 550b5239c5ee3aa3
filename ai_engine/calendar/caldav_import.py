"""Appointments on a CalDAV server (RFC 4791), as iCalendar texts."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from ai_engine.calendar.ics_import import UnreadableCalendar
from ai_engine.calendar.slots import Span
from ai_engine.jobs.settings import Login

_SCHEMES = {"caldav": "http", "caldavs": "https"}


def is_caldav(url: str) -> bool:
    return urlsplit(url).scheme.lower() in _SCHEMES


def read_caldav(url: str, login: Login | None, window: Span, timeout_seconds: int) -> list[bytes]:
    """Of the calendar at ``url``, or of all calendars of its user; blocks, and may take several requests.

    Raises UnreadableCalendar.
    """
    # It loads slowly, and most have no CalDAV server.
    from caldav import DAVClient  # noqa: PLC0415

    try:
        with DAVClient(
            url=_http(url),
            username=login.user if login else None,
            password=login.password.get_secret_value() if login else None,
            timeout=timeout_seconds,
        ) as client:
            return [text for calendar in _calendars(client) for text in _texts(client, calendar, window)]
    except UnreadableCalendar:
        raise
    except Exception as error:  # noqa: BLE001 - the library lets through whatever servers lead it to
        raise UnreadableCalendar(_why(error)) from error


def _http(url: str) -> str:
    parts = urlsplit(url)
    scheme = _SCHEMES[parts.scheme.lower()]
    return urlunsplit((scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))


def _calendars(client: Any) -> list[Any]:
    from caldav.elements import cdav, dav  # noqa: PLC0415 - as above

    here = client.calendar(url=client.url)
    kinds = here.get_property(dav.ResourceType(), parse_props=False)
    if kinds is not None and kinds.find(cdav.Calendar.tag) is not None:
        return [here]
    found: list[Any] = client.principal().calendars()
    if not found:
        raise UnreadableCalendar("there is no calendar, nor a user with one")
    return found


def _texts(client: Any, calendar: Any, window: Span) -> Iterator[bytes]:
    # ``Calendar.search`` silently leaves out what it cannot load, and its time would be free.
    from caldav.elements import cdav  # noqa: PLC0415 - as above

    query, _ = calendar.build_search_xml_query(event=True, start=window.start, end=window.end)
    response = client.report(str(calendar.url), str(query), 1)
    if response.status >= 400 or response.tree is None:
        raise UnreadableCalendar(f"the server answers {response.status} to a query")
    for path, found in response.expand_simple_props([cdav.CalendarData()]).items():
        text = found.get(cdav.CalendarData.tag)
        if text:
            yield str(text).encode()
        elif path.rstrip("/") != calendar.url.path.rstrip("/"):
            yield _loaded(client, calendar, path)


def _loaded(client: Any, calendar: Any, path: str) -> bytes:
    """Some servers do not send along what was asked for."""
    response = client.request(str(calendar.url.join(path)))
    if response.status != 200:
        raise UnreadableCalendar(f"the server answers {response.status} to a request for an appointment")
    return str(response.raw).encode()


def _why(error: Exception) -> str:
    match type(error).__name__:
        case "AuthorizationError":
            return "the server does not accept the user or password"
        case "ConnectionError" | "ConnectTimeout" | "ReadTimeout" | "SSLError":
            return f"the server cannot be reached: {type(error).__name__}"
        case name:
            return f"the server does not answer as a CalDAV server does: {name}"
