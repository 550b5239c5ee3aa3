"""The tabs of log and health."""

from datetime import timedelta

from ai_engine.switchboard.models import LogLine
from tests.studio.tui.fakes.scene import INBOUND, NOW
from tests.studio.tui.fakes.stage import Stage


def _line(number: int, call_id: str = "") -> LogLine:
    at = NOW + timedelta(seconds=number)
    return LogLine(at=at, level="info", event=f"event {number}.", call_id=call_id, fields={"a": "[/b]"})


async def test_the_log_follows_until_one_lets_it_stand(studio: Stage) -> None:
    await studio.press("4")
    await studio.shows("connected to Asterisk version=22.5.2", "6 lines follows")
    for number in range(40):
        studio.engine.write(_line(number))
    await studio.shows("event 39. a=[/b]")
    assert "connected to Asterisk" not in studio.text
    await studio.press("f")
    await studio.shows("stands still: f follows again")
    studio.engine.write(_line(40))
    await studio.shows("47 lines")
    assert "event 40." not in studio.text
    await studio.press("f")
    await studio.shows("event 40.")


async def test_the_log_is_filtered_and_shown_whole_again(studio: Stage) -> None:
    await studio.press("4", "slash")
    await studio.type(INBOUND)
    await studio.until(lambda: "connected to Asterisk" not in studio.text)
    await studio.press("enter")
    studio.engine.write(_line(1))
    studio.engine.write(_line(2, INBOUND))
    await studio.shows("event 2. in-1f0c")
    assert "event 1." not in studio.text
    await studio.press("a")
    await studio.shows("connected to Asterisk", "event 1.")


async def test_the_log_stands_once_there_after_a_new_connection(studio: Stage) -> None:
    await studio.press("4")
    await studio.shows("call came in")
    studio.engine.stop()
    await studio.shows("no engine since")
    studio.engine.down = False
    await studio.until(lambda: studio.engine.connections == 2)
    await studio.until(lambda: studio.app.board.logs == 2 and studio.app.board.logged == 6)
    await studio.shows("6 lines", "call came in")
    assert studio.text.count("call came in") == 1


async def test_health(studio: Stage) -> None:
    await studio.press("5")
    await studio.shows("pbx1-4711 on pbx1, pid 4711, version 0.1.0", "running 26:00:00", "media late ms p99 1.8")
    await studio.shows("no turn since you look", "failed providers local 2, openai 0")
    studio.office.talk()
    await studio.shows("7 turns since you look: P50 842ms")


async def test_health_is_asked_for_at_once(studio: Stage) -> None:
    await studio.press("5")
    await studio.shows("ready yes")
    studio.engine.info = studio.engine.info.model_copy(update={"ready": False, "asterisk_up": False})
    await studio.press("r")
    await studio.shows("NO: it takes no calls", "│ Asterisk DOWN │")
