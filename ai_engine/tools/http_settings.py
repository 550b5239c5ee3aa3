"""What the file says of a tool that is an HTTP request."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from yarl import URL

from ai_engine.settings import Seconds, Section
from ai_engine.tools import template
from ai_engine.tools.schema import refusal

_HOLDS_A_SECRET = ("authorization", "proxy-authorization", "cookie", "x-api-key", "api-key")


def _url(text: str) -> str:
    host = text.split("://", 1)[-1].split("/", 1)[0].split("?", 1)[0]
    if set(host) & set("{}$#"):
        raise ValueError(f"{host!r}: no place may decide which server is asked")
    if "#" in text or not URL(f"http://{host}").host:
        raise ValueError(f"{text!r} must be a server and a path, without a fragment")
    return text


def _header(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must not hold control characters")
    return text


Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
TemplateUrl = Annotated[str, Field(pattern=r"^https?://[^\s/@?]+([/?]\S*)?$"), AfterValidator(_url)]
HeaderName = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderText = Annotated[str, AfterValidator(_header)]
ResultPath = Annotated[str, Field(pattern=r"^[^\s.]+(\.[^\s.]+)*$")]
Status = Annotated[int, Field(ge=100, le=599)]


class HttpToolSettings(Section):
    """A request to somebody's HTTP server. `{name}` is a place for an argument, a fact of the call (`{caller}`,
    `{dialled}`, `{agent}`, `{call_id}`) or something a `pre_call` tool found out; `${NAME}` is a secret of `.env`."""

    description: Annotated[str, Field(min_length=1)]
    """What the tool does and when to use it; the model reads this."""
    when: Literal["in_call", "pre_call", "post_call"] = "in_call"
    """`in_call`: when the agent asks for it; `pre_call`: before the agent starts; `post_call`: after the call."""
    method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET"
    """HTTP method."""
    url: TemplateUrl
    """Where the request goes; places stand in path or query, and never decide the server."""
    query: Mapping[str, str] = {}
    """Further parameters of the query. One that is a single place without a value is left out."""
    headers: Mapping[HeaderName, HeaderText] = {}
    """Request headers. One that is a single place without a value is left out."""
    body: Any = None
    """What is sent. A text that is one place becomes the value itself; without a value its key is left out."""
    body_format: Literal["json", "form"] = "json"
    """How the body is written; `form` takes plain keys with values."""
    parameters: Mapping[Name, Mapping[str, Any]] = {}
    """The arguments the model gives, each a JSON Schema; `in_call` only."""
    required: tuple[Name, ...] | None = None
    """The arguments that must be given; absent means all."""
    result: Mapping[Name, ResultPath] = {}
    """What is given back: a name, and the dotted path in the JSON answer (`items.0.price`). Empty: all of it."""
    success: Annotated[tuple[Status, ...], Field(min_length=1)] | None = None
    """The statuses that mean success; absent means 200 to 299."""
    timeout_seconds: Seconds | None = None
    """How long it may take; absent means 2 before a call, 5 in it, 15 after it."""

    @property
    def timeout(self) -> float:
        """Seconds."""
        return self.timeout_seconds or {"pre_call": 2.0, "in_call": 5.0, "post_call": 15.0}[self.when]

    @property
    def schema_of_arguments(self) -> Mapping[str, Any]:
        """JSON Schema of all arguments together, an object."""
        required = self.parameters if self.required is None else self.required
        return {
            "type": "object",
            "properties": {name: dict(schema) for name, schema in self.parameters.items()},
            **({"required": list(required)} if required else {}),
            "additionalProperties": False,
        }

    @property
    def templates(self) -> Mapping[str, Any]:
        """The fields with places and secrets in them."""
        return {"url": self.url, "query": self.query, "headers": self.headers, "body": self.body}

    def secrets(self) -> Iterator[str]:
        """The environment variables it needs."""
        return template.secrets(self.templates)

    def contradictions(self, facts: frozenset[str]) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Values that are wrong together: where, and why; ``facts`` are the names that have a value beside the
        arguments."""
        if self.when != "in_call" and self.parameters:
            yield ("parameters",), f"nobody gives arguments to a {self.when} tool"
        if self.when == "pre_call" and not self.result:
            yield ("result",), "needed: name what this tool finds out"
        for name in self.required or ():
            if name not in self.parameters:
                yield ("required",), f"there is no {name!r} below parameters"
        if (why := refusal(self.schema_of_arguments)) is not None:
            yield ("parameters",), f"what they make together {why}"
        for name in self.parameters:
            if name in facts:
                yield ("parameters", name), f"{name!r} is already a fact of the call"
        for field, value in self.templates.items():
            for place in dict.fromkeys(template.places(value)):
                if place not in self.parameters and place not in facts:
                    known = ", ".join((*self.parameters, *sorted(facts)))
                    yield (field,), f"there is nothing to put in the place {{{place}}} (known here: {known})"
        for name, text in self.headers.items():
            if name.lower() in _HOLDS_A_SECRET and not any(template.secrets(text)):
                yield ("headers", name), "secrets do not belong in this file; write ${NAME} here, and NAME into .env"
        if self.body is not None and self.method == "GET":
            yield ("body",), "a GET request has no body; use query, or method: POST"
        if self.body_format == "form" and not _is_flat(self.body):
            yield ("body",), "a form is keys with plain values"


def _is_flat(body: Any) -> bool:
    return isinstance(body, dict) and not any(isinstance(value, dict | list) for value in body.values())
