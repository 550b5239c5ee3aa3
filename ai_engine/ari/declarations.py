"""The Swagger 1.1 description of the requests we make, carried along so that none is fetched from Asterisk.

Asterisk serves the same thing as a dozen documents, but only where its ``rest-api`` directory is installed, and
with a base address taken from the ``Host`` header that is wrong behind a proxy or TLS.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any

BASE_PATH = "/ari"


@dataclass(frozen=True, slots=True)
class _Operation:
    resource: str
    nickname: str
    method: str
    path: str
    query: tuple[str, ...] = ()
    body: tuple[str, ...] = ()
    answers: bool = False
    upgrade: bool = False


_OPERATIONS = (
    _Operation("applications", "get", "GET", "/applications/{applicationName}", answers=True),
    _Operation("asterisk", "getInfo", "GET", "/asterisk/info", ("only",), answers=True),
    _Operation("asterisk", "getModule", "GET", "/asterisk/modules/{moduleName}", answers=True),
    _Operation("bridges", "list", "GET", "/bridges", answers=True),
    _Operation("bridges", "createWithId", "POST", "/bridges/{bridgeId}", ("type", "name"), answers=True),
    _Operation("bridges", "destroy", "DELETE", "/bridges/{bridgeId}"),
    _Operation("bridges", "addChannel", "POST", "/bridges/{bridgeId}/addChannel", ("channel",)),
    _Operation("channels", "list", "GET", "/channels", answers=True),
    _Operation("channels", "get", "GET", "/channels/{channelId}", answers=True),
    _Operation("channels", "hangup", "DELETE", "/channels/{channelId}", ("reason",)),
    _Operation("channels", "answer", "POST", "/channels/{channelId}/answer"),
    _Operation(
        "channels",
        "continueInDialplan",
        "POST",
        "/channels/{channelId}/continue",
        ("context", "extension", "priority"),
    ),
    _Operation(
        "channels",
        "getChannelVar",
        "GET",
        "/channels/{channelId}/variable",
        ("variable",),
        answers=True,
    ),
    _Operation("channels", "setChannelVar", "POST", "/channels/{channelId}/variable", ("variable", "value")),
    _Operation(
        "channels",
        "externalMedia",
        "POST",
        "/channels/externalMedia",
        (
            "app",
            "channelId",
            "external_host",
            "encapsulation",
            "transport",
            "connection_type",
            "format",
            "data",
        ),
        answers=True,
    ),
    _Operation("events", "eventWebsocket", "GET", "/events", ("app", "subscribeAll"), answers=True, upgrade=True),
)


def declarations() -> dict[str, Any]:
    """A fresh resource listing with its declarations inside; the Swagger client writes into it."""
    return {
        "swaggerVersion": "1.1",
        "basePath": BASE_PATH,
        "apis": [
            {
                "path": f"/{resource}.json",
                "description": resource,
                "api_declaration": _declaration(resource, operations),
            }
            for resource, operations in groupby(_OPERATIONS, key=lambda operation: operation.resource)
        ],
    }


def _declaration(resource: str, operations: Iterable[_Operation]) -> dict[str, Any]:
    return {
        "basePath": BASE_PATH,
        "resourcePath": f"/{resource}",
        "models": {},
        "apis": [{"path": operation.path, "operations": [_describe(operation)]} for operation in operations],
    }


def _describe(operation: _Operation) -> dict[str, Any]:
    in_path = re.findall(r"{(\w+)}", operation.path)
    parameters = [("path", in_path), ("query", operation.query), ("body", operation.body)]
    described = {
        "httpMethod": operation.method,
        "nickname": operation.nickname,
        "responseClass": "json" if operation.answers else "void",
        "parameters": [
            {"name": name, "paramType": kind, "dataType": "string", "required": kind == "path"}
            for kind, names in parameters
            for name in names
        ],
    }
    return described | ({"upgrade": "websocket"} if operation.upgrade else {})
