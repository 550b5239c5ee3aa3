"""The few things we ask of Asterisk, typed; the only module that knows aioari."""

import logging
from collections.abc import Callable
from typing import Any, Self, TypeVar

import aioari.client
import aiohttp

from ai_engine.ari.declarations import declarations
from ai_engine.ari.transport import AriSettings, AriTransport
from ai_engine.errors import AsteriskError
from ai_engine.protocol.ari import Bridge, Channel, parse_bridge, parse_channel

_T = TypeVar("_T")

# aioari reports at INFO every answer it has no class for.
logging.getLogger("aioari").setLevel(logging.WARNING)


class Ari:
    """Requests to one Asterisk. Every method may raise AsteriskError."""

    def __init__(self, settings: AriSettings, transport: AriTransport, client: Any) -> None:
        self._app = settings.app
        self._transport = transport
        self._client = client

    @classmethod
    async def open(cls, settings: AriSettings) -> Self:
        """Ready to make requests; none is made yet, so Asterisk need not be up."""
        transport = AriTransport(settings)
        client = aioari.client.Client("", transport)
        client.swagger.url = declarations()
        await client.init()
        return cls(settings, transport, client)

    async def close(self) -> None:
        await self._transport.close()

    # -- Asterisk itself ---------------------------------------------------------------------------------------

    async def version(self) -> str:
        return await self._read(lambda info: str(info["system"]["version"]), "asterisk", "getInfo", only="system")

    async def module_running(self, name: str) -> bool:
        """Whether the module (``chan_audiosocket.so``) is loaded and running."""
        try:
            return await self._read(
                lambda module: bool(module["status"] == "Running"), "asterisk", "getModule", moduleName=name
            )
        except AsteriskError as error:
            if error.status in (404, 409):
                return False
            raise

    async def event_socket(self) -> aiohttp.ClientWebSocketResponse:
        """Join as our application: from now on its channels come to us."""
        socket: aiohttp.ClientWebSocketResponse = await self._client.swagger.events.eventWebsocket(app=self._app)
        return socket

    async def application_channels(self) -> frozenset[str]:
        """Ids of the channels our application holds."""
        return await self._read(
            lambda application: frozenset(application["channel_ids"]),
            "applications",
            "get",
            applicationName=self._app,
        )

    # -- channels ----------------------------------------------------------------------------------------------

    async def channels(self) -> list[Channel]:
        return await self._read(lambda items: [parse_channel(item) for item in items], "channels", "list")

    async def channel(self, channel_id: str) -> Channel:
        return await self._read(parse_channel, "channels", "get", channelId=channel_id)

    async def answer(self, channel_id: str) -> None:
        await self._ask("channels", "answer", channelId=channel_id)

    async def hang_up(self, channel_id: str) -> None:
        await self._ask("channels", "hangup", channelId=channel_id, reason="normal")

    async def continue_in_dialplan(self, channel_id: str, context: str, extension: str) -> None:
        """Leave our application for ``context,extension,1``."""
        await self._ask(
            "channels",
            "continueInDialplan",
            channelId=channel_id,
            context=context,
            extension=extension,
            priority=1,
        )

    async def set_variable(self, channel_id: str, name: str, value: str) -> None:
        await self._ask("channels", "setChannelVar", channelId=channel_id, variable=name, value=value)

    async def variable(self, channel_id: str, name: str) -> str:
        """The value of a channel variable or function; status 404 when it is not set."""
        return await self._read(
            lambda found: str(found["value"]),
            "channels",
            "getChannelVar",
            channelId=channel_id,
            variable=name,
        )

    async def external_media(self, channel_id: str, address: str, format: str, data: str) -> None:
        """Have Asterisk connect to ``address`` over AudioSocket, as a new channel ``channel_id`` of our application.

        ``data`` is the UUID it will introduce itself with, ``format`` the codec (``slin``, ``slin16``).
        """
        await self._ask(
            "channels",
            "externalMedia",
            app=self._app,
            channelId=channel_id,
            external_host=address,
            encapsulation="audiosocket",
            transport="tcp",
            connection_type="client",
            format=format,
            data=data,
        )

    # -- bridges -----------------------------------------------------------------------------------------------

    async def bridges(self) -> list[Bridge]:
        return await self._read(lambda items: [parse_bridge(item) for item in items], "bridges", "list")

    async def create_bridge(self, bridge_id: str) -> None:
        """A mixing bridge; it bears our application's name, so that its owner can be told."""
        await self._ask("bridges", "createWithId", bridgeId=bridge_id, type="mixing", name=self._app)

    async def add_channel(self, bridge_id: str, channel_id: str) -> None:
        await self._ask("bridges", "addChannel", bridgeId=bridge_id, channel=channel_id)

    async def destroy_bridge(self, bridge_id: str) -> None:
        await self._ask("bridges", "destroy", bridgeId=bridge_id)

    # ----------------------------------------------------------------------------------------------------------

    async def _ask(self, resource: str, operation: str, **parameters: Any) -> Any:
        repository = self._client.get_repo(resource)
        try:
            return await getattr(repository, operation)(**parameters)
        except ValueError as error:
            raise AsteriskError(f"{resource}.{operation}: Asterisk's answer is not JSON") from error

    async def _read(self, read: Callable[[Any], _T], resource: str, operation: str, **parameters: Any) -> _T:
        answer = await self._ask(resource, operation, **parameters)
        try:
            return read(answer)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AsteriskError(f"{resource}.{operation}: Asterisk's answer is not what ARI describes") from error
