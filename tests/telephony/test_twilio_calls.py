"""What is remembered of callbacks, with a clock turned by hand."""

from ai_engine.telephony.twilio_calls import KnownCalls, Replays


def test_the_same_callback_is_heard_once() -> None:
    now = [0.0]
    replays = Replays(lambda: now[0])
    assert not replays.heard("signature", "1")
    now[0] = 899.0
    assert replays.heard("signature", "1")
    assert not replays.heard("signature", "2")
    assert not replays.heard("another", "1")
    now[0] = 901.0
    assert not replays.heard("signature", "1")


def test_a_callback_that_came_to_nothing_may_come_again() -> None:
    replays = Replays(lambda: 0.0)
    replays.heard("signature", "1")
    replays.forget("signature", "1")
    replays.forget("never heard", "1")
    assert not replays.heard("signature", "1")


def test_memory_has_an_end() -> None:
    replays = Replays(lambda: 0.0)
    for number in range(20_000):
        replays.heard("signature", str(number))
    assert len(replays._heard) <= 8192
    assert replays.heard("signature", "19999")
    known = KnownCalls()
    for number in range(10_000):
        known.of(str(number)).sid = f"CA{number}"
    assert len(known._known) == 4096
    assert known.of("9999").sid == "CA9999"
    assert known.of("0").sid == ""


def test_calls_of_others() -> None:
    known = KnownCalls()
    known.of("a").sid = "CA1"
    known.of("b").sid = "CA2"
    assert known.sids(but="a") == {"CA2"}
