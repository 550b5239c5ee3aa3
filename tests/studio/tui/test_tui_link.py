"""Engines that are not there, go, come back, or take their time."""

import threading
from datetime import timedelta

from tests.studio.tui.fakes.scene import NOW, Scene
from tests.studio.tui.fakes.stage import Stage, staged


async def test_it_opens_without_an_engine_and_finds_one_that_starts(office: Scene) -> None:
    office.engine.down = True
    async with staged(office) as studio:
        await studio.shows("start one with 'python -m ai_engine'", "no engine since 14:30:42 (0:00)")
        await studio.press("3")
        await studio.shows("reception", "what it can do is known when the engine is there")
        office.engine.down = False
        await studio.shows("yes phone_call", "● pbx1")


async def test_it_says_since_when_the_engine_is_gone_and_comes_back(studio: Stage) -> None:
    studio.engine.stop()
    await studio.shows("○ no engine since 14:30:42 (0:00)")
    studio.office.now = NOW + timedelta(seconds=83)
    await studio.shows("○ no engine since 14:30:42 (1:23)", "+493055512345")
    studio.engine.down = False
    await studio.shows("● pbx1 0.1.0")
    await studio.until(lambda: studio.engine.watched)
    studio.office.talk()
    await studio.press("enter")
    await studio.shows("Thursday would …")


async def test_what_is_asked_of_an_engine_that_is_gone_is_told(studio: Stage) -> None:
    studio.engine.stop()
    await studio.shows("no engine since")
    await studio.press("h", "y")
    await studio.shows("Not done:", "It goes on by itself when the engine is back.")


async def test_an_engine_that_does_not_answer_holds_no_key_back(studio: Stage) -> None:
    studio.engine.silent = True
    await studio.press("h", "y")
    await studio.shows("hanging up …")
    await studio.press("2")
    await studio.shows("sip.carrier.example")
    await studio.press("question_mark")
    await studio.shows("have an agent call somebody")
    assert studio.engine.asked == []


async def test_a_flood_of_events_is_drawn_a_few_times_and_not_for_each(studio: Stage) -> None:
    await studio.until(lambda: studio.engine.watched)
    await studio.press("enter")
    await studio.shows("floor: caller")
    screen, drawn = studio.app.screen, 0
    paint = screen.paint  # type: ignore[attr-defined]

    def counted(now: object) -> None:
        nonlocal drawn
        drawn += 1
        paint(now)

    screen.paint = counted  # type: ignore[attr-defined]
    for _ in range(2000):
        studio.office.talk()
    studio.engine.publish(NOW, "said", "in-1f0c", who="caller", text="The last word.")
    await studio.shows("The last word.")
    assert drawn < 50


async def test_a_call_that_events_do_not_name_is_asked_for(studio: Stage) -> None:
    await studio.until(lambda: studio.engine.watched)
    missed = studio.engine.in_progress[0].model_copy(update={"call_id": "missed", "number": "+15550002222"})
    studio.engine.in_progress.append(missed)
    studio.engine.publish(NOW, "levels", "missed", caller=-20.0, agent=-60.0)
    await studio.shows("+15550002222")


async def test_a_store_that_is_locked_holds_no_key_back(office: Scene) -> None:
    unlocked = threading.Event()
    office.numbers.unlocked = unlocked
    async with staged(office) as studio:
        try:
            await studio.shows("+493055512345")
            await studio.press("3")
            await studio.shows("yes phone_call")
            await studio.press("2")
            await studio.shows("No numbers.")
        finally:
            unlocked.set()
        await studio.shows("sip.carrier.example;tls")


async def test_a_call_that_is_seen_can_be_ended_before_everything_is_told(office: Scene) -> None:
    office.engine.thinks.clear()
    async with staged(office) as studio:
        await studio.shows("+493055512345", "connecting …")
        await studio.press("h", "y")
        await studio.shows("Hung up on +493055512345.")
        office.engine.thinks.set()
        await studio.shows("● pbx1")
