"""Calls people: never one twice, whatever fails, and hands over who answers."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Mapping
from dataclasses import replace
from typing import Any

import structlog

from ai_engine.ari.call_control import AriCallControl
from ai_engine.ari.client import Ari
from ai_engine.ari.leftovers import is_missing, tidy
from ai_engine.ari.outbound import Outbound, PickedUp, Screened, ToneHeard
from ai_engine.ari.subscriptions import Subscriptions
from ai_engine.errors import AsteriskError
from ai_engine.jobs.dialing import Answered, DialOrder, EarlyMedia, Ended, Ringing
from ai_engine.protocol.ari import Channel, ChannelEvent, parse_arguments

log = structlog.get_logger(__name__)

DIALLED = "OFFHOOK_DIALLED"
"""A channel variable: 1 from the moment on at which the channel may have been dialled."""
MESSAGE = "OFFHOOK_MESSAGE"
"""A channel variable: set where a message is left on a machine, so that the end of its greeting must be waited for."""

_CONNECT_SECONDS = 20.0
"""How long a request waits for the connection to Asterisk."""
_UNDIALLED_SECONDS = 60
"""A channel that nobody dials ends by itself after so long."""
_DEAD_ENGINE_SECONDS = 15
"""So long after the last ring Asterisk ends a call by itself; whoever talks to the callee winds this up again."""
_SCREENING_SECONDS = 90
"""The same, while the dialplan finds out who answered and waits for the end of a greeting."""
_ADOPT_SECONDS = 60.0
"""A call that an earlier engine placed, and that nobody takes up, is ended after so long."""


class Dialer:
    """On the call loop. Every coroutine may raise AsteriskError."""

    def __init__(self, subscriptions: Subscriptions, on_call: Callable[[AriCallControl], None]) -> None:
        """``on_call`` is offered everybody who answers, and must return at once."""
        self.reaped = 0
        """Calls of an earlier engine that nobody took up."""
        self.answered = 0
        self._subscriptions = subscriptions
        self._on_call = on_call
        self._outbound: dict[str, Outbound] = {}
        self._ari: Ari | None = None
        self._connected = asyncio.Event()
        self._errands: set[asyncio.Task[None]] = set()
        self._complained = False

    @property
    def calls(self) -> int:
        """Channels that are held."""
        return len(self._outbound)

    # -- placing a call --------------------------------------------------------------------------------------

    async def create(
        self, channel_id: str, dial_string: str, number: str, caller_id: str, headers: Mapping[str, str]
    ) -> None:
        """A channel with everything but the dialling; nothing is wrong when it exists. ``headers`` are SIP's."""
        ari = await self._asterisk()
        # Asking for one a second time would be refused (409), and leave a half-made SIP session behind for good.
        missing = await is_missing(ari, channel_id)
        self._hold(channel_id)
        if not missing:
            return
        variables = {
            DIALLED: "0",
            "OFFHOOK_APP": ari.app,
            "TIMEOUT(absolute)": str(_UNDIALLED_SECONDS),
            "CALLERID(num)": number,
            **({"CONNECTEDLINE(num,i)": caller_id} if caller_id else {}),
            **{f"PJSIP_HEADER(add,{name})": value for name, value in headers.items()},
        }
        try:
            await ari.create_channel(channel_id, dial_string, variables)
        except AsteriskError as error:
            if error.status != 409:
                self._forget(channel_id)
                raise

    async def dial(self, channel_id: str, order: DialOrder) -> None:
        """Call; one that was dialled before, by whichever engine, is adopted instead. Status 404: it is gone."""
        ari = await self._asterisk()
        outbound = self._hold(channel_id)
        if outbound.order is not None:
            return
        outbound.order = order
        try:
            if await ari.variable(channel_id, DIALLED) != "0":
                await self._look(ari, outbound)
                return
            seconds = max(round(order.ring_seconds), 1)
            await self._check_screening(ari, outbound)
            await ari.set_variable(channel_id, "TIMEOUT(absolute)", str(seconds + _DEAD_ENGINE_SECONDS))
            await ari.set_variable(channel_id, DIALLED, "1")
        except AsteriskError:
            self._forget(channel_id)
            raise
        try:
            await ari.dial(channel_id, seconds)
        except AsteriskError as error:
            if error.status not in (0, 404):
                self._forget(channel_id)
                await tidy(ari.hang_up(channel_id))
                raise
            # Over already, or without an answer: if it was dialled all the same its news will come, else its timeout.
            log.warning("Asterisk did not say whether it dials", channel=channel_id, reason=str(error))

    async def adopt(self, channel_id: str, order: DialOrder) -> None:
        """Take up a call that an earlier engine dialled; what is gone has ``Ended``."""
        ari = await self._asterisk()
        outbound = self._hold(channel_id)
        if outbound.order is not None:
            return
        outbound.order = order
        try:
            await self._check_screening(ari, outbound)
            await self._look(ari, outbound)
        except AsteriskError as error:
            if error.status == 404:
                self._step(outbound, Ended())
                return
            self._forget(channel_id)
            raise

    async def hang_up(self, channel_id: str) -> None:
        """Nothing is wrong when it is over already."""
        outbound = self._outbound.get(channel_id)
        if outbound is not None:
            outbound.unwanted = True
        ari = await self._asterisk()
        try:
            await ari.hang_up(channel_id)
        except AsteriskError as error:
            if error.status != 404:
                raise

    # -- our place in Asterisk -------------------------------------------------------------------------------

    def connected(self, ari: Ari) -> None:
        """Events arrive from now on."""
        self._ari = ari
        self._connected.set()

    def disconnected(self) -> None:
        self._connected.clear()

    async def set_right(self, listed: Collection[str]) -> None:
        """Events were missed, and of ``listed`` channels in our application nobody has been told."""
        ari = await self._asterisk()
        unclaimed = [channel_id for channel_id in listed if channel_id not in self._outbound]
        if unclaimed:
            self._run_errand(self._reap(ari, unclaimed))
        for outbound in tuple(self._outbound.values()):
            if outbound.unwanted:
                await tidy(ari.hang_up(outbound.channel_id))
            elif outbound.order is not None and not outbound.handed_over:
                try:
                    await self._look(ari, outbound)
                except AsteriskError as error:
                    if error.status != 404:  # its end is told by others
                        raise

    def unclaimed(self, channel_id: str) -> None:
        """A channel of somebody we called came back from the dialplan, and nobody holds it."""
        if self._ari is not None:
            self._run_errand(self._reap(self._ari, [channel_id]))

    async def close(self) -> None:
        """Listen no more; calls are left to Asterisk, for the next engine."""
        self._connected.clear()
        for errand in self._errands:
            errand.cancel()
        await asyncio.gather(*self._errands, return_exceptions=True)

    # -- what happens to a call ------------------------------------------------------------------------------

    def _event(self, event: ChannelEvent) -> None:
        outbound = self._outbound[event.channel_id]
        step = outbound.take(event)
        if step is not None:
            self._step(outbound, step)

    def _step(self, outbound: Outbound, step: object) -> None:
        order = outbound.order
        if isinstance(step, Ended):
            self._forget(outbound.channel_id)
        if order is None:
            return
        match step:
            case Ringing() | EarlyMedia() | Ended():
                order.tell(step)
            case PickedUp(late) if late or not outbound.can_screen:
                self._hand_over(outbound, order, late=late)
            case PickedUp():
                self._run_errand(self._screen(outbound, order))
            case ToneHeard():
                self._hang_up_soon(outbound)
            case Screened(args):
                self._screened(outbound, order, parse_arguments(args))

    def _hand_over(self, outbound: Outbound, order: DialOrder, *, late: bool = False) -> None:
        """The callee is a caller from now on."""
        assert self._ari is not None
        self.answered += 1
        outbound.handed_over = True
        order.tell(Answered(outbound.answered_by))
        assignment = replace(order.assignment, machine=outbound.answered_by == "machine")
        channel = Channel(outbound.channel_id, state="Up", caller_number=order.number, dialled=order.caller_id)
        variables = {"agent": assignment.agent}
        self._on_call(
            AriCallControl(self._ari, self._subscriptions, channel, variables, orphan=late, assignment=assignment)
        )

    async def _look(self, ari: Ari, outbound: Outbound) -> None:
        step = outbound.look(await ari.channel(outbound.channel_id))
        if step is not None and outbound.channel_id in self._outbound:
            self._step(outbound, step)

    # -- a person or a machine? ------------------------------------------------------------------------------

    async def _check_screening(self, ari: Ari, outbound: Outbound) -> None:
        """Before the dial, so that nobody who has answered waits for it."""
        assert outbound.order is not None
        context = outbound.order.screening_context
        if not context:
            return
        lacks = "" if await ari.module_runs("app_amd.so") else "the module app_amd.so"
        if not lacks and not await self._has_context(ari, outbound.channel_id, context):
            lacks = f"a context {context} in its dialplan (docs/snippets), or func_dialplan.so"
        outbound.can_screen = not lacks
        if lacks and not self._complained:
            self._complained = True
            log.error("answering machines are not told from people: Asterisk lacks something", lacks=lacks)

    async def _has_context(self, ari: Ari, channel_id: str, context: str) -> bool:
        try:
            return await ari.has_extension(channel_id, context, "s")
        except AsteriskError as error:
            if error.status != 500:
                raise
            return False

    async def _screen(self, outbound: Outbound, order: DialOrder) -> None:
        assert self._ari is not None
        outbound.screening = True
        try:
            await self._ari.set_variable(outbound.channel_id, "TIMEOUT(absolute)", str(_SCREENING_SECONDS))
            if order.assignment.message:
                await self._ari.set_variable(outbound.channel_id, MESSAGE, "1")
            await self._ari.continue_in_dialplan(outbound.channel_id, order.screening_context, "s")
        except AsteriskError as error:
            log.warning("the dialplan cannot tell who answered", channel=outbound.channel_id, reason=str(error))
            # Without an answer it may be there all the same.
            if error.status and outbound.screening and outbound.channel_id in self._outbound:
                outbound.screening = False
                self._hand_over(outbound, order)

    def _screened(self, outbound: Outbound, order: DialOrder, found: Mapping[str, str]) -> None:
        # Silence alone says nothing: some people wait to be spoken to.
        silent = found.get("amd_cause", "").startswith("INITIALSILENCE")
        status = "" if silent else found.get("amd", "")
        outbound.answered_by = {"HUMAN": "human", "MACHINE": "machine"}.get(status, "")
        log.info("somebody answered", channel=outbound.channel_id, **found)
        if outbound.answered_by == "machine" and not order.assignment.message:
            outbound.unwanted = True
            self._hang_up_soon(outbound)
        else:
            self._hand_over(outbound, order)

    # --------------------------------------------------------------------------------------------------------

    def _hang_up_soon(self, outbound: Outbound) -> None:
        assert self._ari is not None
        self._run_errand(tidy(self._ari.hang_up(outbound.channel_id)))

    def _hold(self, channel_id: str) -> Outbound:
        """Listen before asking: the first event may come before the answer to the request."""
        if channel_id not in self._outbound:
            self._outbound[channel_id] = Outbound(channel_id)
            self._subscriptions.watch(channel_id, self._event)
        return self._outbound[channel_id]

    def _forget(self, channel_id: str) -> None:
        self._outbound.pop(channel_id, None)
        self._subscriptions.unwatch(channel_id)

    async def _asterisk(self) -> Ari:
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await self._connected.wait()
        except TimeoutError:
            raise AsteriskError("Asterisk is not connected") from None
        assert self._ari is not None
        return self._ari

    async def _reap(self, ari: Ari, channel_ids: Collection[str]) -> None:
        await asyncio.sleep(_ADOPT_SECONDS)
        for channel_id in channel_ids:
            if channel_id not in self._outbound:
                self.reaped += 1
                log.warning("a call of an earlier engine was taken up by nobody, and ends", channel=channel_id)
                await tidy(ari.hang_up(channel_id))

    def _run_errand(self, work: Coroutine[Any, Any, None]) -> None:
        errand = asyncio.create_task(work)
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)
