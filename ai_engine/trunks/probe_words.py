"""What a carrier's answers mean, and what to do about them."""

import ssl
from dataclasses import dataclass

from ai_engine.protocol.sip import Response
from ai_engine.trunks.number import SipNumber


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    """``name``, ``connection``, ``certificate``, ``answer``, ``seen as`` or ``registration``."""
    ok: bool
    detail: str
    """What was found; where it is not well, also what to do."""


def port_of(number: SipNumber) -> int:
    return number.port or (5061 if number.transport == "tls" else 5060)


def resolved(number: SipNumber, address: str) -> Finding:
    shown = "is an address" if address == number.address else f"is {address}"
    return Finding("name", True, f"{number.address} {shown}")


def unresolved(number: SipNumber, error: OSError) -> Finding:
    if isinstance(error, TimeoutError):
        return Finding("name", False, f"no name server says what {number.address} is: see /etc/resolv.conf")
    why = error.strerror or str(error)
    return Finding("name", False, f"{number.address} does not resolve ({why}): a typing error, or no name server?")


def unreachable(number: SipNumber, address: str, error: OSError | ValueError, seconds: float, method: str) -> Finding:
    """Where connecting, or waiting for the answer to ``method``, has failed."""
    where = f"{address} port {port_of(number)}/{number.transport.upper()}"
    match error:
        case TimeoutError():
            what = f"nothing answers {method} at {where} within {seconds:g} s: is it the right port and transport, and"
            return Finding("answer", False, f"{what} does a firewall let it out, and the answers in?")
        case ConnectionRefusedError():
            return Finding("connection", False, f"refused: nothing listens at {where}; check port and transport")
        case ssl.SSLError():
            why = error.reason or error.strerror or "no TLS"
            return Finding("connection", False, f"no TLS at {where} ({why}): is it a port for TLS? Often it is 5061")
        case ConnectionError():
            return Finding("answer", False, f"{where} closed the connection without an answer: is it SIP there?")
        case OSError():
            return Finding("connection", False, f"{where} cannot be reached ({error.strerror or error})")
    return Finding("answer", False, f"{where}: {error}: is it the right port?")


def certificate(number: SipNumber, why: str) -> Finding:
    return Finding(
        "certificate",
        False,
        f"not one for {number.address} that this machine trusts ({_plain(why)}): user name and password were not sent. "
        "Import the name that is in the certificate, or install the carrier's CA",
    )


def seen_as(response: Response, local: str) -> tuple[Finding, ...]:
    if not response.seen_as:
        return ()
    behind = "" if response.seen_as.rpartition(":")[0] == local else f", though it is {local} here (NAT)"
    return (Finding("seen as", True, f"the carrier sees {response.seen_as}{behind}: the address to let in there"),)


def options(response: Response, *, proved: bool, username: str, may_prove: bool) -> Finding:
    """``proved``: with user name and password; ``may_prove``: they may be sent."""
    answered = _status(response)
    match response.status:
        case 401 | 407 if proved:
            return Finding("answer", False, f"{answered}: wrong user name or password ({username})")
        case 401 | 407 if username:
            detail = "but does not say how" if may_prove else "which were not sent"
            return Finding("answer", not may_prove, f"{answered}: it wants user name and password, {detail}")
        case 401 | 407:
            todo = "let this machine's address in at the carrier, or import with --sip-username"
            return Finding("answer", False, f"{answered}: it does not know us by our address; {todo}")
        case 403 | 603:
            return Finding("answer", False, f"{answered}: refused; is our address let in there, the trunk active?")
    if 300 <= response.status < 400:
        return Finding("answer", False, f"{answered}: it is elsewhere; import {_plain(response.header('contact'))}")
    if 500 <= response.status < 600 and response.status not in (501, 505):
        return Finding("answer", False, f"{answered}: it is there, but out of order; try later, or ask the carrier")
    if response.status < 300:
        proof = " and takes user name and password" if proved else ""
        return Finding("answer", True, f"answers{proof}")
    return Finding("answer", True, f"answers ({answered}); only a call can show more")


def registration(response: Response, *, proved: bool, username: str) -> Finding:
    answered = _status(response)
    match response.status:
        case 401 | 407 if proved:
            detail = f"wrong user name or password ({username})"
        case 401 | 407:
            detail = "it wants a proof, but does not say which"
        case 403:
            detail = f"refused: wrong user name or password ({username}), or this account may not register from here"
        case 404 | 604:
            detail = f"it does not know the user {username}"
        case 405 | 501:
            detail = "it takes no registrations: import with --no-register"
        case status if status < 300:
            known = len(response.all("contact"))
            return Finding("registration", True, f"takes the user name and password; registered now: {known}")
        case status if status >= 500:
            detail = "it is there, but takes no registrations now; try again later, or ask the carrier"
        case _:
            detail = "ask the carrier what it means"
    return Finding("registration", False, f"{answered}: {detail}")


def _status(response: Response) -> str:
    return f"{response.status} {_plain(response.reason)}".strip()


def _plain(text: str) -> str:
    """For a terminal: what a stranger sent must not move its cursor."""
    return "".join(char for char in text if char.isprintable())[:200]
