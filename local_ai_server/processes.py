"""A pool of child processes: jobs go to whichever is free, owners taking turns."""

import asyncio
import pickle
import socket
from collections.abc import AsyncGenerator, Callable, Hashable
from dataclasses import dataclass, field
from itertools import count
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

import structlog

from local_ai_server.errors import AgentError, JobFailed
from local_ai_server.jobs import JobQueue
from local_ai_server.link import LENGTH, LOADED
from local_ai_server.load import Load

JOB_SECONDS = 30.0
"""One turn or clause takes less, unless a model hangs."""
_RESTART_SECONDS = 0.5
"""Pause before a seat is filled again, so that a worker that cannot start does not eat the machine."""

_spawn = get_context("spawn")  # a fork would copy the loop, its sockets and its locks
_log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class _Job:
    id: int
    method: str
    arguments: tuple[Any, ...]
    seat: int | None
    owner: Hashable
    urgent: bool
    begun: float = 0.0
    """Loop time at which a worker took it."""
    news: asyncio.Queue[tuple[str, Any]] = field(default_factory=asyncio.Queue)
    """What the worker said of it, in its words: ``(kind, value)``."""

    async def next(self) -> tuple[str, Any]:
        kind, value = await self.news.get()
        if kind == "refused":
            raise AgentError(value)
        if kind == "failed":
            raise JobFailed(value)
        return kind, value


@dataclass(eq=False, slots=True)
class _Worker:
    seat: int
    process: BaseProcess
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    job_seconds: float
    job: _Job | None = None
    watchdog: asyncio.TimerHandle | None = None

    def send(self, message: tuple[int, str | None, tuple[Any, ...]]) -> None:
        data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self.writer.write(LENGTH.pack(len(data)) + data)

    async def read(self) -> tuple[int, str, Any]:
        """Raises IncompleteReadError or OSError when the process is gone."""
        head = await self.reader.readexactly(LENGTH.size)
        message: tuple[int, str, Any] = pickle.loads(await self.reader.readexactly(LENGTH.unpack(head)[0]))
        return message

    def set_job(self, job: _Job | None) -> None:
        if self.watchdog:
            self.watchdog.cancel()
        self.job = job
        loop = asyncio.get_running_loop()
        if job:
            job.begun = loop.time()
        self.watchdog = loop.call_later(self.job_seconds, self.process.kill) if job else None

    def dismiss(self) -> None:
        if self.watchdog:
            self.watchdog.cancel()
        self.writer.close()
        self.process.kill()


