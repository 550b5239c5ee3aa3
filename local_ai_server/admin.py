"""The operator's door: who may swap models, and what they ask for."""

import hmac
import ipaddress
from collections.abc import Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.http11 import Request

from local_ai_server.backends import KINDS
from local_ai_server.crews import Crews
from local_ai_server.errors import SettingsError, SwapRefused

PATH = "/models"

Answer = tuple[HTTPStatus, Mapping[str, Any]]


class Admin:
    """``POST /models?stt=…&llm=…&tts=…`` begins a swap; ``/health`` tells how it goes."""

    def __init__(self, crews: Crews, token: str) -> None:
        """``token``: what whoever asks must have; empty: they must be on this machine."""
        self._crews = crews
        self._token = token

    def answer(self, connection: ServerConnection, request: Request) -> Answer:
        if request.method != "POST":
            return HTTPStatus.METHOD_NOT_ALLOWED, {"error": f"POST {PATH}?stt=NAME swaps models; /health shows them"}
        if not self._may(connection, request):
            return HTTPStatus.FORBIDDEN, {"error": _WHO_MAY[bool(self._token)]}
        given = parse_qsl(urlsplit(request.path).query, keep_blank_values=True)
        to = {kind: name for kind, name in given if name}
        if not to or len(to) < len(given) or to.keys() - KINDS.keys():
            return HTTPStatus.BAD_REQUEST, {"error": f"say what to load, each once: {', '.join(KINDS)}"}
        try:
            return HTTPStatus.ACCEPTED, asdict(self._crews.begin_swap(to))
        except SwapRefused as error:
            return HTTPStatus.CONFLICT, {"error": str(error)}
        except SettingsError as error:
            return HTTPStatus.UNPROCESSABLE_ENTITY, {"error": str(error)}

    def _may(self, connection: ServerConnection, request: Request) -> bool:
        if "Origin" in request.headers:  # a web page in the operator's browser, which is on this machine too
            return False
        if self._token:
            given = request.headers.get("Authorization", "")
            return hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode())
        return ipaddress.ip_address(connection.remote_address[0]).is_loopback


_WHO_MAY = {
    True: "who swaps models must send LOCAL_AI_ADMIN_TOKEN as bearer token",
    False: "models are swapped from this machine only, unless LOCAL_AI_ADMIN_TOKEN is set",
}
