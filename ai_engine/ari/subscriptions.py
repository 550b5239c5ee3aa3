"""Who hears of which channel: events are dealt out by channel id, in order, to whoever holds the channel."""

from collections.abc import Callable

from ai_engine.protocol.ari import ChannelEvent

Listener = Callable[[ChannelEvent], None]
"""Must return at once: one slow listener would delay every other call."""


class Subscriptions:
    """Listeners by channel id. A listener is added before the request that makes its channel known to Asterisk."""

    def __init__(self) -> None:
        self._listeners: dict[str, Listener] = {}
        self._watchers: dict[str, Listener] = {}
        self._onlookers: dict[str, list[Listener]] = {}
        self._playbacks: dict[str, str] = {}
        self.bridges: set[str] = set()
        """Ids of the bridges in use that are not named after a media leg: they are no leftovers."""

    def __contains__(self, channel_id: object) -> bool:
        return channel_id in self._listeners or channel_id in self._watchers

    def __len__(self) -> int:
        return len(self._listeners) + len(self._watchers) + len(self._onlookers) + len(self._playbacks)

    def ids(self) -> frozenset[str]:
        return frozenset(self._listeners) | frozenset(self._watchers)

    def add(self, channel_id: str, listener: Listener) -> None:
        self._listeners[channel_id] = listener

    def drop(self, channel_id: str) -> None:
        self._listeners.pop(channel_id, None)

    def watch(self, channel_id: str, watcher: Listener) -> None:
        """Hear all of a channel before, while and after somebody else holds it."""
        self._watchers[channel_id] = watcher

    def unwatch(self, channel_id: str) -> None:
        self._watchers.pop(channel_id, None)

    def look_on(self, channel_id: str, onlooker: Listener) -> None:
        """Hear of a channel that somebody holds, after them."""
        self._onlookers.setdefault(channel_id, []).append(onlooker)

    def look_away(self, channel_id: str, onlooker: Listener) -> None:
        """Hear no more of it."""
        onlookers = self._onlookers.get(channel_id, [])
        if onlooker in onlookers:
            onlookers.remove(onlooker)
        if not onlookers:
            self._onlookers.pop(channel_id, None)

    def add_playback(self, playback_id: str, channel_id: str) -> None:
        """The listener of the channel waits for the end of this playback, too."""
        self._playbacks[playback_id] = channel_id

    def drop_playback(self, playback_id: str) -> None:
        self._playbacks.pop(playback_id, None)

    def playbacks(self) -> dict[str, str]:
        """Ids of the channels by the ids of the playbacks whose end is awaited."""
        return self._playbacks.copy()

    def deliver(self, event: ChannelEvent) -> bool:
        """Whether somebody listens to the channel of ``event``, and so was told."""
        heard_by = [self._watchers.get(event.channel_id), self._listeners.get(event.channel_id)]
        for listener in heard_by:
            if listener is not None:
                listener(event)
        for onlooker in tuple(self._onlookers.get(event.channel_id, ())):
            onlooker(event)
        return any(heard_by)
