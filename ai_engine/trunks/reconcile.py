"""Asterisk's trunks made those of the store: at every connection to Asterisk, and whenever the store has changed."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import structlog

from ai_engine.errors import AsteriskError, ConfigError
from ai_engine.switchboard.models import Applied, TrunkState
from ai_engine.switchboard.settings import StudioSettings
from ai_engine.trunks.number import PREFIX, SipNumber
from ai_engine.trunks.pjsip import PjsipObject, conf_text, objects
from ai_engine.trunks.pjsip_file import WrittenTrunks
from ai_engine.trunks.pjsip_push import PushedTrunks
from ai_engine.trunks.ports import Backend, Pbx
from ai_engine.trunks.store import NumberStore

__all__ = ["Pbx", "TrunkKeeper"]

log = structlog.get_logger(__name__)

FIRST_ANSWER_SECONDS = 65.0
"""Asterisk asks a carrier for the first time at a random moment within ``qualify_frequency``; until then it says
``offline`` of everybody."""


FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 30.0, 900.0
"""Until a trunk that could not be applied is tried again: a name server may have been away."""

_NOT_APPLIED = ("failed", "missing")


class TrunkKeeper:
    """Lives on the loop of calls, where Asterisk is talked to; files are read and written in threads."""

    def __init__(self, settings: StudioSettings, store: NumberStore, pbx: Pbx) -> None:
        self._settings = settings
        self._store = store
        self._pbx = pbx
        directory = settings.pjsip_directory
        self._backend: Backend = PushedTrunks(pbx) if directory is None else WrittenTrunks(directory, pbx)
        self._one_at_a_time = asyncio.Lock()
        self._connections = 0
        self._failures: Mapping[str, str] = {}
        self._written_at: dict[str, float] = {}
        """Loop time by object id."""

    async def connected(self, tell: Callable[[Applied], None] = lambda applied: None) -> None:
        """For ``AriApp``: reconcile, and ``tell`` and log what came of it; again, as long as something is not applied
        and this connection is the latest."""
        self._connections += 1
        mine, complaints, delay = self._connections, frozenset[str](), FIRST_RETRY_SECONDS
        while mine == self._connections:
            complaints = await self._apply(complaints, tell)
            if not complaints:
                return
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_RETRY_SECONDS)

    async def _apply(self, complaints: frozenset[str], tell: Callable[[Applied], None]) -> frozenset[str]:
        """Reconcile, and log each complaint that is not among the ``complaints`` already; those there are now."""
        try:
            applied = await self.reconcile()
        except (AsteriskError, ConfigError, OSError) as error:
            if str(error) not in complaints:
                log.warning("trunks could not be applied to Asterisk", reason=str(error))
            return frozenset({str(error)})
        tell(applied)
        if applied.written or applied.removed:
            log.info("trunks applied", backend=applied.backend, written=applied.written, removed=applied.removed)
        wrong = {f"{trunk.number} {trunk.detail}": trunk for trunk in applied.trunks if trunk.state in _NOT_APPLIED}
        for complaint, trunk in wrong.items():
            if complaint not in complaints:
                log.error("trunk not applied", number=trunk.number, state=trunk.state, reason=trunk.detail)
        return frozenset(wrong)

    async def reconcile(self) -> Applied:
        """Make Asterisk's trunks those of the store. Calls at the same time are done one after the other.

        Raises AsteriskError when Asterisk cannot be asked, and ConfigError when the store cannot be read.
        """
        async with self._one_at_a_time:
            numbers = await asyncio.to_thread(self._store.numbers)
            removed = await asyncio.to_thread(self._store.removed)
            wanted, unfit = self._rendered(numbers)
            known = await self._pbx.endpoints()
            strangers = {object_id for object_id in known if object_id.startswith(PREFIX)}
            orphans = (strangers | set(removed)) - {number.object_id for number in numbers}
            done = await self._backend.apply(wanted, orphans)
            self._failures = {**done.failures, **unfit}
            self._written_at.update(dict.fromkeys(done.written, asyncio.get_running_loop().time()))
            forgotten = [object_id for object_id in removed if object_id in orphans - set(done.failures)]
            if forgotten:
                await asyncio.to_thread(self._store.forget, forgotten)
            trunks = self._states(numbers, await self._pbx.endpoints())
        return Applied(backend=self._backend.name, written=done.written, removed=done.removed, trunks=trunks)

    async def states(self) -> tuple[TrunkState, ...]:
        """How the trunks of the store stand. Raises AsteriskError, and ConfigError when the store cannot be read."""
        numbers = await asyncio.to_thread(self._store.numbers)
        return self._states(numbers, await self._pbx.endpoints())

    def _rendered(self, numbers: Sequence[SipNumber]) -> tuple[dict[str, Sequence[PjsipObject]], dict[str, str]]:
        """The objects of each number, or why it has none: one that cannot be told must not keep the others away."""
        wanted: dict[str, Sequence[PjsipObject]] = {}
        unfit: dict[str, str] = {}
        for number in numbers:
            try:
                rendered = objects(number, self._settings)
                conf_text(rendered)
            except ConfigError as error:
                unfit[number.object_id] = str(error)
            else:
                wanted[number.object_id] = rendered
        return wanted, unfit

    def _states(self, numbers: Sequence[SipNumber], known: Mapping[str, str]) -> tuple[TrunkState, ...]:
        return tuple(self._state(number, known.get(number.object_id)) for number in numbers)

    def _state(self, number: SipNumber, endpoint: str | None) -> TrunkState:
        written = self._written_at.get(number.object_id)
        age = None if written is None else asyncio.get_running_loop().time() - written
        state, detail = endpoint, ""
        if number.object_id in self._failures:
            state, detail = "failed", self._failures[number.object_id]
        elif endpoint is None:
            state, detail = "missing", self._backend.missing
        elif endpoint == "offline" and age is not None and age < FIRST_ANSWER_SECONDS:
            state, detail = (
                "unknown",
                "the carrier has not answered yet: Asterisk asks for the first time within a minute",
            )
        elif endpoint == "offline":
            state, detail = (
                "offline",
                f"{number.address} does not answer OPTIONS over {number.transport}: check address, port and firewall"
                f" (`studio number list --status` asks again, `studio number import --test` names what is wrong)",
            )
        elif endpoint != "online":
            state, detail = "unknown", "Asterisk does not ask this carrier"
        return TrunkState.model_validate(
            {"number": number.number, "object_id": number.object_id, "state": state, "detail": detail}
        )
