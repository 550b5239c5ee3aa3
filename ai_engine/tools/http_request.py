"""The request of an HTTP tool, made from its templates."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlencode

from yarl import URL

from ai_engine.tools.http_settings import HttpToolSettings
from ai_engine.tools.template import as_text, fill, fill_data, is_void, places

_LITERAL = "/%:@!$&'()*+,;=-._~?{}"
"""What a URL of the file may hold as it is; the rest is encoded."""
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent."""

    method: str
    url: URL
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)


def make_request(settings: HttpToolSettings, values: Mapping[str, Any], keys: Mapping[str, str]) -> Request:
    """Raises ValueError, with a sentence free of secrets, when a value does not fit its place."""
    try:
        return Request(
            settings.method,
            _url(settings, values, keys),
            _headers(settings, values, keys),
            _body(settings, values, keys),
        )
    except UnicodeEncodeError:
        raise ValueError("there are characters that cannot be sent") from None


def _url(settings: HttpToolSettings, values: Mapping[str, Any], keys: Mapping[str, str]) -> URL:
    scheme, _, rest = quote(settings.url, safe=_LITERAL).partition("://")
    address, _, literal_query = rest.partition("?")
    host, *segments = address.split("/")
    path = "".join(f"/{_segment(segment, values, keys)}" for segment in segments)
    pairs = [fill(literal_query, values, keys, _quoted)] if literal_query else []
    for name, text in settings.query.items():
        if not is_void(text, values):
            pairs.append(f"{_quoted(name)}={_quoted(fill(text, values, keys))}")
    # Encoded already, and not normalised again: a value must stay where it was put.
    return URL(f"{scheme}://{host}{path or '/'}{'?' if pairs else ''}{'&'.join(pairs)}", encoded=True)


def _segment(template: str, values: Mapping[str, Any], keys: Mapping[str, str]) -> str:
    """One step of a path: a value must neither take it away nor lead out of it."""
    segment = fill(template, values, keys, _quoted)
    if named := [*places(template)]:
        if not segment:
            raise ValueError(f"{named[0]} must not be empty")
        if {".", ".."} & set(re.split(r"[/\\]", unquote(segment))):
            raise ValueError(f"{named[0]} must not lead to another path")
    return segment


def _headers(settings: HttpToolSettings, values: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, str]:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    if settings.body is not None:
        kind = "json" if settings.body_format == "json" else "x-www-form-urlencoded"
        headers["Content-Type"] = f"application/{kind}"
    own = {name.lower() for name in settings.headers}
    headers = {name: text for name, text in headers.items() if name.lower() not in own}
    for name, template in settings.headers.items():
        if is_void(template, values):
            continue
        text = headers[name] = fill(template, values, keys)
        text.encode()
        if _CONTROL.search(text):
            raise ValueError(f"the header {name} would hold a line break or another control character")
    return headers


def _body(settings: HttpToolSettings, values: Mapping[str, Any], keys: Mapping[str, str]) -> bytes | None:
    if settings.body is None:
        return None
    data = fill_data(settings.body, values, keys)
    if settings.body_format == "json":
        return json.dumps(data).encode()
    return urlencode({name: as_text(value) for name, value in data.items()}).encode()


def _quoted(text: str) -> str:
    return quote(text, safe="")
