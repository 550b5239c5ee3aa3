"""Finds what nobody carries through any more, and has it carried on."""

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable
from datetime import UTC, datetime
from typing import Any

import structlog
from dbos import DBOS, WorkflowStatus

from ai_engine.dispatch import workflows

log = structlog.get_logger(__name__)

_FINISHED = ["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]
_MANY = 500
_LEFT = "a defect of the engine: it was left undone"


class Rescue:
    """On the office's event loop, as long as DBOS runs."""

    def __init__(self, engine: str, steps: workflows.Steps) -> None:
        """``engine`` is our name."""
        self._engine = engine
        self._steps = steps
        self._idle: set[str] = set()
        """Workflows that were ours the last time, and did not run."""
        self.rescued = 0
        """Engines whose workflows were carried on here."""

    async def look(self, call_ids: Iterable[str], keys: Iterable[str], others: Collection[str]) -> None:
        """See to it that somebody carries these unsettled calls and unanswered bookings through; ``others`` are the
        engines that are alive beside us."""
        active = await DBOS.list_workflows_async(
            name=workflows.NAMES, status=workflows.ACTIVE, load_input=False, load_output=False
        )
        current = [workflow for workflow in active if _is_current(workflow) or workflow.executor_id in others]
        await self._end_old([workflow for workflow in active if workflow not in current])
        pending = [workflow for workflow in current if workflow.status == "PENDING" and _is_current(workflow)]
        await self._carry_on({workflow.executor_id or "" for workflow in pending} - {self._engine, *others})
        await self._take_up([workflow for workflow in pending if workflow.executor_id == self._engine])
        under_way = {workflow.workflow_id.rpartition("@")[0] for workflow in current}
        for call_id in set(call_ids) - under_way:
            await _begin(workflows.begin_call, call_id, self._steps.give_up, _LEFT)
        for key in set(keys) - under_way:
            await _begin(workflows.begin_booking, key, self._steps.booked, {"ok": False, "error": _LEFT})

    async def _end_old(self, old: list[WorkflowStatus]) -> None:
        """Of a version of which no engine is left: nobody could take their steps, and an attempt would hold its line
        for ever."""
        if old:
            await DBOS.cancel_workflows_async([workflow.workflow_id for workflow in old])

    async def _carry_on(self, engines: set[str]) -> None:
        """What these engines had, who are gone; nothing is wrong when another one does the same."""
        if engines:
            self.rescued += len(engines)
            log.warning("engines are gone, their calls are carried on", engines=sorted(engines))
            await asyncio.to_thread(DBOS._recover_pending_workflows, sorted(engines))

    async def _take_up(self, ours: list[WorkflowStatus]) -> None:
        """A queue has given them to us, and we never heard of it: the database went away just then."""
        running = workflows.running()
        idle = {workflow.workflow_id for workflow in ours if workflow.workflow_id not in running}
        for workflow in ours:
            if workflow.workflow_id in idle & self._idle:
                log.warning("a workflow was left lying, and is taken up", workflow=workflow.workflow_id)
                await DBOS.resume_workflow_async(workflow.workflow_id, queue_name=workflow.queue_name)
        self._idle = idle


def forget(before: float) -> None:
    """Workflows that were finished before then (epoch seconds). Blocks."""
    until = datetime.fromtimestamp(before, UTC).isoformat()
    while old := DBOS.list_workflows(
        name=workflows.NAMES,
        status=_FINISHED,
        completed_before=until,
        limit=_MANY,
        load_input=False,
        load_output=False,
    ):
        DBOS.delete_workflows([workflow.workflow_id for workflow in old])


async def _begin(
    begin: Callable[[str], Coroutine[Any, Any, Any]],
    subject: str,
    give_up: Callable[..., Coroutine[Any, Any, Any]],
    why: Any,
) -> None:
    """One that has ended, and should not have, cannot be begun again."""
    status = await DBOS.get_workflow_status_async(workflows.own_id(subject))
    if status is None:
        await begin(subject)
    elif status.status in _FINISHED:
        await give_up(subject, why)


def _is_current(workflow: WorkflowStatus) -> bool:
    return workflow.app_version == workflows.VERSION
