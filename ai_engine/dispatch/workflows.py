"""The life of a call as durable workflows: each step is written down, and after a crash the next one follows."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, Protocol, TypeVar

import structlog
from dbos import DBOS, SetWorkflowID, WorkflowHandleAsync
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

VERSION = "1"
"""Of the workflows: raise it when their steps change. What an older engine began, and nobody of its version carries on,
is begun anew; how far it has come stands in the store."""

ACTIVE = ["PENDING", "ENQUEUED"]

NAMES = [_CALL, _ATTEMPT, _BOOKING] = ["offhook.call", "offhook.attempt", "offhook.booking"]

_NO_LIMIT: int | None = None
"""However often the engine was restarted, a call is carried through."""

_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 60.0
_NOTIFY_TRIES = 8
_TRIES = 5
"""Of a step that fails for no reason we know of."""


class Steps(Protocol):
    """What the workflows do; every method may be called again with the same arguments after a crash, and some take
    hours."""

    async def until_allowed(self, call_id: str) -> int | None:
        """Wait until the number may be dialled, for the first time or again: the number of the attempt. None: it never
        may, or is not wanted any more."""
        ...

    async def queue_of(self, call_id: str) -> str:
        """The queue in which its attempts wait for a line."""
        ...

    async def until_done(self, call_id: str, number: int) -> bool:
        """Wait until the attempt is over, and nothing of it is undecided; whether there is to be another one."""
        ...

    async def begin(self, call_id: str, number: int) -> bool:
        """The attempt has got a line; False when it is over already, not wanted any more, or must wait longer."""
        ...

    async def prepare(self, call_id: str, number: int) -> bool:
        """Whether it can be dialled."""
        ...

    async def start(self, call_id: str, number: int) -> None:
        """Dial, and never twice."""
        ...

    async def see_through(self, call_id: str, number: int) -> None:
        """Hear what becomes of the call until it is over; end it when it is overdue."""
        ...

    def let_go(self, call_id: str, number: int) -> None:
        """This engine has nothing to do with the attempt any more."""
        ...

    async def broke(self, call_id: str, number: int, reason: str) -> None:
        """A defect of ours: the attempt has failed."""
        ...

    async def give_up(self, call_id: str, reason: str) -> None:
        """A defect of ours: the call is settled as it is."""
        ...

    async def settle(self, call_id: str) -> bool:
        """Nothing more will happen; whether somebody wants to be told."""
        ...

    async def notify(self, call_id: str) -> bool:
        """Whether it was told; False: try again."""
        ...

    async def create_event(self, key: str) -> dict[str, Any] | None:
        """Enter the appointment: the calendar's answer; None: it has not answered, try again."""
        ...

    async def booked(self, key: str, answer: dict[str, Any]) -> str:
        """Write the answer down; the call to tell of now, since it was settled before: somebody called back, say."""
        ...


_steps: Steps | None = None
_under_way: dict[asyncio.Task[Any], str] = {}
"""What runs in this process, and its workflow's id."""


def use(steps: Steps) -> None:
    """Whose steps the workflows of this process take; DBOS knows workflows by their name only."""
    global _steps  # noqa: PLW0603
    _steps = steps


async def leave_off() -> None:
    """End all of this process where they are, and begin none; whoever launches DBOS next carries them on."""
    global _steps  # noqa: PLW0603
    _steps = None
    while _under_way:
        for task in _under_way:
            task.cancel()  # DBOS writes down no end of a workflow that ends so
        await asyncio.wait(_under_way)


def running() -> set[str]:
    """Ids of the workflows that run in this process."""
    return set(_under_way.values())


async def any_active() -> bool:
    """Whether there is anything to carry on, of whichever engine."""
    return bool(
        await DBOS.list_workflows_async(name=NAMES, status=ACTIVE, limit=1, load_input=False, load_output=False)
    )


async def begin_call(call_id: str) -> None:
    """Nothing is wrong when it was begun before."""
    with SetWorkflowID(own_id(call_id)):
        await DBOS.start_workflow_async(call_workflow, call_id)


async def begin_booking(key: str) -> WorkflowHandleAsync[dict[str, Any]]:
    """Nothing is wrong when it was begun before. The result is the calendar's answer."""
    with SetWorkflowID(own_id(key)):
        return await DBOS.start_workflow_async(booking_workflow, key)


async def drop_queued(call_id: str) -> None:
    """An attempt that waits for a line need wait no more."""
    queued = await DBOS.list_workflows_async(
        name=_ATTEMPT, workflow_id_prefix=f"{call_id}-", status="ENQUEUED", load_input=False, load_output=False
    )
    if queued:
        await DBOS.cancel_workflows_async([workflow.workflow_id for workflow in queued])


