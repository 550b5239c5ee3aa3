"""What every section of the settings has in common: its base, and the kinds of value it can hold."""

from ipaddress import IPv6Address, ip_network
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from yarl import URL


class Section(BaseModel):
    """A section of the file; the text below a field is its description in the JSON Schema."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


def _network(text: str) -> str:
    ip_network(text)
    return text


def _host(text: str) -> str:
    if ":" in text:
        try:
            IPv6Address(text)
        except ValueError as error:
            raise ValueError(f"{text!r} is no IPv6 address; a port has a key of its own") from error
    return text


def _server(text: str) -> str:
    if not URL(text).host:  # a port that is none is a ValueError by itself
        raise ValueError(f"{text!r} names no host")
    return text


def _base(text: str) -> str:
    if "?" in text or "#" in text:
        raise ValueError("must not have a query or a fragment, since paths are added to it")  # which may be secret
    return text


Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]+$"), AfterValidator(_host)]
Address = Annotated[str, Field(pattern=r"^([A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}$")]
Port = Annotated[int, Field(ge=1, le=65535)]
ListenPort = Annotated[int, Field(ge=0, le=65535)]
HttpUrl = Annotated[str, Field(pattern=r"^https?://[^\s/@]+(/\S*)?$"), AfterValidator(_server), AfterValidator(_base)]
WebSocketUrl = Annotated[str, Field(pattern=r"^wss?://[^\s/@]+(/\S*)?$"), AfterValidator(_server)]
Network = Annotated[str, AfterValidator(_network)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
Milliseconds = Annotated[int, Field(gt=0, le=600_000)]
Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+$")]
KeyName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
"""The environment variable, or the line of `.env`, that holds a secret: the file itself never does."""
