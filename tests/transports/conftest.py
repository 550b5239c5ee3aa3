"""The doors are tried on both loops they may run on."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

_DOORS = {
    "test_audiosocket_listener",
    "test_dialplan",
    "test_chan_websocket_transport",
    "test_media_stream",
    "test_rtp_transport",
}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.stem in _DOORS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
