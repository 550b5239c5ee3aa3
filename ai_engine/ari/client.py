"""The few things we ask of Asterisk, typed; the only module that knows aioari."""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self, TypeVar

import aioari.client
import aiohttp

from ai_engine.ari.declarations import declarations
from ai_engine.ari.transport import AriSettings, AriTransport
from ai_engine.errors import AsteriskError
from ai_engine.protocol.ari import Bridge, Channel, parse_bridge, parse_channel, parse_channel_variables
from ai_engine.session.ports import Leg

_T = TypeVar("_T")

# aioari reports at INFO every answer it has no class for; both tell at DEBUG what is sent, passwords of trunks too.
logging.getLogger("aioari").setLevel(logging.WARNING)
logging.getLogger("aioswagger11").setLevel(logging.WARNING)


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

    @property
    def app(self) -> str:
        """The name of our application."""
        return self._app

    # -- Asterisk itself ---------------------------------------------------------------------------------------

    async def version(self) -> str:
        return await self._read(lambda info: str(info["system"]["version"]), "asterisk", "getInfo", only="system")

    async def running_modules(self) -> frozenset[str]:
        """Names (``chan_audiosocket.so``) of the modules that are loaded and run."""
        return await self._read(
            lambda modules: frozenset(str(module["name"]) for module in modules if module["status"] == "Running"),
            "asterisk",
            "listModules",
        )

    async def module_runs(self, name: str) -> bool:
        try:
            return await self._read(
                lambda found: found["status"] == "Running", "asterisk", "getModule", moduleName=name
            )
        except AsteriskError as error:
            if error.status in (404, 409):
                return False
            raise

    async def reload_module(self, name: str) -> None:
        """Have the module read its configuration files anew; status 404 when it is not loaded."""
        await self._ask("asterisk", "reloadModule", moduleName=name)

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

    # -- PJSIP's objects ---------------------------------------------------------------------------------------

    async def pjsip_endpoints(self) -> dict[str, str]:
        """Their states (``online``, ``offline``, ``unknown``) by id; status 404: ``chan_pjsip.so`` is not loaded."""
        return await self._read(
            lambda found: {str(endpoint["resource"]): str(endpoint.get("state", "unknown")) for endpoint in found},
            "endpoints",
            "listByTech",
            tech="PJSIP",
        )

    async def pjsip_object(self, kind: str, object_id: str) -> tuple[tuple[str, str], ...] | None:
        """All its attributes, passwords too, as names with values, or None; an attribute may be there twice."""
        try:
            return await self._read(
                lambda found: tuple((str(field["attribute"]), str(field["value"])) for field in found),
                "asterisk",
                "getObject",
                **_pjsip(kind, object_id),
            )
        except AsteriskError as error:
            if error.status == 404:
                return None
            raise

    async def put_pjsip_object(self, kind: str, object_id: str, fields: Iterable[tuple[str, str]]) -> None:
        """Create it, or change these attributes of it.

        Status 403: sorcery.conf names no place where objects can be made. 400: an attribute is unknown or wrong.
        """
        listed = tuple({"attribute": name, "value": value} for name, value in fields)  # a list would be joined
        await self._ask("asterisk", "updateObject", **_pjsip(kind, object_id), fields=listed)

    async def delete_pjsip_object(self, kind: str, object_id: str) -> bool:
        """Whether there was one. Status 403: it stands in a file."""
        try:
            await self._ask("asterisk", "deleteObject", **_pjsip(kind, object_id))
        except AsteriskError as error:
            if error.status == 404:
                return False
            raise
        return True

    # -- channels ----------------------------------------------------------------------------------------------

    async def channels(self) -> list[Channel]:
        return await self._read(lambda items: [parse_channel(item) for item in items], "channels", "list")

    async def channel(self, channel_id: str) -> Channel:
        return await self._read(parse_channel, "channels", "get", channelId=channel_id)

    async def create_channel(self, channel_id: str, dial_string: str, variables: Mapping[str, str]) -> None:
        """A channel in our application that nobody has called yet; functions may stand among the ``variables``.

        Status 409: there is such a channel already. 500: the endpoint, or its technology, does not exist.
        """
        await self._ask(
            "channels",
            "create",
            app=self._app,
            channelId=channel_id,
            endpoint=dial_string,
            variables=dict(variables),
        )

    async def dial(self, channel_id: str, seconds: int) -> None:
        """Call whom the channel was created for, for at most so long; done twice it ends the call."""
        await self._ask("channels", "dial", channelId=channel_id, timeout=seconds)

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

    async def set_variable_at_once(self, channel_id: str, name: str, value: str) -> None:
        """Like ``set_variable``, which waits behind all that the channel plays; needs ``func_logic.so``."""
        # The dialplan function SET sets when it is read, and a variable is read without waiting.
        await self.variable(channel_id, f"SET({name}={value})")

    async def variable(self, channel_id: str, name: str) -> str:
        """The value of a channel variable or function; status 404 when it is not set."""
        return await self._read(
            lambda found: str(found["value"]),
            "channels",
            "getChannelVar",
            channelId=channel_id,
            variable=name,
        )

    async def external_media(self, channel_id: str, leg: Leg) -> dict[str, str]:
        """Have Asterisk create the media channel ``channel_id`` in our application; returns its channel variables."""
        # A parameter that an older Asterisk does not know is sent only where it is needed.
        optional = {"data": leg.data, "transport_data": leg.transport_data}
        return await self._read(
            parse_channel_variables,
            "channels",
            "externalMedia",
            app=self._app,
            channelId=channel_id,
            external_host=leg.external_host,
            encapsulation=leg.encapsulation,
            transport=leg.transport,
            connection_type=leg.connection_type,
            format=leg.codec,
            **{name: value for name, value in optional.items() if value},
        )

    async def snoop(self, channel_id: str, snoop_id: str, *, whispering: bool = False, spy: str = "in") -> None:
        """A new channel of our application that hears what ``channel_id`` says and, if asked to, whispers to it.

        With ``spy`` ``both`` it hears what ``channel_id`` is sent, too, but nothing that is whispered to it.
        """
        await self._ask(
            "channels",
            "snoopChannelWithId",
            channelId=channel_id,
            snoopId=snoop_id,
            spy=spy,
            whisper="out" if whispering else "none",
            app=self._app,
        )

    async def call_extension(
        self,
        channel_id: str,
        other_id: str,
        extension: str,
        *,
        caller_id: str,
        seconds: int,
        originator: str = "",
        formats: str = "",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Call the dialplan's ``extension`` (with ``@context``) for at most ``seconds``.

        What answers is our application's channel ``channel_id``; its other half in the dialplan is ``other_id``. Both
        have the ``variables``, and the ``formats`` that are named, or else those of the ``originator``; with neither
        they carry sound at 192 kHz.
        """
        optional = {"originator": originator, "formats": formats, "variables": dict(variables or {})}
        await self._ask(
            "channels",
            "originateWithId",
            channelId=channel_id,
            otherChannelId=other_id,
            endpoint=f"Local/{extension}",
            app=self._app,
            callerId=caller_id,
            timeout=seconds,
            **{name: value for name, value in optional.items() if value},
        )

    async def has_extension(self, channel_id: str, context: str, extension: str) -> bool:
        """Whether the dialplan has ``context,extension,1``; needs ``func_dialplan.so``."""
        return await self.variable(channel_id, f"DIALPLAN_EXISTS({context},{extension},1)") == "1"

    async def start_silence(self, channel_id: str) -> None:
        """Send silence to a channel to which nothing else is sent."""
        await self._ask("channels", "startSilence", channelId=channel_id)

    async def stop_silence(self, channel_id: str) -> None:
        await self._ask("channels", "stopSilence", channelId=channel_id)

    async def send_digits(self, channel_id: str, digits: str) -> None:
        await self._ask("channels", "sendDTMF", channelId=channel_id, dtmf=digits)

    # -- playbacks ---------------------------------------------------------------------------------------------

    async def play(self, channel_id: str, playback_id: str, uri: str) -> None:
        """Play after what the channel has been asked to play before."""
        await self._ask("channels", "playWithId", channelId=channel_id, playbackId=playback_id, media=uri)

    async def control_playback(self, playback_id: str, operation: str) -> None:
        """``operation`` is ``pause`` or ``unpause``; status 409 as long as it has not begun to play."""
        await self._ask("playbacks", "control", playbackId=playback_id, operation=operation)

    async def stop_playback(self, playback_id: str) -> None:
        await self._ask("playbacks", "stop", playbackId=playback_id)

    async def is_playing(self, playback_id: str) -> bool:
        """Whether the playback waits, plays or pauses."""
        try:
            await self._ask("playbacks", "get", playbackId=playback_id)
        except AsteriskError as error:
            if error.status == 404:
                return False
            raise
        return True

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

    async def _ask(self, resource: str, request: str, /, **parameters: Any) -> Any:
        repository = self._client.get_repo(resource)
        try:
            return await getattr(repository, request)(**parameters)
        except ValueError as error:
            raise AsteriskError(f"{resource}.{request}: Asterisk's answer is not JSON") from error

    async def _read(self, read: Callable[[Any], _T], resource: str, request: str, /, **parameters: Any) -> _T:
        answer = await self._ask(resource, request, **parameters)
        try:
            return read(answer)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise AsteriskError(f"{resource}.{request}: Asterisk's answer is not what ARI describes") from error


def _pjsip(kind: str, object_id: str) -> dict[str, str]:
    return {"configClass": "res_pjsip", "objectType": kind, "id": object_id}
