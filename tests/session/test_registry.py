"""The edge at which a call's failure stops."""

import asyncio
from collections.abc import Callable

from ai_engine.call.actions import EndReason
from ai_engine.errors import ConfigError, NotForUs
from ai_engine.session.call_session import CallSession
from ai_engine.session.ports import CallControl
from ai_engine.session.registry import Registry
from ai_engine.session.settings import SessionSettings
from tests.fakes.call_parts import FakeControl
from tests.fakes.virtual_time import run_virtual


class FakeSession:
    """Holds until it is told an event or an error."""

    def __init__(self, call_id: str = "call-1") -> None:
        self.call_id = call_id
        self.end: asyncio.Future[EndReason] = asyncio.get_running_loop().create_future()

    async def run(self) -> EndReason:
        return await self.end

    def happened(self, event: object) -> None:
        self.end.set_result(EndReason.RESCUED)


def registry(make: Callable[[CallControl], object]) -> Registry:
    async def made(control: CallControl) -> object:
        return make(control)

    return Registry(made, SessionSettings())  # type: ignore[arg-type]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_a_call_is_held_from_admission_to_its_end() -> None:
    async def run() -> None:
        session, control = FakeSession(), FakeControl()
        calls = registry(lambda _: session)
        calls.admit(control)
        await settle()
        assert calls.calls == [session]
        session.end.set_result(EndReason.CALLER_HUNG_UP)
        await settle()
        assert calls.calls == []
        assert calls.totals == {"admitted": 1, "failed": 0, "caller_hung_up": 1}
        assert control.done == []

    run_virtual(run())


def test_a_call_that_breaks_does_not_break_another() -> None:
    async def run() -> None:
        bad, good = FakeSession("bad"), FakeSession("good")
        sessions = [good, bad]
        calls = registry(lambda _: sessions.pop())
        calls.admit(FakeControl())
        calls.admit(FakeControl())
        await settle()
        bad.end.set_exception(ZeroDivisionError("a defect"))
        await settle()
        assert calls.calls == [good]
        assert calls.totals["failed"] == 1
        good.end.set_result(EndReason.AGENT_HUNG_UP)
        await settle()
        assert calls.calls == []

    run_virtual(run())


def test_a_call_nobody_can_hold_goes_to_a_human() -> None:
    def make(_: CallControl) -> CallSession:
        raise ConfigError("there is no such agent")

    async def run() -> None:
        control = FakeControl()
        registry(make).admit(control)
        await settle()
        assert control.done == ["transfer offhook,human", "close"]

    run_virtual(run())


def test_a_call_nobody_can_hold_is_hung_up_where_there_is_no_human() -> None:
    def make(_: CallControl) -> CallSession:
        raise ConfigError("there is no such agent")

    async def run() -> None:
        control = FakeControl(reaches_human=False)
        registry(make).admit(control)
        await settle()
        assert control.done == ["hang_up", "close"]

    run_virtual(run())


def test_a_drain_waits_then_hands_on_and_lets_nobody_in() -> None:
    async def run() -> None:
        session, late = FakeSession(), FakeControl()
        calls = registry(lambda _: session)
        calls.admit(FakeControl())
        await settle()
        began = asyncio.get_running_loop().time()
        await calls.drain(5.0)
        assert asyncio.get_running_loop().time() - began == 5.0
        assert session.end.result() is EndReason.RESCUED
        calls.admit(late)
        await settle()
        assert late.done == ["transfer offhook,human", "close"]

    run_virtual(run())


def test_whatever_making_a_session_raises_the_caller_reaches_a_human() -> None:
    async def run() -> None:
        def make(_: CallControl) -> object:
            raise KeyError("a defect")

        control = FakeControl()
        calls = registry(make)
        calls.admit(control)
        await settle()
        assert control.done == ["transfer offhook,human", "close"]
        assert calls.totals["failed"] == 1

    run_virtual(run())


def test_a_call_that_is_being_made_when_the_engine_stops_is_handed_on() -> None:
    async def run() -> None:
        async def make(_: CallControl) -> object:
            await asyncio.sleep(3.0)  # Asterisk takes its time to say what codec it is
            return FakeSession()

        control = FakeControl()
        calls = Registry(make, SessionSettings())  # type: ignore[arg-type]
        calls.admit(control)
        await settle()
        await calls.drain(0.0)
        assert calls.calls == []
        assert control.done == ["transfer offhook,human", "close"]

    run_virtual(run())


def test_two_calls_of_one_name_are_both_held() -> None:
    async def run() -> None:
        sessions = [FakeSession("same"), FakeSession("same")]
        calls = registry(lambda _: sessions.pop())
        first, second = sessions
        calls.admit(FakeControl())
        calls.admit(FakeControl())
        await settle()
        assert len(calls.calls) == 2
        second.end.set_result(EndReason.CALLER_HUNG_UP)
        await settle()
        assert calls.calls == [first]
        first.end.set_result(EndReason.CALLER_HUNG_UP)
        await settle()

    run_virtual(run())


def test_a_caller_who_is_not_for_us_goes_on_in_the_dialplan_unanswered() -> None:
    def make(_: CallControl) -> CallSession:
        raise NotForUs("+15550100 is none of our numbers", "offhook-number", "unknown")

    async def run() -> None:
        control = FakeControl()
        calls = registry(make)
        calls.admit(control)
        await settle()
        assert control.done == ["transfer offhook-number,unknown", "close"]
        assert calls.totals == {"admitted": 0, "failed": 0, "not_for_us": 1}

    run_virtual(run())
