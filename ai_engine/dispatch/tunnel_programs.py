"""What the programs that open tunnels are asked, and what they answer."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_TS_NET = re.compile(r"(https://[a-z0-9-]+(?:\.[a-z0-9-]+)*\.ts\.net)(?::443)?(?![\w.@-]*\w|:\d)", re.IGNORECASE)
_NGROK = re.compile(r"https://[^\s/]+")
_TOKEN = re.compile(r"\b[A-Za-z0-9_]{24,}\b")
_MOST_OF_A_REASON = 300


@dataclass(frozen=True, slots=True)
class Program:
    """One that opens a tunnel to a port of this machine."""

    name: str
    open: tuple[str, ...]
    """Its arguments; ``{port}`` is our port."""
    url_in: Callable[[str], str | None]
    """The URL, where a line of its output has it."""
    reason_in: Callable[[str], str | None]
    """Why it does not open, where a line says so."""
    stays: bool
    """Whether the tunnel lasts as long as the program does; else it has to be closed with ``off``."""
    off: tuple[str, ...] = ()
    next_step: str = ""
    """What to do where it does not open."""


def ngrok_url(line: str) -> str | None:
    said = _object(line)
    url = said.get("url")
    if said.get("msg") != "started tunnel" or not isinstance(url, str):
        return None
    found = _NGROK.match(url)  # it may open one for http, too
    return found.group() if found else None


def ngrok_reason(line: str) -> str | None:
    """Of its JSON lines the errors, and what is no JSON: it complains so about its arguments."""
    if not line.startswith("{"):
        return readable(line.removeprefix("ERROR:")) or None
    why = _object(line).get("err")
    return readable(why) if isinstance(why, str) and why not in ("", "<nil>") else None


def tailscale_url(line: str) -> str | None:
    """Others are pages to log in at, or our own port."""
    found = _TS_NET.search(line)
    return found.group(1).lower() if found else None


def readable(line: str) -> str | None:
    """One line without what looks like a token: ngrok repeats it in what it complains about."""
    return _TOKEN.sub("…", " ".join(line.split()))[:_MOST_OF_A_REASON] or None


def _object(line: str) -> Mapping[str, object]:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


PROGRAMS = {
    "ngrok": Program(
        "ngrok",
        ("http", "{port}", "--log=stdout", "--log-format=json"),
        ngrok_url,
        ngrok_reason,
        stays=True,
        next_step="try `ngrok http {port}` by hand; a new account needs `ngrok config add-authtoken`",
    ),
    "tailscale": Program(
        "tailscale",
        # In the background, since the program in the foreground would take a key press for its end.
        ("funnel", "--bg", "--yes", "--https=443", "http://127.0.0.1:{port}"),
        tailscale_url,
        readable,
        stays=False,
        off=("funnel", "--https=443", "off"),
        next_step="try `tailscale funnel {port}` by hand; it may want Funnel allowed, or `tailscale set --operator`",
    ),
}
"""In the order in which `auto` tries them."""
