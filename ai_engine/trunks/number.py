"""A telephone number of ours, with the SIP trunk of its carrier."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from ai_engine.jobs.settings import E164
from ai_engine.settings import Host, Network, Port, Word

Transport = Literal["udp", "tcp", "tls"]
Codec = Literal["ulaw", "alaw", "g722", "opus", "g729"]

PREFIX = "studio-"
"""Ids of the PJSIP objects we make, followed by the digits of the number."""


class SipNumber(BaseModel):
    """What `studio number import` takes; nothing in it is a carrier's own."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    number: E164
    address: Host
    """Host name or address of the carrier's SIP server."""
    port: Port | None = None
    """Absent: 5060, or 5061 with TLS; a host name is then looked up with SRV, too."""
    transport: Transport = "udp"
    username: Annotated[str, Field(max_length=200, pattern=r"^[^\x00-\x1f\x7f;\s]*$")] = ""
    """Empty for a trunk that the carrier knows by our address."""
    password: SecretStr = SecretStr("")
    label: Annotated[str, Field(max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")] = ""
    registers: bool = False
    """Register with the carrier, so that calls come in wherever we are."""
    inbound_agent: Word | None = None
    """Who answers calls to this number; absent: they are politely refused."""
    allowed_ips: tuple[Network, ...] = ()
    """Where calls of this carrier come from, beside `address`."""
    codecs: Annotated[tuple[Codec, ...], Field(min_length=1)] = ("ulaw", "alaw")
    """The preferred one first."""
    srtp: bool = False
    """Encrypt the sound (SDES); the import turns it on with TLS."""
    calls: Annotated[int, Field(ge=1, le=1000)] = 2
    """Outbound at the same time; further ones wait."""

    @model_validator(mode="after")
    def _whole(self) -> "SipNumber":
        if self.registers and not self.username:
            raise ValueError("a trunk that registers needs a user name")
        if self.username and not self.password.get_secret_value():
            raise ValueError("a user name needs a password")
        if self.srtp and self.transport != "tls":
            raise ValueError("SRTP needs TLS: else its key can be read on the way")
        return self

    @property
    def object_id(self) -> str:
        """Of all its PJSIP objects. It is part of a URL, so there is no `+`."""
        return f"{PREFIX}{self.number.removeprefix('+')}"

    @property
    def dial(self) -> str:
        """The dial string that calls go out by."""
        return f"PJSIP/{{number}}@{self.object_id}"
