"""A tool that is a request to somebody's HTTP server."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import structlog
from yarl import URL

from ai_engine.remote.http import SharedHttp
from ai_engine.session.ports import ToolContext
from ai_engine.tools.answer import MOST_BYTES, Censor, Result, cut, failed
from ai_engine.tools.http_request import Request, make_request
from ai_engine.tools.http_settings import HttpToolSettings

log = structlog.get_logger(__name__)

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 3


class HttpTool:
    """Implements ``Tool``; used by all calls."""

    def __init__(self, name: str, settings: HttpToolSettings, keys: Mapping[str, str], http: SharedHttp) -> None:
        """``keys`` holds at least the secrets that ``settings`` refer to, by name."""
        self.name = name
        self.description = settings.description
        self.parameters = settings.schema_of_arguments
        self.timeout_seconds = settings.timeout
        self._settings = settings
        self._keys = {key: keys[key] for key in settings.secrets()}
        self._censor = Censor(self._keys.values())
        self._http = http

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> Result:
        return await self.ask({**call.facts, "call_id": call.call_id, **arguments})

    async def ask(self, values: Mapping[str, Any]) -> Result:
        """What came of it, with ``values`` in the places, within ``timeout_seconds``; never raises."""
        try:
            async with asyncio.timeout(self.timeout_seconds):
                result = await self._send(make_request(self._settings, values, self._keys))
        except TimeoutError:
            result = failed(f"{self.name} did not answer within {self.timeout_seconds:g} s")
        except (aiohttp.ClientError, OSError) as error:
            result = failed(f"{self.name} cannot be reached ({type(error).__name__})")
        except ValueError as error:
            result = failed(f"{self.name}: {error}")
        except RecursionError:
            result = failed(f"{self.name}: its answer is nested too deeply")
        if not result["ok"]:
            result = self._censor.data(result)
            log.warning("tool failed", tool=self.name, call_id=values.get("call_id"), error=result["error"])
        return result

    async def _send(self, request: Request) -> Result:
        method, url, body = request.method, request.url, request.body
        for _ in range(_MOST_REDIRECTS + 1):
            async with self._http.session().request(
                method, url, headers=request.headers, data=body, allow_redirects=False
            ) as response:
                target = response.headers.get("Location", "")
                if self._is_success(response.status) or response.status not in _REDIRECTS or not target:
                    return await self._read(response)
            there = url.join(URL(target))
            if there.origin() != url.origin():
                return failed(f"{self.name} was sent on to another server, which is not followed")
            if response.status not in (307, 308):
                method, body = "GET", None
            url = there
        return failed(f"{self.name} was sent on too often")

    def _is_success(self, status: int) -> bool:
        success = self._settings.success
        return 200 <= status < 300 if success is None else status in success

    async def _read(self, response: aiohttp.ClientResponse) -> Result:
        if not self._is_success(response.status):
            return failed(f"{self.name} answered {response.status}")
        raw = b""
        async for piece in response.content.iter_any():
            raw += piece
            if len(raw) > MOST_BYTES:
                response.close()
                break
        return self._result(raw[: MOST_BYTES + 1])

    def _result(self, raw: bytes) -> Result:
        try:
            data = json.loads(raw, parse_constant=_refuse) if len(raw) <= MOST_BYTES else None
            is_json = data is not None or raw.strip() == b"null"
        except (ValueError, RecursionError):
            data, is_json = None, False
        if not self._settings.result:
            if not raw.strip():
                return {"ok": True}
            return {"ok": True, "result": self._censor.data(data if is_json else cut(raw.decode("utf-8", "replace")))}
        if len(raw) > MOST_BYTES:
            return failed(f"{self.name} answered more than {MOST_BYTES // 1024} KiB")
        if not is_json:
            return failed(f"{self.name} did not answer in JSON")
        found = {name: _at(path, data) for name, path in self._settings.result.items()}
        return {"ok": True, "result": self._censor.data(found)}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _at(path: str, data: Any) -> Any:
    """The part of an answer a dotted path leads to, None where it leads nowhere."""
    for step in path.split("."):
        if isinstance(data, Mapping):
            data = data.get(step)
        elif isinstance(data, list) and step.isdecimal() and int(step) < len(data):
            data = data[int(step)]
        else:
            return None
    return data
