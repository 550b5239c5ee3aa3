"""What all routes of our API have in common: who may ask is decided first, and what is wrong is told in one way."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ConfigDict
from starlette.types import Scope

from ai_engine.jobs.request import CallRequest, Wire
from ai_engine.web.problems import Problem, invalid


class ProblemJson(Wire):
    """RFC 9457."""

    model_config = ConfigDict(extra="ignore")

    type: str
    """`urn:offhook:` and what kind of problem it is."""
    title: str
    status: int
    detail: str
    """What is wrong, and what to do next."""
    errors: tuple[dict[str, str], ...] = ()
    """For each key that is wrong, its `pointer` and a `detail`."""


PROBLEM = {"model": ProblemJson, "content": {"application/problem+json": {}}}
NOT_ALLOWED: dict[int | str, dict[str, Any]] = {
    401: {**PROBLEM, "description": "No token, or a wrong one"},
    403: {**PROBLEM, "description": "Not from this machine, or the rules of the house forbid the call"},
    429: {**PROBLEM, "description": "Too many wrong tokens at once"},
}


def guarded(admit: Callable[[Scope], Awaitable[None]]) -> type[APIRoute]:
    """Routes that ask ``admit`` (it may raise Problem) before a body is read: a dependency would be asked after
    that."""

    class GuardedRoute(APIRoute):
        def get_route_handler(self) -> Any:
            handle = super().get_route_handler()

            async def guarded(request: Request) -> Response:
                await admit(request.scope)
                try:
                    return await handle(request)
                except RequestValidationError as error:
                    if any(one["type"] == "json_invalid" for one in error.errors()):
                        raise
                    raise invalid(error.errors(), self._model()) from error

            return guarded

        def _model(self) -> type[Wire]:
            """What the body is to be."""
            kind = self.body_field.field_info.annotation if self.body_field is not None else None
            return kind if isinstance(kind, type) and issubclass(kind, Wire) else CallRequest

    return GuardedRoute


def json_only(content_type: Annotated[str, Header(include_in_schema=False)] = "") -> None:
    """A dependency. Raises Problem."""
    if content_type.partition(";")[0].strip().lower() != "application/json":
        raise Problem(415, "bad-request", "Send JSON, with 'Content-Type: application/json'.")