class ProcessPool:
    """``async with ProcessPool(...) as pool``: ``size`` processes, each replaced when it dies.

    A job whose worker dies fails with JobFailed; other jobs are not touched.
    """

    def __init__(
        self, name: str, size: int, run: Callable[..., None], *arguments: object, job_seconds: float = JOB_SECONDS
    ) -> None:
        """``run(socket, *arguments)`` is a process's life; it is replaced when one job takes it ``job_seconds``."""
        self.size = size
        self._name = name
        self._run_process = run
        self._arguments = arguments
        self._job_seconds = job_seconds
        self._numbers = count(LOADED + 1)
        self._waiting: JobQueue[_Job] = JobQueue()
        self.load = Load()
        self._workers: dict[int, _Worker] = {}
        self._seats: list[asyncio.Task[None]] = []
        self.replaced = 0
        """How many workers have died."""
        self.cards: Any = {}
        """What the process that was started last told of its models."""

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        loaded: list[asyncio.Future[None]] = [loop.create_future() for _ in range(self.size)]
        self._seats = [asyncio.create_task(self._keep(seat, future)) for seat, future in enumerate(loaded)]
        try:
            await asyncio.gather(*loaded)
        except (JobFailed, asyncio.CancelledError):
            await self.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all processes; nobody may wait for a job any more."""
        for seat in self._seats:
            seat.cancel()
        await asyncio.gather(*self._seats, return_exceptions=True)

    @property
    def alive(self) -> int:
        return len(self._workers)

    @property
    def idle(self) -> int:
        return sum(hired.job is None for hired in self._workers.values())

    @property
    def queue(self) -> int:
        """Jobs that wait for a worker."""
        return len(self._waiting)

    @property
    def delay_seconds(self) -> float:
        """How long a job of a new owner would wait, about, were it served after all that wait now."""
        now = asyncio.get_running_loop().time()
        ages = [now - hired.job.begun for hired in self._workers.values() if hired.job]
        return self.load.wait_seconds(len(self._waiting), ages, self.alive)

    def counts(self) -> dict[str, float]:
        """What ``/health`` tells of the jobs."""
        return {
            "running": self.alive - self.idle,
            "waiting_urgent": self._waiting.urgent,
            "waiting_other": len(self._waiting) - self._waiting.urgent,
            "done": self.load.jobs,
            "mean_seconds": round(self.load.mean_seconds, 3),
            "delay_seconds": round(self.delay_seconds, 3),
        }

    def process_ids(self) -> list[int]:
        return [hired.process.pid or 0 for hired in self._workers.values()]

    async def run(self, method: str, *arguments: object, owner: Hashable = None, urgent: bool = True) -> Any:
        """One job with one result. Raises AgentError, JobFailed.

        Owners take turns, urgent jobs of all of them first (``jobs.py``); without one, a job is its own.
        """
        return await self._run(method, arguments, None, owner, urgent)

    async def run_everywhere(self, method: str, *arguments: object) -> list[Any]:
        """The same job once in every living worker, e.g. to warm it."""
        return await asyncio.gather(*(self._run(method, arguments, seat, None, True) for seat in tuple(self._workers)))

    async def stream(
        self, method: str, *arguments: object, owner: Hashable = None, urgent: bool = True
    ) -> AsyncGenerator[Any, None]:
        """The items of one job as they are made; closing the iterator cancels it. Raises AgentError, JobFailed."""
        job = self._submit(method, arguments, None, owner, urgent)
        try:
            while True:
                kind, value = await job.next()
                if kind == "done":
                    return
                yield value
        finally:
            self._withdraw(job)

    async def _run(
        self, method: str, arguments: tuple[Any, ...], seat: int | None, owner: Hashable, urgent: bool
    ) -> Any:
        job = self._submit(method, arguments, seat, owner, urgent)
        try:
            return (await job.next())[1]
        finally:
            self._withdraw(job)

    def _submit(self, method: str, arguments: tuple[Any, ...], seat: int | None, owner: Hashable, urgent: bool) -> _Job:
        number = next(self._numbers)
        job = _Job(number, method, arguments, seat, number if owner is None else owner, urgent)
        self._waiting.push(job, job.owner, urgent=urgent)
        self._dispatch()
        return job

    def _dispatch(self) -> None:
        for hired in self._workers.values():
            if hired.job is None:
                self._give_job(hired)

    def _give_job(self, hired: _Worker) -> None:
        job = self._waiting.pop(lambda job: job.seat in (None, hired.seat))
        if job is not None:
            hired.set_job(job)
            hired.send((job.id, job.method, job.arguments))

    def _withdraw(self, job: _Job) -> None:
        """Nobody waits for ``job`` any more; without effect when it is done."""
        self._waiting.remove(job, job.owner)
        for hired in self._workers.values():
            if hired.job is job:
                hired.send((job.id, None, ()))

    async def _keep(self, seat: int, loaded: asyncio.Future[None]) -> None:
        """Fill one seat, again and again; ``loaded`` learns how the first worker fared."""
        while True:
            hired = await self._hire(seat)
            try:
                await self._employ(hired, loaded)
            except (asyncio.IncompleteReadError, OSError):
                reason = "the worker process died"
            except JobFailed as error:
                reason = str(error)
            finally:
                self._workers.pop(seat, None)
                hired.dismiss()
            self._lose(hired, reason)
            if not loaded.done():
                loaded.set_exception(JobFailed(f"a worker could not start: {reason}"))
            await asyncio.sleep(_RESTART_SECONDS)

    async def _employ(self, hired: _Worker, loaded: asyncio.Future[None]) -> None:
        """Give one worker jobs until it is gone, which is said by raising."""
        _, kind, value = await hired.read()
        if kind == "failed":
            raise JobFailed(value)
        self.cards = value
        self._workers[hired.seat] = hired
        if not loaded.done():
            loaded.set_result(None)
        self._dispatch()
        while True:
            number, kind, value = await hired.read()
            if kind == "failed":
                raise JobFailed(value)
            assert hired.job is not None, number
            hired.job.news.put_nowait((kind, value))
            if kind != "item":
                self._note(hired.job)
                hired.set_job(None)
                self._dispatch()

    def _note(self, job: _Job) -> None:
        if job.seat is None:  # what is done once in every worker says nothing about what comes
            self.load.done(asyncio.get_running_loop().time() - job.begun)

    def _lose(self, dead: _Worker, reason: str) -> None:
        """Fail the job a dead worker had in hand, and those that waited for it alone."""
        self.replaced += 1
        lost = self._waiting.take(lambda job: job.seat == dead.seat)
        if dead.job:
            lost.append(dead.job)
        for job in lost:
            job.news.put_nowait(("failed", reason))
        _log.warning("worker replaced", seat=dead.seat, pid=dead.process.pid, reason=reason, jobs_lost=len(lost))

    async def _hire(self, seat: int) -> _Worker:
        ours, theirs = socket.socketpair()
        process = _spawn.Process(
            target=self._run_process, args=(theirs, *self._arguments), name=f"{self._name}-{seat}", daemon=True
        )
        with theirs:
            starting = asyncio.ensure_future(asyncio.to_thread(process.start))
            try:
                await asyncio.shield(starting)
            except asyncio.CancelledError:
                await starting  # a start cannot be called off: it would go on with a socket that is closed
                ours.close()
                process.kill()
                raise
        reader, writer = await asyncio.open_connection(sock=ours)
        return _Worker(seat, process, reader, writer, self._job_seconds)
