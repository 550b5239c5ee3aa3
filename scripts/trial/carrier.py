"""A carrier: a second trial Asterisk, on an address of its own, with our Asterisk as its customer.

async with Carrier(trial, "carrier") as carrier:             # starts in half a second
    carrier.address, carrier.port, carrier.tls_port          # of its SIP server; port for UDP and TCP
    carrier.username, carrier.password                       # of a trunk; secure_username for one with TLS and SRTP
    carrier.trust("127.0.0.1")                               # or a trunk without a password, known by its address
    call = await carrier.call_in("+15551230001", "+15557650001")     # somebody calls our number
    await call.answered(); await call.hang_up(); await call.ended()  # ("ANSWER", 16)
    carrier.route("+15557650002", phone.sip_uri)             # where our calls to that number go; others are echoed
    phone = BaresipPhone(carrier.trial, directory)           # telephone 1000 of the carrier: dials our numbers
    carrier.calls()                                          # what our Asterisk has called so far
    await carrier.down(); await carrier.up()                 # it is gone, and back on the same ports
"""

import asyncio
import itertools
import re
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.error import HTTPError
from urllib.parse import urlencode

from scripts.trial import asterisk
from scripts.trial.asterisk import TEMPLATES, Ports, Trial
from scripts.trial.plan import write_private
from scripts.trial.rootfs import Say, TrialError, say

WAIT_SECONDS = 10.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Called:
    """A call of the customer, as it reached the carrier."""

    to: str
    caller: str
    line: str
    """``customer`` or ``secure`` for one that logged in, ``trusted`` for one known by its address."""


class Carrier:
    """Plays the carrier of ``customer``, our Asterisk."""

    username = "customer"
    secure_username = "secure"

    def __init__(self, customer: Trial, instance: str = "carrier", address: str = "127.0.0.2", tell: Say = say) -> None:
        self.customer = customer
        self.instance = instance
        self.address = address
        self.password = f"carrier-{secrets.token_hex(8)}"
        self._tell = tell
        self._trusted = ""
        self._trial: Trial | None = None
        self._numbers = itertools.count(1)

    @property
    def trial(self) -> Trial:
        """The Asterisk it is made of."""
        if self._trial is None:
            raise TrialError("the carrier is not started")
        return self._trial

    @property
    def port(self) -> int:
        """Of UDP and TCP."""
        return self.trial.sip_port

    @property
    def tls_port(self) -> int:
        return self.trial.tls_port

    async def start(self) -> None:
        """Raises TrialError with advice."""
        customer = f"{self.customer.bind}:{self.customer.sip_port}"
        overlay = {
            path.name: path.read_text(encoding="utf-8")
            .replace("@CARRIER_PASSWORD@", self.password)
            .replace("@CUSTOMER@", customer)
            for path in (TEMPLATES / "carrier").glob("*.conf")
        }
        ports = Ports(bind=self.address)
        self._trial = await asyncio.to_thread(asterisk.start, self.instance, ports, overlay, self._tell)

    async def close(self) -> None:
        """Safe to repeat."""
        await asyncio.to_thread(asterisk.stop, self.instance)

    async def down(self) -> None:
        """As with the power cut."""
        await asyncio.to_thread(asterisk.kill, self.instance)

    async def up(self) -> None:
        """Back on the same ports; who was registered still is."""
        self._trial = await asyncio.to_thread(asterisk.restart, self.instance, self._tell)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def trust(self, address: str) -> None:
        """Take calls from there without a password; an empty one trusts nobody again."""
        if address == self._trusted:
            return
        self._trusted = address
        text = (
            f"[trusted](line)\n\n[trusted]\ntype = identify\nendpoint = trusted\nmatch = {address}\n" if address else ""
        )
        write_private(self.trial.trunks / "trusted.conf", text)
        self.trial.cli("module reload res_pjsip.so")

    def route(self, number: str, sip_uri: str) -> None:
        """Have calls of the customer to ``number`` ring at ``sip_uri``; an empty one echoes them again."""
        digits, target = re.sub("[^0-9]", "", number), sip_uri or '""'
        self.trial.cli(f"dialplan set global ROUTE_{digits} {target}")

    def registered(self) -> str:
        """Where the customer may be called, as it registered: its contact, empty where it did not."""
        found = re.search(r"Contact:\s+(?:customer|secure)/(sip\S+)", self.trial.cli("pjsip show contacts"))
        return found.group(1) if found else ""

    def calls(self) -> list[Called]:
        """The customer's so far."""
        said = self.trial.log.read_text(encoding="utf-8", errors="replace")
        return [Called(*found) for found in re.findall(r"Carrier: call to (\S+) from (\S*) by (\S+)", said)]

    async def call_in(
        self, did: str, caller: str, transport: str = "udp", *, registered: bool = False
    ) -> "CarrierCall":
        """Call ``did`` of the customer; ``registered``: by its registration, else at its address."""
        if registered:
            target = f"PJSIP/{self.username}"
        else:
            port = self.customer.tls_port if transport == "tls" else self.customer.sip_port
            target = f"PJSIP/{transport}/sip:{did}@{self.customer.bind}:{port};transport={transport}"
        call = CarrierCall(self.trial, f"{next(self._numbers)}")
        await call.dial(target, caller)
        return call


class CarrierCall:
    """A call that came in to the customer; what it says there comes back to it as an echo."""

    def __init__(self, trial: Trial, name: str) -> None:
        self._trial = trial
        self._name = name

    async def dial(self, target: str, caller: str) -> None:
        query = {"endpoint": "Local/dial@call-in/n", "context": "call-in", "extension": "answered", "priority": "1"}
        query |= {"timeout": "60", "channelId": f"call-{self._name}"}
        variables = {"__CALL": self._name, "__CALL_TO": target, "__CALL_FROM": caller}
        await asyncio.to_thread(self._trial.ari, "POST", f"/channels?{urlencode(query)}", {"variables": variables})

    async def answered(self, seconds: float = WAIT_SECONDS) -> None:
        """Raises TimeoutError."""
        await self._known(lambda: self._read("ANSWERED"), seconds)

    async def ended(self, seconds: float = WAIT_SECONDS) -> tuple[str, int]:
        """DIALSTATUS with the cause (Q.850), once it is over; raises TimeoutError."""
        hung_up = await self._known(lambda: self._read("HUNG_UP"), seconds)
        # Where nobody answered, the end of the channel says less than Dial() said before.
        status, _, cause = (await asyncio.to_thread(self._read, "END") or hung_up).partition(" ")
        return status, int(cause or 0)

    async def hang_up(self) -> None:
        """Safe to repeat."""
        with suppress(HTTPError):
            await asyncio.to_thread(self._trial.ari, "DELETE", f"/channels/call-{self._name}")

    def _read(self, what: str) -> str:
        found = self._trial.ari("GET", f"/asterisk/variable?variable={what}_{self._name}")
        return str(found["value"]) if isinstance(found, dict) else ""

    async def _known(self, read: Callable[[], str], seconds: float) -> str:
        async with asyncio.timeout(seconds):
            while not (value := await asyncio.to_thread(read)):  # noqa: ASYNC110  Asterisk tells nobody
                await asyncio.sleep(_POLL_SECONDS)
        return value
