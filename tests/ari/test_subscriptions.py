from ai_engine.ari.subscriptions import Subscriptions
from ai_engine.protocol.ari import ChannelDtmfReceived, ChannelEvent, StasisEnd


def test_an_event_reaches_only_the_listener_of_its_channel() -> None:
    subscriptions = Subscriptions()
    first: list[ChannelEvent] = []
    second: list[ChannelEvent] = []
    subscriptions.add("1", first.append)
    subscriptions.add("2", second.append)
    assert subscriptions.deliver(ChannelDtmfReceived("1", "5"))
    assert subscriptions.deliver(StasisEnd("2"))
    assert (first, second) == ([ChannelDtmfReceived("1", "5")], [StasisEnd("2")])


def test_nobody_is_told_after_dropping() -> None:
    subscriptions = Subscriptions()
    heard: list[ChannelEvent] = []
    subscriptions.add("1", heard.append)
    subscriptions.drop("1")
    subscriptions.drop("1")
    assert not subscriptions.deliver(StasisEnd("1"))
    assert heard == []
    assert "1" not in subscriptions
    assert len(subscriptions) == 0


def test_a_listener_may_drop_itself_while_it_is_told() -> None:
    subscriptions = Subscriptions()
    subscriptions.add("1", lambda event: subscriptions.drop(event.channel_id))
    assert subscriptions.deliver(StasisEnd("1"))
    assert not subscriptions.deliver(StasisEnd("1"))


def test_awaited_playbacks_are_known_until_dropped() -> None:
    subscriptions = Subscriptions()
    subscriptions.add_playback("p", "1")
    known = subscriptions.playbacks()
    subscriptions.drop_playback("p")
    subscriptions.drop_playback("p")
    assert known == {"p": "1"}
    assert subscriptions.playbacks() == {}
    assert len(subscriptions) == 0


def test_a_watcher_hears_before_beside_and_after_whoever_holds_the_channel() -> None:
    subscriptions = Subscriptions()
    watched: list[ChannelEvent] = []
    held: list[ChannelEvent] = []
    subscriptions.watch("1", watched.append)
    assert "1" in subscriptions
    assert subscriptions.ids() == {"1"}
    events = [ChannelDtmfReceived("1", digit) for digit in "123"]
    assert subscriptions.deliver(events[0])
    subscriptions.add("1", held.append)
    assert subscriptions.deliver(events[1])
    subscriptions.drop("1")
    assert subscriptions.deliver(events[2])
    assert (watched, held) == (events, events[1:2])
    subscriptions.unwatch("1")
    subscriptions.unwatch("1")
    assert not subscriptions.deliver(events[0])
    assert len(subscriptions) == 0
