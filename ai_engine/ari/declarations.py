"""The Swagger 1.1 description of the requests we make, carried along so that none is fetched from Asterisk.

Asterisk serves the same thing as a dozen documents, but only where its ``rest-api`` directory is installed, and
with a base address taken from the ``Host`` header that is wrong behind a proxy or TLS.
"""

import re
from itertools import groupby
from typing import Any

_BASE_PATH = "/ari"

_REQUESTS = (
    # resource, aioari's name, method, path, parameters in query or body
    ("applications", "get", "GET", "/applications/{applicationName}", ""),
    ("asterisk", "getInfo", "GET", "/asterisk/info", "only"),
    ("asterisk", "listModules", "GET", "/asterisk/modules", ""),
    ("asterisk", "getModule", "GET", "/asterisk/modules/{moduleName}", ""),
    ("asterisk", "reloadModule", "PUT", "/asterisk/modules/{moduleName}", ""),
    ("asterisk", "getObject", "GET", "/asterisk/config/dynamic/{configClass}/{objectType}/{id}", ""),
    ("asterisk", "updateObject", "PUT", "/asterisk/config/dynamic/{configClass}/{objectType}/{id}", "fields"),
    ("asterisk", "deleteObject", "DELETE", "/asterisk/config/dynamic/{configClass}/{objectType}/{id}", ""),
    ("bridges", "list", "GET", "/bridges", ""),
    ("bridges", "createWithId", "POST", "/bridges/{bridgeId}", "type name"),
    ("bridges", "destroy", "DELETE", "/bridges/{bridgeId}", ""),
    ("bridges", "addChannel", "POST", "/bridges/{bridgeId}/addChannel", "channel"),
    ("channels", "list", "GET", "/channels", ""),
    ("channels", "get", "GET", "/channels/{channelId}", ""),
    ("channels", "create", "POST", "/channels/create", "endpoint app channelId variables"),
    ("channels", "dial", "POST", "/channels/{channelId}/dial", "timeout"),
    (
        "channels",
        "originateWithId",
        "POST",
        "/channels/{channelId}",
        "endpoint app callerId timeout otherChannelId originator formats variables",
    ),
    ("channels", "hangup", "DELETE", "/channels/{channelId}", "reason"),
    ("channels", "answer", "POST", "/channels/{channelId}/answer", ""),
    (
        "channels",
        "continueInDialplan",
        "POST",
        "/channels/{channelId}/continue",
        "context extension priority",
    ),
    ("channels", "getChannelVar", "GET", "/channels/{channelId}/variable", "variable"),
    ("channels", "setChannelVar", "POST", "/channels/{channelId}/variable", "variable value"),
    (
        "channels",
        "externalMedia",
        "POST",
        "/channels/externalMedia",
        "app channelId external_host encapsulation transport connection_type format data transport_data",
    ),
    ("channels", "playWithId", "POST", "/channels/{channelId}/play/{playbackId}", "media"),
    ("channels", "sendDTMF", "POST", "/channels/{channelId}/dtmf", "dtmf"),
    ("channels", "snoopChannelWithId", "POST", "/channels/{channelId}/snoop/{snoopId}", "spy whisper app"),
    ("channels", "startSilence", "POST", "/channels/{channelId}/silence", ""),
    ("channels", "stopSilence", "DELETE", "/channels/{channelId}/silence", ""),
    ("endpoints", "listByTech", "GET", "/endpoints/{tech}", ""),
    ("events", "eventWebsocket", "GET", "/events", "app"),
    ("playbacks", "control", "POST", "/playbacks/{playbackId}/control", "operation"),
    ("playbacks", "get", "GET", "/playbacks/{playbackId}", ""),
    ("playbacks", "stop", "DELETE", "/playbacks/{playbackId}", ""),
)

_IN_BODY = ("variables", "fields")


def declarations() -> dict[str, Any]:
    """A fresh resource listing with its declarations inside; the Swagger client writes into it."""
    by_resource = groupby(_REQUESTS, key=lambda request: request[0])
    return {
        "swaggerVersion": "1.1",
        "basePath": _BASE_PATH,
        "apis": [
            {
                "path": f"/{resource}.json",
                "description": resource,
                "api_declaration": {
                    "basePath": _BASE_PATH,
                    "resourcePath": f"/{resource}",
                    "models": {},
                    "apis": [_describe(*request[1:]) for request in requests],
                },
            }
            for resource, requests in by_resource
        ],
    }


def _describe(nickname: str, method: str, path: str, parameters: str) -> dict[str, Any]:
    in_path = [(name, "path") for name in re.findall(r"{(\w+)}", path)]
    beside = [(name, "body" if name in _IN_BODY else "query") for name in parameters.split()]
    operation = {
        "httpMethod": method,
        "nickname": nickname,
        "responseClass": "json",
        "upgrade": "websocket" if nickname == "eventWebsocket" else "",
        "parameters": [
            {"name": name, "paramType": kind, "dataType": "string", "required": kind == "path"}
            for name, kind in in_path + beside
        ],
    }
    return {"path": path, "operations": [operation]}