def own_id(subject: str) -> str:
    """Of the workflow of a call or a booking."""
    return f"{subject}@{VERSION}"


@DBOS.workflow(name=_CALL, max_recovery_attempts=_NO_LIMIT)
async def call_workflow(call_id: str) -> None:
    """From the request to the last attempt, and what came of it."""
    steps = _take_up()
    try:
        for turn in count(1):
            number = await _step(steps.until_allowed, call_id)
            if number is None:
                break
            queue = await _step(steps.queue_of, call_id)
            with SetWorkflowID(f"{call_id}-{number}@{VERSION}.{turn}"):
                await DBOS.enqueue_workflow_async(queue, attempt_workflow, call_id, number)
            if not await _step(steps.until_done, call_id, number):
                break
        if await _step(steps.settle, call_id):
            await _tell(call_id)
    except Exception as defect:  # noqa: BLE001 - the edge of a call: it must come to an end all the same
        await _tried(steps.give_up, call_id, _named(defect))


@DBOS.workflow(name=_ATTEMPT, max_recovery_attempts=_NO_LIMIT)
async def attempt_workflow(call_id: str, number: int) -> None:
    """One time that the number is dialled; it holds its line until the call is over."""
    steps = _take_up()
    try:
        if await _step(steps.begin, call_id, number):
            if await _step(steps.prepare, call_id, number):
                await _step(steps.start, call_id, number)
            # No step: whoever carries this on after a crash has to watch, too.
            await _tried(steps.see_through, call_id, number)
    except Exception as defect:  # noqa: BLE001 - the edge of an attempt: its call must come to an end all the same
        await _tried(steps.broke, call_id, number, _named(defect))
    finally:
        steps.let_go(call_id, number)


@DBOS.workflow(name=_BOOKING, max_recovery_attempts=_NO_LIMIT)
async def booking_workflow(key: str) -> dict[str, Any]:
    """An appointment that was confirmed on the telephone gets into the calendar, however long that takes."""
    steps = _take_up()
    try:
        answer = await _until_answered(key)
    except Exception as defect:  # noqa: BLE001 - the edge of a booking: its call must not wait for it for ever
        answer = {"ok": False, "error": _named(defect)}
    if call_id := await _step(steps.booked, key, answer):
        await _tell(call_id)
    return answer


async def _until_answered(key: str) -> dict[str, Any]:
    pause = _FIRST_RETRY_SECONDS
    while (answer := await _step(_in_use().create_event, key)) is None:
        await DBOS.sleep_async(pause)
        pause = min(pause * 2, _LONGEST_RETRY_SECONDS)
    return answer


async def _tell(call_id: str) -> None:
    steps = _in_use()
    pause = _FIRST_RETRY_SECONDS
    for _ in range(_NOTIFY_TRIES):
        if await _step(steps.notify, call_id):
            return
        await DBOS.sleep_async(pause)
        pause = min(pause * 4, _LONGEST_RETRY_SECONDS)


async def _step(step: Callable[..., Coroutine[Any, Any, _T]], *arguments: Any) -> _T:
    async def taken() -> _T:
        return await _tried(step, *arguments)

    return await DBOS.run_step_async({"name": step.__name__}, taken)


async def _tried(step: Callable[..., Coroutine[Any, Any, _T]], *arguments: Any) -> _T:
    """Until it succeeds; where it is not the database that is away, so many times at most."""
    pause, failures = _FIRST_RETRY_SECONDS, 0
    while True:
        try:
            return await _apart(step(*arguments))
        except SQLAlchemyError as away:
            log.warning("a step waits for the database", step=step.__name__, of=arguments[:1], reason=str(away))
        except Exception:  # noqa: BLE001 - every step may be taken again
            failures += 1
            if failures >= _TRIES:
                raise
            log.exception("a step failed and is taken again", step=step.__name__, of=arguments, tries=failures)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_RETRY_SECONDS)


async def _apart(work: Coroutine[Any, Any, _T]) -> _T:
    """Done as if nobody knew of a workflow: what ``work`` begins and leaves running is no part of one."""
    return await asyncio.get_running_loop().create_task(work, context=contextvars.Context())


def _take_up() -> Steps:
    """The steps, for a workflow that begins, or begins again."""
    steps, task = _in_use(), asyncio.current_task()
    assert task is not None
    _under_way[task] = DBOS.workflow_id or ""
    task.add_done_callback(_under_way.pop)
    return steps


def _in_use() -> Steps:
    if _steps is None:
        raise asyncio.CancelledError  # the engine stops; the next one carries on
    return _steps


def _named(defect: Exception) -> str:
    return f"a defect of the engine: {type(defect).__name__}: {defect}"
