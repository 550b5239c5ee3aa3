"""A small CalDAV server (RFC 4791): users, calendars, PROPFIND, calendar-query REPORT and GET, with Basic or no login.

async with caldav_server({"work": [ICS, ...], "home": []}, login=("me", "secret")) as server:
    server.url                  http://127.0.0.1:PORT/
    server.calendar_url("work")
    server.calendars["work"]["a.ics"] = ICS
    server.keeps_data           False: a REPORT leaves the calendar data to be fetched, as some servers do
    server.broken               paths that answer with that status
    server.requests             (method, path) of all that came
"""

import base64
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.etree import ElementTree

import icalendar
import recurring_ical_events
from aiohttp import web
from aiohttp.test_utils import TestServer

DAV, CALDAV = "{DAV:}", "{urn:ietf:params:xml:ns:caldav}"
_PRINCIPAL, _HOME = "/principals/me/", "/calendars/me/"


@dataclass
class CalDavServer:
    calendars: dict[str, dict[str, str]]
    login: tuple[str, str] | None = None
    keeps_data: bool = True
    broken: dict[str, int] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""

    def calendar_url(self, name: str) -> str:
        return f"{self.url.rstrip('/')}{_HOME}{name}/"

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        if self.login and request.headers.get("Authorization") != _basic(*self.login):
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="calendars"'})
        if request.path in self.broken:
            return web.Response(status=self.broken[request.path])
        match request.method:
            case "PROPFIND":
                return self._properties(request.path, request.headers.get("Depth", "0"), await request.text())
            case "REPORT":
                return self._report(request.path, await request.text())
            case "GET" if (text := self._object(request.path)) is not None:
                return web.Response(text=text, content_type="text/calendar")
        return web.Response(status=404)

    def _properties(self, path: str, depth: str, query: str) -> web.Response:
        asked = [prop.tag for prop in ElementTree.fromstring(query).iterfind(f"{DAV}prop/*")]
        paths = [path] if depth == "0" else [path, *self._children(path)]
        if any(self._kind(one) is None for one in paths):
            return web.Response(status=404)
        return _multistatus(_response(one, {tag: self._property(one, tag) for tag in asked}) for one in paths)

    def _children(self, path: str) -> list[str]:
        if path == _HOME:
            return [f"{_HOME}{name}/" for name in self.calendars]
        name = path.removeprefix(_HOME).strip("/")
        return [f"{path}{file}" for file in self.calendars.get(name, ())]

    def _kind(self, path: str) -> str | None:
        if path in ("/", _PRINCIPAL, _HOME):
            return "collection"
        if path.startswith(_HOME) and path.removeprefix(_HOME).strip("/") in self.calendars:
            return "calendar"
        return "object" if self._object(path) is not None else None

    def _property(self, path: str, tag: str) -> ElementTree.Element | None:
        found = ElementTree.Element(tag)
        match tag.removeprefix(DAV).removeprefix(CALDAV):
            case "current-user-principal":
                ElementTree.SubElement(found, f"{DAV}href").text = _PRINCIPAL
            case "calendar-home-set" if path == _PRINCIPAL:
                ElementTree.SubElement(found, f"{DAV}href").text = _HOME
            case "displayname":
                found.text = path.rstrip("/").rpartition("/")[2]
            case "resourcetype":
                if self._kind(path) != "object":
                    ElementTree.SubElement(found, f"{DAV}collection")
                if self._kind(path) == "calendar":
                    ElementTree.SubElement(found, f"{CALDAV}calendar")
            case _:
                return None
        return found

    def _report(self, path: str, query: str) -> web.Response:
        if self._kind(path) != "calendar":
            return web.Response(status=403)
        tree = ElementTree.fromstring(query)
        assert tree.tag == f"{CALDAV}calendar-query", "no other report is known here"
        start, end = _time_range(tree)
        files = self.calendars[path.removeprefix(_HOME).strip("/")]
        found = (name for name, text in files.items() if _has_events(text, start, end))
        return _multistatus(_response(f"{path}{name}", {_DATA: self._data(files[name])}) for name in found)

    def _data(self, text: str) -> ElementTree.Element | None:
        if not self.keeps_data:
            return None
        data = ElementTree.Element(_DATA)
        data.text = text
        return data

    def _object(self, path: str) -> str | None:
        name, _, file = path.removeprefix(_HOME).partition("/")
        return self.calendars.get(name, {}).get(file)


_DATA = f"{CALDAV}calendar-data"


@asynccontextmanager
async def caldav_server(
    calendars: Mapping[str, Sequence[str]], login: tuple[str, str] | None = None
) -> AsyncIterator[CalDavServer]:
    files = {name: {f"{at}.ics": text for at, text in enumerate(texts)} for name, texts in calendars.items()}
    fake = CalDavServer(files, login)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        fake.url = str(server.make_url("/"))
        yield fake


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def _time_range(tree: ElementTree.Element) -> tuple[datetime, datetime]:
    component = tree.find(f"{CALDAV}filter/{CALDAV}comp-filter/{CALDAV}comp-filter")
    assert component is not None
    assert component.get("name") == "VEVENT"
    limits = component.find(f"{CALDAV}time-range")
    assert limits is not None
    return _moment(limits.get("start", "")), _moment(limits.get("end", ""))


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def _has_events(text: str, start: datetime, end: datetime) -> bool:
    return bool(recurring_ical_events.of(icalendar.Calendar.from_ical(text)).between(start, end))


def _response(path: str, properties: Mapping[str, ElementTree.Element | None]) -> ElementTree.Element:
    response = ElementTree.Element(f"{DAV}response")
    ElementTree.SubElement(response, f"{DAV}href").text = path
    for status, wanted in (("200 OK", True), ("404 Not Found", False)):
        tags = [tag for tag, found in properties.items() if (found is not None) == wanted]
        if tags:
            propstat = ElementTree.SubElement(response, f"{DAV}propstat")
            prop = ElementTree.SubElement(propstat, f"{DAV}prop")
            for tag in tags:
                found = properties[tag]
                prop.append(ElementTree.Element(tag) if found is None else found)
            ElementTree.SubElement(propstat, f"{DAV}status").text = f"HTTP/1.1 {status}"
    return response


def _multistatus(responses: Iterator[ElementTree.Element]) -> web.Response:
    tree = ElementTree.Element(f"{DAV}multistatus")
    tree.extend(responses)
    text = ElementTree.tostring(tree, encoding="utf-8", xml_declaration=True)
    return web.Response(status=207, body=text, content_type="application/xml")
