"""The tab of calls, and one call as it goes on."""

from tests.studio.tui.fakes.scene import INBOUND, NOW
from tests.studio.tui.fakes.stage import Stage


async def test_calls_in_progress_are_listed(studio: Stage) -> None:
    await studio.shows("1 in reception +493055512345 talking caller 1:13 842ms", "2 out sales", "3 out survey")
    await studio.shows("Asterisk 22.5.2 up │ 3 calls")


async def test_a_call_is_watched_as_it_is_spoken(studio: Stage) -> None:
    await studio.until(lambda: studio.engine.watched)
    studio.office.talk()
    await studio.press("enter")
    await studio.shows("caller: Thursday would …", "-18 dBFS", "turn 6 of 6 842ms")
    studio.engine.publish(NOW, "said", INBOUND, who="caller", text="Thursday would be fine.")
    await studio.shows("caller: Thursday would be fine.")
    assert "would …" not in studio.text
