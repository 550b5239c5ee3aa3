"""Tools that speak with servers are tried on both loops they may run on."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop

_WITH_SERVERS = {"test_http_tool", "test_mcp_tools"}


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.path.stem in _WITH_SERVERS:
        return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop}
