"""What is wrong with a request, as RFC 9457 has it: `application/problem+json`."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any, Literal

from pydantic_core import ErrorDetails
from starlette.responses import JSONResponse

from ai_engine.jobs.request import CallRequest, Wire

Kind = Literal[
    "asterisk",
    "bad-request",
    "call-refused",
    "failed",
    "key-reused",
    "no-such-call",
    "not-allowed",
    "not-capable",
    "not-found",
    "refused",
    "too-large",
    "too-slow",
    "unreachable",
]

URN = "urn:offhook:"
"""Before the kind, in ``type``."""

_MOST_CHARACTERS = 300
"""Of a message: it may quote what was sent."""


class Problem(Exception):
    """An answer that is not what was asked for; ``str()`` is its detail, which says what to do next."""

    def __init__(
        self,
        status: int,
        kind: Kind,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.headers = dict(headers or {})
        self.errors = list(errors)
        """One for each wrong key: ``pointer`` (RFC 6901) and ``detail``."""

    def as_json(self) -> dict[str, Any]:
        body = {
            "type": URN + self.kind,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": str(self),
        }
        return {**body, "errors": self.errors} if self.errors else body

    def response(self) -> JSONResponse:
        return JSONResponse(self.as_json(), self.status, self.headers, media_type="application/problem+json")


def invalid(errors: Sequence[ErrorDetails], model: type[Wire] = CallRequest) -> Problem:
    """What pydantic found in a ``model``, each under the name of its key."""
    wrong = [_wrong(error, model) for error in errors]
    detail = "; ".join(f"{one['pointer'].lstrip('/') or 'body'}: {one['detail']}" for one in wrong)
    return Problem(422, "bad-request", detail, errors=wrong)


def _wrong(error: ErrorDetails, model: type[Wire]) -> dict[str, str]:
    # Where FastAPI looked comes first: body, query or path.
    place = [str(part) for part in error["loc"] if part not in ("body", "query", "path", "header")]
    return {
        "pointer": "".join(f"/{part}" for part in place[:8])[:_MOST_CHARACTERS],
        "detail": _said(error, place, model),
    }


def _said(error: ErrorDetails, place: Sequence[str], model: type[Wire]) -> str:
    match error["type"]:
        case "extra_forbidden":
            return f"there is no such key{_meant(place[-1], model)}"
        case "missing":
            return "is missing"
        case _:
            return error["msg"].removeprefix("Value error, ")[:_MOST_CHARACTERS]


def _meant(word: str, model: type[Wire]) -> str:
    known = [str(field.alias) for field in model.model_fields.values()]
    close = get_close_matches(word[:100], known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
