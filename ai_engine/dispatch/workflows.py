"""The life of a call as durable workflows: each step is written down, and after a crash the next one follows."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, Protocol, TypeVar

import structlog
from dbos import DBOS, SetWorkflowID, error
from sqlalchemy.exc import SQLAlchemyError

log = structlog.get_logger(__name__)

_T = TypeVar("_T")

CANCEL, NEWS, BOOKED = "cancel", "news", "booked"
"""Topics of the messages that wake a workflow; what has happened stands in the store."""

_NO_LIMIT: int | None = None
"""However often the engine was restarted, a call is carried through."""

_BOOKING_WAIT_SECONDS = 3600.0
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 60.0
_NOTIFY_TRIES = 8
_TRIES = 5
"""Of a step that fails for no reason we know of."""
_LOOK_SECONDS = 0.2
"""How often a database without notifications is asked whether an attempt is over."""


class Steps(Protocol):
    """What the workflows do; every method may be called again with the same arguments after a crash."""

    async def wait_seconds(self, call_id: str, number: int) -> float | None:
        """How long to wait before the number may be dialled; None: it never may, or is not wanted any more."""
        ...

    async def queue_of(self, call_id: str) -> str:
        """The queue in which its attempts wait for a line."""
        ...

    async def begin(self, call_id: str, number: int) -> bool:
        """The attempt has got a line; False when it is over already, or not wanted any more."""
        ...

    async def prepare(self, call_id: str, number: int) -> bool:
        """Whether it can be dialled."""
        ...

    async def start(self, call_id: str, number: int) -> bool:
        """Dial, and never twice: whether it was dialled."""
        ...

    async def watch(self, call_id: str, number: int) -> None:
        """Hear what becomes of the call, also after a restart."""
        ...

    async def seconds_left(self, call_id: str, number: int) -> float | None:
        """Until the attempt is overdue; None: it is over."""
        ...

    async def overdue(self, call_id: str, number: int) -> None:
        """End it."""
        ...

    async def undecided(self, call_id: str) -> bool:
        """Whether the calendar still owes an answer."""
        ...

    async def redial_seconds(self, call_id: str, number: int) -> float | None:
        """When to dial again; None: never."""
        ...

    async def broke(self, call_id: str, number: int, reason: str) -> None:
        """A defect of ours: the attempt has failed."""
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

    async def booked(self, key: str, answer: dict[str, Any]) -> tuple[str, int]:
        """Write the answer down; the call it belongs to, or an empty text, and the call's latest attempt."""
        ...

    async def owes_news(self, call_id: str) -> bool:
        """Whether the appointment was made when nobody waited for it any more: somebody called back, say."""
        ...


_steps: Steps | None = None
_under_way: set[asyncio.Task[Any]] = set()


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


def attempt_id(call_id: str, number: int) -> str:
    return f"{call_id}-{number}"


def booking_id(key: str) -> str:
    return f"book:{key}"


@DBOS.workflow(name="offhook.call", max_recovery_attempts=_NO_LIMIT)
async def call_workflow(call_id: str) -> None:
    """From the request to the last attempt, and what came of it."""
    steps = _take_up()
    for number in count(1):
        if not await _until_allowed(call_id, number):
            break
        await _attempt(call_id, number)
        while await _step(steps.undecided, call_id):
            await DBOS.recv_async(BOOKED, timeout_seconds=_BOOKING_WAIT_SECONDS)
        delay = await _step(steps.redial_seconds, call_id, number)
        if delay is None or await DBOS.recv_async(CANCEL, timeout_seconds=delay) is not None:
            break
    if await _step(steps.settle, call_id):
        await _tell(call_id)


@DBOS.workflow(name="offhook.attempt", max_recovery_attempts=_NO_LIMIT)
async def attempt_workflow(call_id: str, number: int) -> None:
    """One time that the number is dialled; it holds its line until the call is over."""
    steps = _take_up()
    if not await _step(steps.begin, call_id, number):
        return
    if not await _step(steps.prepare, call_id, number) or not await _step(steps.start, call_id, number):
        return
    # No step: whoever carries this on after a crash has to watch, too.
    await _apart(steps.watch(call_id, number))
    while (seconds := await _step(steps.seconds_left, call_id, number)) is not None:
        if seconds <= 0:
            await _step(steps.overdue, call_id, number)
        else:
            await DBOS.recv_async(NEWS, timeout_seconds=seconds)


@DBOS.workflow(name="offhook.booking", max_recovery_attempts=_NO_LIMIT)
async def booking_workflow(key: str) -> dict[str, Any]:
    """An appointment that was confirmed on the telephone gets into the calendar, however long that takes."""
    steps = _take_up()
    pause = _FIRST_RETRY_SECONDS
    while (answer := await _step(steps.create_event, key)) is None:
        await DBOS.sleep_async(pause)
        pause = min(pause * 2, _LONGEST_RETRY_SECONDS)
    call_id, attempt = await _step(steps.booked, key, answer)
    if call_id:
        owes_news = await _step(steps.owes_news, call_id)  # before anything settles because of us, and tells itself
        await DBOS.send_async(call_id, key, topic=BOOKED)
        await DBOS.send_async(attempt_id(call_id, attempt), key, topic=NEWS)
        if answer.get("ok"):  # by somebody who called back: it need not be dialled again
            await DBOS.send_async(call_id, key, topic=CANCEL)
        if owes_news:
            await _tell(call_id)
    return answer


async def _until_allowed(call_id: str, number: int) -> bool:
    steps = _in_use()
    while (wait := await _step(steps.wait_seconds, call_id, number)) is not None:
        if wait <= 0:
            return True
        if await DBOS.recv_async(CANCEL, timeout_seconds=wait) is not None:
            return False
    return False


async def _attempt(call_id: str, number: int) -> None:
    queue = await _step(_in_use().queue_of, call_id)
    with SetWorkflowID(attempt_id(call_id, number)):
        handle = await DBOS.enqueue_workflow_async(queue, attempt_workflow, call_id, number)
    try:
        await handle.get_result(polling_interval_sec=_LOOK_SECONDS)
    except error.DBOSAwaitedWorkflowCancelledError:
        pass  # canceled while it waited for a line
    except Exception as defect:  # noqa: BLE001 - the edge of an attempt: the call must come to an end all the same
        await _step(_in_use().broke, call_id, number, f"{type(defect).__name__}: {defect}")


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
        for tries in count(1):
            try:
                return await _apart(step(*arguments))
            except Exception as trouble:  # noqa: BLE001 - every step may be taken again
                if tries >= _TRIES and not isinstance(trouble, SQLAlchemyError):  # a database comes back
                    raise
                log.exception("a step failed and is taken again", step=step.__name__, of=arguments, tries=tries)
            await asyncio.sleep(min(_FIRST_RETRY_SECONDS * 2.0**tries, _LONGEST_RETRY_SECONDS))
        raise AssertionError

    return await DBOS.run_step_async({"name": step.__name__}, taken)


async def _apart(work: Coroutine[Any, Any, _T]) -> _T:
    """Done as if nobody knew of a workflow: what ``work`` begins and leaves running is no part of one."""
    return await asyncio.get_running_loop().create_task(work, context=contextvars.Context())


def _take_up() -> Steps:
    """The steps, for a workflow that begins, or begins again."""
    steps, task = _in_use(), asyncio.current_task()
    assert task is not None
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    return steps


def _in_use() -> Steps:
    if _steps is None:
        raise asyncio.CancelledError  # the engine stops; the next one carries on
    return _steps
