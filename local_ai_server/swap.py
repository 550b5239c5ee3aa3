"""The operator's command that swaps models in the server that runs."""

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from local_ai_server.admin import PATH
from local_ai_server.config import Wish
from local_ai_server.errors import JobFailed, SettingsError, SwapRefused

_ANSWER_SECONDS = 10.0
_POLL_SECONDS = 0.5
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Past any ``http_proxy``: it is this machine, mostly."""


def run(wish: Wish) -> None:
    """Ask for the swap and say how it went. Raises SettingsError, SwapRefused, JobFailed: nothing has changed then."""
    _ask(wish, "POST", f"{PATH}?{urlencode(dict(wish.to))}")
    print(f"loading {_names(wish.to)} beside what serves now; calls go on")
    health = _ask(wish, "GET", "/health")
    while health["swap"]["state"] == "loading":
        time.sleep(_POLL_SECONDS)
        health = _ask(wish, "GET", "/health")
    swap = health["swap"]
    if swap["state"] == "failed":
        raise JobFailed(f"{swap['error']}; the old models serve on")
    print(f"loaded in {swap['seconds']:g} s; new calls have {_names(health['backends'])}")
    waiting = sum(old["sessions"] for old in health["retiring"])
    if waiting:
        print(f"{waiting} running calls have the old models for their present turn, or to their end: /health tells")


def _ask(wish: Wish, method: str, path: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {wish.token}"} if wish.token else {}
    request = urllib.request.Request(f"http://{wish.address}{path}", method=method, headers=headers)
    try:
        with _DIRECT.open(request, timeout=_ANSWER_SECONDS) as reply:
            said: dict[str, Any] = json.load(reply)
            return said
    except urllib.error.HTTPError as refusal:
        with refusal:
            return _refused(refusal)
    except (OSError, http.client.HTTPException, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise SwapRefused(
            f"no server answers at {wish.address} ({reason}); --host and --port say where it is"
        ) from None


def _refused(refusal: urllib.error.HTTPError) -> dict[str, Any]:
    try:
        said = json.load(refusal)
    except ValueError:
        said = {}
    if refusal.code == HTTPStatus.SERVICE_UNAVAILABLE and "swap" in said:
        return dict(said)  # a server whose workers are all being replaced still tells how it is
    why = str(said.get("error", refusal.reason))
    raise SettingsError(why) if refusal.code == HTTPStatus.UNPROCESSABLE_ENTITY else SwapRefused(why)


def _names(backends: Mapping[str, str]) -> str:
    return ", ".join(f"{kind} {name}" for kind, name in backends.items())
