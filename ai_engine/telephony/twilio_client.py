"""Twilio's REST API, as much of it as placing calls needs."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from ai_engine.jobs.settings import Twilio

_TIMEOUT = httpx.Timeout(10.0, connect=5.0)
_MOST_LISTED = 50
_LONGEST_COMPLAINT = 300


class TwilioError(Exception):
    """A request came to nothing; ``str()`` says why, without our token."""

    def __init__(self, reason: str, *, status: int = 0, code: int = 0, unknown: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        """Of HTTP; 0 where there was no answer."""
        self.code = code
        """Twilio's own, like 21211; 0 where it gave none."""
        self.unknown = unknown
        """Twilio may have done it all the same."""

    @property
    def temporary(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in (0, 408, 409, 425, 429) or self.status >= 500


@dataclass(frozen=True, slots=True)
class TwilioCall:
    """One call as Twilio has it."""

    sid: str
    status: str
    """In Twilio's words."""
    direction: str = ""
    created: datetime | None = None
    answered_by: str = ""


class TwilioClient:
    """To be used on one event loop; connections are opened at the first use."""

    def __init__(self, settings: Twilio) -> None:
        self._base = f"{settings.api_base_url.rstrip('/')}/2010-04-01/Accounts/{settings.account_sid}/Calls"
        self._secret = settings.auth_token.get_secret_value()
        pair = f"{settings.account_sid}:{self._secret}".encode()
        self._headers = {"Authorization": f"Basic {b64encode(pair).decode()}", "Accept": "application/json"}
        self._http: httpx.AsyncClient | None = None

    async def create(self, fields: Sequence[tuple[str, str]]) -> TwilioCall:
        """Dial. Raises TwilioError."""
        return _call(await self._ask("POST", ".json", fields))

    async def fetch(self, sid: str) -> TwilioCall:
        """Raises TwilioError."""
        return _call(await self._ask("GET", f"/{_path(sid)}.json"))

    async def update(self, sid: str, status: str) -> TwilioCall:
        """``canceled`` ends a call that is not answered, ``completed`` one that is. Raises TwilioError."""
        return await self._update(sid, [("Status", status)])

    async def redirect(self, sid: str, twiml: str, longest_seconds: int) -> TwilioCall:
        """Let a call in progress go on with ``twiml`` in place of what it does, ``longest_seconds`` in all. Raises
        TwilioError."""
        return await self._update(sid, [("Twiml", twiml), ("TimeLimit", str(longest_seconds))])

    async def latest(self, to: str, from_number: str) -> list[TwilioCall]:
        """Calls between two numbers, the newest first. Raises TwilioError."""
        query = {"To": to, "From": from_number, "PageSize": str(_MOST_LISTED)}
        found = (await self._ask("GET", ".json", query=query)).get("calls")
        calls = [_call(call) for call in found if isinstance(call, dict)] if isinstance(found, list) else []
        return sorted(calls, key=_age)

    async def close(self) -> None:
        """May be called more than once."""
        if self._http is not None:
            await self._http.aclose()
            self._http = None

    async def _update(self, sid: str, fields: Sequence[tuple[str, str]]) -> TwilioCall:
        return _call(await self._ask("POST", f"/{_path(sid)}.json", fields))

    async def _ask(
        self,
        method: str,
        path: str,
        fields: Sequence[tuple[str, str]] = (),
        *,
        query: Mapping[str, str] | None = None,
    ) -> Mapping[str, Any]:
        if self._http is None:
            self._http = httpx.AsyncClient(timeout=_TIMEOUT, follow_redirects=False)
        data: dict[str, list[str]] = {}
        for name, value in fields:
            data.setdefault(name, []).append(value)
        try:
            answer = await self._http.request(
                method, self._base + path, params=query, data=data or None, headers=self._headers
            )
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            raise TwilioError(f"Twilio cannot be reached: {self._clean(error)}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise TwilioError(f"Twilio did not answer: {self._clean(error)}", unknown=True) from None
        return self._understood(answer)

    def _understood(self, answer: httpx.Response) -> Mapping[str, Any]:
        try:
            said = json.loads(answer.content)
        except (ValueError, RecursionError):
            said = None
        fields = said if isinstance(said, dict) else {}
        if answer.is_success and fields:
            return fields
        status = answer.status_code
        message = str(fields.get("message") or answer.reason_phrase or "no JSON")[:_LONGEST_COMPLAINT]
        given = fields.get("code")
        code = given if isinstance(given, int) else 0
        number = f" ({code})" if code else ""
        raise TwilioError(
            f"Twilio answered {status}: {self._clean(message)}{number}",
            status=status,
            code=code,
            # A success that cannot be read is one nevertheless.
            unknown=answer.is_success or status >= 500,
        )

    def _clean(self, said: object) -> str:
        text = str(said) or type(said).__name__
        return text.replace(self._secret, "(token)") if self._secret else text


def _call(fields: Mapping[str, Any]) -> TwilioCall:
    sid = fields.get("sid")
    if not isinstance(sid, str) or not sid:
        raise TwilioError("Twilio answered with a call that has no sid", unknown=True)
    return TwilioCall(
        sid,
        str(fields.get("status") or ""),
        str(fields.get("direction") or ""),
        _moment(fields.get("date_created")),
        str(fields.get("answered_by") or ""),
    )


def _moment(written: object) -> datetime | None:
    """RFC 2822."""
    try:
        return parsedate_to_datetime(str(written)) if written else None
    except ValueError:
        return None


def _age(call: TwilioCall) -> float:
    return -call.created.timestamp() if call.created else 0.0


def _path(sid: str) -> str:
    return "".join(c for c in sid if c.isascii() and c.isalnum())
