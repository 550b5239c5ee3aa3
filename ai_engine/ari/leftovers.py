"""Setting right what happened in Asterisk while we were not told: Asterisk repeats no event."""

from collections.abc import Collection, Coroutine, Mapping
from typing import Any

import structlog

from ai_engine.ari.client import Ari
from ai_engine.ari.media_leg import BRIDGE_PREFIX, LISTENER_PREFIX, MEDIA_PREFIX, OUR_CHANNELS, ROOM_BRIDGE_PREFIX
from ai_engine.ari.subscriptions import Subscriptions
from ai_engine.errors import AsteriskError
from ai_engine.protocol.ari import ChannelDestroyed, PlaybackFinished, StasisEnd

log = structlog.get_logger(__name__)

_OTHER_BRIDGES = (LISTENER_PREFIX, ROOM_BRIDGE_PREFIX)
"""What the ids of bridges begin with that belong to no media leg."""


async def tell_what_ended(
    ari: Ari, subscriptions: Subscriptions, missing: Collection[str], playing: Mapping[str, str]
) -> None:
    """Tell those who listen to the ``missing`` channels, and who wait for the end of a playback that is over."""
    # Callers first: a call that is over has no use for the news that its media leg is gone too.
    for channel_id in sorted(missing, key=lambda id: id.startswith(OUR_CHANNELS)):
        gone = await is_missing(ari, channel_id)
        subscriptions.deliver(ChannelDestroyed(channel_id) if gone else StasisEnd(channel_id))
    for playback_id, channel_id in playing.items():
        if not await ari.is_playing(playback_id):
            subscriptions.deliver(PlaybackFinished(channel_id, playback_id))


async def sweep(ari: Ari, app: str, subscriptions: Subscriptions, listed: Collection[str]) -> None:
    """Delete media legs, snoops and bridges that belong to no call of ours any more.

    ``listed`` are the channels in our application ``app``.
    """
    for channel_id in listed:
        if channel_id.startswith(OUR_CHANNELS) and channel_id not in subscriptions:
            await tidy(ari.hang_up(channel_id))
    for bridge in await ari.bridges():
        leg_id = MEDIA_PREFIX + bridge.id.removeprefix(BRIDGE_PREFIX)
        ours = bridge.id.startswith(BRIDGE_PREFIX) and bridge.name == app
        ours = ours or (bridge.id.startswith(_OTHER_BRIDGES) and bridge.name == app)
        if ours and leg_id not in subscriptions and bridge.id not in subscriptions.bridges:
            await tidy(ari.destroy_bridge(bridge.id))


async def tidy(request: Coroutine[Any, Any, None]) -> None:
    """Make a request that deletes something, and go on if it cannot be deleted."""
    try:
        await request
    except AsteriskError as error:
        if error.status != 404:
            log.warning("a leftover could not be deleted", reason=str(error))


async def is_missing(ari: Ari, channel_id: str) -> bool:
    """Whether Asterisk has no such channel."""
    try:
        await ari.channel(channel_id)
    except AsteriskError as error:
        if error.status == 404:
            return True
        raise
    return False
