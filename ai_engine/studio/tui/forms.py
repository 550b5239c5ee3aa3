"""What is asked for before something is done."""

from collections.abc import Mapping, Sequence

from pydantic import SecretStr

from ai_engine.studio.tui.dialogs import Field, Form
from ai_engine.switchboard.models import Listen, RoomRequest, StudioCall, Transfer, Whisper
from ai_engine.trunks.number import SipNumber


def call_form(agents: Sequence[str], numbers: Sequence[str], agent: str, before: Mapping[str, str]) -> Form[StudioCall]:
    def read(values: Mapping[str, str]) -> StudioCall:
        if not values["to"]:
            raise ValueError("to: whom shall it call? A number like +14155550123, or an extension")
        if agents and values["agent"] not in agents:
            raise ValueError(f"agent: there is no {values['agent']!r}; there are {', '.join(agents)}")
        return StudioCall(agent=values["agent"], to=values["to"], from_number=values["from"] or None)

    return Form(
        "Have an agent call somebody",
        [
            Field("agent", "agent", before.get("agent") or agent, ", ".join(agents), choices=agents),
            Field("to", "to", before.get("to", ""), "+14155550123, or an extension"),
            Field("from", "from", before.get("from", ""), "one of ours; empty: the first", choices=numbers),
        ],
        read,
    )


def transfer_form(before: str) -> Form[Transfer]:
    def read(values: Mapping[str, str]) -> Transfer:
        return Transfer(extension=values["extension"] or None, context=values["context"] or None)

    return Form(
        "Send the caller somewhere else",
        [
            Field("extension", "extension", before, "empty: the human of the configuration"),
            Field("context", "context", "", "empty: that of the human"),
        ],
        read,
    )


def listen_form(before: str) -> Form[Listen]:
    def read(values: Mapping[str, str]) -> Listen:
        if not values["extension"]:
            raise ValueError("extension: which telephone shall ring? One of this PBX, like 1000")
        return Listen(extension=values["extension"])

    return Form(
        "Listen in: a telephone of this PBX rings, and hears both sides",
        [Field("extension", "extension", before, "1000, or 1000@from-internal")],
        read,
    )


def whisper_form() -> Form[Whisper]:
    def read(values: Mapping[str, str]) -> Whisper:
        if not values["text"]:
            raise ValueError("text: what shall the agent know?")
        return Whisper(text=values["text"])

    return Form(
        "Tell the agent something that the caller does not hear", [Field("text", "text", "", "offer 10 % off")], read
    )


def room_form(agents: Sequence[str], agent: str) -> Form[RoomRequest]:
    def read(values: Mapping[str, str]) -> RoomRequest:
        if agents and values["agent"] not in agents:
            raise ValueError(f"agent: there is no {values['agent']!r}; there are {', '.join(agents)}")
        return RoomRequest(agent=values["agent"], channel=values["room"] or None)

    return Form(
        "Start an agent without a telephone: whoever joins the room talks with it",
        [
            Field("agent", "agent", agent, ", ".join(agents), choices=agents),
            Field("room", "room", "", "its name; empty: the agent's"),
        ],
        read,
    )


def number_form(agents: Sequence[str]) -> Form[SipNumber]:
    def read(values: Mapping[str, str]) -> SipNumber:
        address, port = _split(values["address"])
        transport = values["transport"] or "udp"
        return SipNumber.model_validate(
            {
                "number": values["number"],
                "address": address,
                "port": port,
                "transport": transport,
                "username": values["username"],
                "password": SecretStr(values["password"]),
                "label": values["label"],
                "registers": bool(values["registers"]),
                "inbound_agent": values["agent"] or None,
                "allowed_ips": _words(values["allowed"]),
                "codecs": _words(values["codecs"]),
                "srtp": transport == "tls",
                "calls": values["calls"],
            }
        )

    return Form(
        "Import a number, with the SIP trunk of its carrier",
        [
            Field("number", "number", "", "+14155550123"),
            Field("address", "trunk address", "", "sip.carrier.example, or with :port"),
            Field("transport", "transport", "udp", "udp, tcp or tls", choices=("udp", "tcp", "tls")),
            Field("username", "SIP user name", "", "empty: the carrier knows our address"),
            Field("password", "SIP password", "", "kept encrypted, never shown", secret=True),
            Field("registers", "register", "yes", "with the carrier, so that calls come in", tick=True),
            Field("agent", "inbound agent", "", "empty: calls are refused", choices=agents),
            Field("label", "label", "", "for us alone"),
            Field("allowed", "allowed IPs", "", "198.51.100.0/24, …: where its calls come from"),
            Field("codecs", "codecs", "ulaw,alaw", "ulaw, alaw, g722, opus, g729"),
            Field("calls", "calls at a time", "2", "outbound"),
        ],
        read,
    )


def _split(address: str) -> tuple[str, int | None]:
    host, colon, port = address.rpartition(":")
    if not colon or "]" in port or ":" in host.strip("[]") and not host.startswith("["):
        return address.strip("[]"), None
    if not port.isdigit():
        raise ValueError(f"trunk address: {port!r} is no port")
    return host.strip("[]"), int(port)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())
