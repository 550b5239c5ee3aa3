"""What a bridge says to a request that it does not carry out."""

from collections.abc import Mapping
from difflib import get_close_matches
from http import HTTPStatus
from typing import Any, TypeVar

from pydantic import ValidationError

from ai_engine.jobs.request import Wire

_MOST_CHARACTERS = 200
"""Of what was sent and is quoted back."""

_Asked = TypeVar("_Asked", bound=Wire)


class Refused(Exception):
    """``str()`` says why, for whoever asked; ``status`` is that of HTTP."""

    def __init__(self, sentence: str, status: HTTPStatus = HTTPStatus.CONFLICT) -> None:
        super().__init__(sentence)
        self.status = status

    def as_json(self) -> dict[str, Any]:
        return {"ok": False, "error": str(self)}


def read_body(asked: type[_Asked], operation: str, body: Mapping[str, Any]) -> _Asked:
    """Raises Refused, which names every key that is wrong."""
    try:
        return asked.model_validate(dict(body), by_alias=True, by_name=False)
    except ValidationError as error:
        told = "; ".join(_said(asked, operation, detail) for detail in error.errors(include_url=False))
        raise Refused(told, HTTPStatus.UNPROCESSABLE_ENTITY) from None


def _said(asked: type[Wire], operation: str, detail: Mapping[str, Any]) -> str:
    place = ".".join(map(str, detail["loc"]))[:_MOST_CHARACTERS]
    match detail["type"]:
        case "extra_forbidden":
            return f"there is no {place!r} in {operation}{_meant(asked, place)}"
        case "missing":
            return f"{place} is missing"
        case _:
            what = str(detail["msg"]).removeprefix("Value error, ")[: 2 * _MOST_CHARACTERS]
            return f"{place}: {what}" if place else what


def _meant(asked: type[Wire], word: str) -> str:
    known = [field.alias or name for name, field in asked.model_fields.items()]
    close = get_close_matches(word, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
