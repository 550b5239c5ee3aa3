"""The calls in progress: admit, find, drain."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from ai_engine.call.events import EngineStopping
from ai_engine.errors import AsteriskError, CallGone, NotForUs, OffhookError
from ai_engine.session.call_session import CallSession
from ai_engine.session.ports import CallControl
from ai_engine.session.settings import SessionSettings

log = structlog.get_logger(__name__)


class Registry:
    """Every call the engine holds, and the edge at which a call's failure stops."""

    def __init__(self, make: Callable[[CallControl], Awaitable[CallSession]], settings: SessionSettings) -> None:
        """``make`` builds a session for a channel; it may raise, and the caller then goes where ``NotForUs`` says, else
        to the human, if any can be reached."""
        self._make = make
        self._settings = settings
        self._sessions: dict[CallSession, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = True
        self.totals: dict[str, int] = {"admitted": 0, "failed": 0}

    @property
    def calls(self) -> list[CallSession]:
        return list(self._sessions)

    def admit(self, control: CallControl) -> None:
        """Take a channel that arrived in our application; returns at once."""
        task = asyncio.create_task(self._hold(control), name=f"call {control.channel_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drain(self, seconds: float) -> None:
        """Take no more calls, give those in progress ``seconds`` to end, then hand them to the human.

        Where none can be reached there is time for a sentence about that.
        """
        self._open = False
        if self._tasks and seconds > 0:
            await asyncio.wait(self._tasks, timeout=seconds)
        for session in self.calls:
            session.happened(EngineStopping())
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=5.0)

    async def _hold(self, control: CallControl) -> None:
        try:
            session = await self._make_or_none(control) if self._open else None
        except NotForUs as elsewhere:
            await self._send_on(control, elsewhere)
            return
        if session is None or not self._open:
            await self._hand_on(control)
            return
        self._sessions[session] = None
        self.totals["admitted"] += 1
        try:
            reason = await session.run()
            self.totals[reason] = self.totals.get(reason, 0) + 1
        except Exception:  # noqa: BLE001 - the edge of a call: what breaks one must not break another
            self.totals["failed"] += 1
            log.exception("call failed, its caller was taken leave of", call_id=session.call_id)
        finally:
            del self._sessions[session]

    async def _make_or_none(self, control: CallControl) -> CallSession | None:
        try:
            return await self._make(control)
        except NotForUs:
            raise
        except OffhookError as error:
            self.totals["failed"] += 1
            log.error("call cannot be held", channel=control.channel_id, error=str(error))
            return None
        except Exception:  # noqa: BLE001 - the edge of a call, as below
            self.totals["failed"] += 1
            log.exception("call cannot be held", channel=control.channel_id)
            return None

    async def _send_on(self, control: CallControl, elsewhere: NotForUs) -> None:
        self.totals["not_for_us"] = self.totals.get("not_for_us", 0) + 1
        log.warning("caller is sent on unanswered", channel=control.channel_id, reason=str(elsewhere))
        try:
            await control.transfer(elsewhere.context, elsewhere.extension)
        except (AsteriskError, CallGone) as error:
            log.warning("caller could not be sent on", channel=control.channel_id, error=str(error))
        finally:
            with suppress(AsteriskError, CallGone):
                await control.close()

    async def _hand_on(self, control: CallControl) -> None:
        try:
            if control.reaches_human:
                log.info("caller is handed to the human", channel=control.channel_id)
                await control.transfer(self._settings.human_context, self._settings.human_extension)
            else:
                log.warning("caller is hung up on: no human can be reached", channel=control.channel_id)
                await control.hang_up()
        except (AsteriskError, CallGone) as error:
            log.warning("caller could not be handed on", channel=control.channel_id, error=str(error))
        finally:
            with suppress(AsteriskError, CallGone):
                await control.close()
