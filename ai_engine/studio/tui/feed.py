"""Keeps the board up to date: what the engine tells, and what the files say."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import TypeVar

from ai_engine.errors import OffhookError
from ai_engine.studio.tui.board import Board
from ai_engine.studio.tui.sources import Sources
from ai_engine.switchboard.models import TrunkState
from ai_engine.switchboard.ports import Refused, Switchboard
from ai_engine.web.connection import EngineUnreachable

T = TypeVar("T")

_ASK_SECONDS = 2.0
"""How often the engine is asked for its lists; events say the rest."""
_FILES_SECONDS = 2.0
_PATIENCE_SECONDS = 10.0
"""An engine that answers later than this counts as gone."""
_RETRY_SECONDS = (0.5, 1.0, 2.0, 4.0)


class Feed:
    """``run`` and ``watch_files`` go on until they are cancelled."""

    def __init__(self, sources: Sources, board: Board) -> None:
        self._sources = sources
        self._board = board
        self._ask_now = asyncio.Event()
        self._read_now = asyncio.Event()
        self.switchboard: Switchboard | None = None
        """None while there is no engine."""

    def hurry(self) -> None:
        """Ask, and read, again at once."""
        self._ask_now.set()
        self._read_now.set()

    async def run(self) -> None:
        attempts = 0
        while True:
            began = asyncio.get_running_loop().time()
            try:
                async with self._sources.switchboard() as switchboard:
                    await self._follow(switchboard)
            except* (EngineUnreachable, Refused, OffhookError, OSError) as problems:
                self._lost(_why(problems))
            if asyncio.get_running_loop().time() - began > _PATIENCE_SECONDS:
                attempts = 0
            self._ask_now.clear()
            await _woken(self._ask_now, _RETRY_SECONDS[min(attempts, len(_RETRY_SECONDS) - 1)])
            attempts += 1

    async def watch_files(self) -> None:
        stamp = ""
        while True:
            stamp = await self._read_numbers(stamp)
            await self._read_agents()
            self._read_now.clear()
            await _woken(self._read_now, _FILES_SECONDS)

    async def _follow(self, switchboard: Switchboard) -> None:
        self.switchboard = switchboard  # before its lists: what is seen of them can be acted on
        try:
            await self._ask(switchboard)
            self._board.connected(self._sources.clock())
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._events(switchboard))
                tasks.create_task(self._log(switchboard))
                while True:
                    await _woken(self._ask_now, _ASK_SECONDS)
                    await self._ask(switchboard)
        finally:
            self.switchboard = None

    async def _ask(self, switchboard: Switchboard) -> None:
        """Everything at once; an engine that keeps one of them for itself still tells the others."""
        self._ask_now.clear()
        board = self._board
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                board.engine = await switchboard.engine()
                board.are_in_progress(await switchboard.calls())
                board.rooms = await _unless_refused(switchboard.rooms, board.rooms)
                board.agents = await _unless_refused(switchboard.agents, board.agents)
                before: Sequence[TrunkState] = tuple(board.trunks.values())
                states = await _unless_refused(switchboard.trunks, before)
                board.trunks = {state.number: state for state in states}
        except TimeoutError:
            raise EngineUnreachable(
                f"the engine has not answered for {_PATIENCE_SECONDS:.0f} s; is it overloaded?"
            ) from None
        board.version += 1

    async def _events(self, switchboard: Switchboard) -> None:
        async with aclosing(switchboard.events()) as events:  # type: ignore[type-var]
            async for event in events:
                if self._board.happened(event):
                    self._ask_now.set()
        raise EngineUnreachable("the engine has ended the connection; is it being stopped?")

    async def _log(self, switchboard: Switchboard) -> None:
        board = self._board
        board.log_begins()
        try:
            async with aclosing(switchboard.logs(follow=True)) as lines:  # type: ignore[type-var]
                async for line in lines:
                    board.write(line)
        except Refused as refusal:
            board.log_trouble = str(refusal)
            board.version += 1

    async def _read_numbers(self, stamp: str) -> str:
        board, numbers = self._board, self._sources.numbers
        try:
            now = await asyncio.to_thread(numbers.stamp)
            if now != stamp or board.number_trouble:
                board.numbers = await asyncio.to_thread(numbers.numbers)
                board.number_trouble = ""
                board.version += 1
            return now
        except (OffhookError, OSError) as error:
            board.number_trouble = str(error)
            board.version += 1
            return ""

    async def _read_agents(self) -> None:
        board = self._board
        try:
            files = await asyncio.to_thread(self._sources.agents.list)
            found: Mapping[str, Sequence[str]] = {file.name: file.problems for file in files}
            trouble = ""
        except (OffhookError, OSError) as error:
            found, trouble = board.agent_files, str(error)
        if (found, trouble) != (board.agent_files, board.agent_trouble):
            board.agent_files, board.agent_trouble = found, trouble
            board.version += 1

    def _lost(self, why: str) -> None:
        self.switchboard = None
        self._board.lost(why, self._sources.clock())


async def _unless_refused(ask: Callable[[], Awaitable[T]], before: T) -> T:
    try:
        return await ask()
    except Refused:
        return before


async def _woken(event: asyncio.Event, seconds: float) -> None:
    """Returns after that time, or as soon as it is set."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _why(problems: BaseExceptionGroup[BaseException]) -> str:
    first: BaseException = problems
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    return str(first) or type(first).__name__
