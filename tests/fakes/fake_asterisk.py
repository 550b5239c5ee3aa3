"""An Asterisk that can be told to misbehave: enough of ARI for one application, and faults on demand.

It keeps channels and bridges, checks the account, answers the requests the engine makes in the shape of a real
Asterisk 22, and sends the events those requests cause. A real one is used where truth matters; this one where a fault
must happen at an exact moment::

    async with FakeAsterisk() as asterisk:
        asterisk.enter("caller-1", "agent=reception")     # a caller reaches Stasis()
        asterisk.refuse("POST", "/answer", 405)           # the next answer request
        asterisk.deaf = True                              # the link is half open: pings stay unanswered
        asterisk.end_playback("p", "failed")              # a file Asterisk could not play
        asterisk.ring("out-1"); asterisk.pick_up_call("out-1")  # somebody we dialled
        asterisk.refuse_call("out-2", 17, 486)            # somebody else is busy
        asterisk.abort()                                  # event sockets end without a goodbye
        await asterisk.restart()                          # the same port, every call lost
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote

import aiohttp
from aiohttp import web

VERSION = "22.10.1"


@dataclass(frozen=True, slots=True)
class Recorded:
    """One request as it arrived."""

    method: str
    raw_path: str
    """Path and query, still percent-encoded."""
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def path(self) -> str:
        return self.raw_path.partition("?")[0]


@dataclass(slots=True)
class _Fault:
    method: str
    path: re.Pattern[str]
    status: int
    message: str | bytes
    times: int


class _Listener:
    """One event socket; frames leave it in order, and ``outbox.join()`` tells when all have left."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.outbox: asyncio.Queue[str] = asyncio.Queue()

    async def write(self, socket: web.WebSocketResponse) -> None:
        while True:
            text = await self.outbox.get()
            try:
                with suppress(ConnectionError):
                    await socket.send_str(text)
            finally:
                self.outbox.task_done()

    def discard(self) -> None:
        """The socket is gone: nobody waits for what it did not carry."""
        while not self.outbox.empty():
            self.outbox.get_nowait()
            self.outbox.task_done()


@dataclass(slots=True)
class FakeChannel:
    """What Asterisk knows of a channel."""

    id: str
    args: tuple[str, ...] = ()
    state: str = "Ring"
    stasis: bool = True
    variables: dict[str, str] = field(default_factory=dict)
    heard_by: list[str] = field(default_factory=list)
    """Ids of the snoop channels on it."""
    silence: bool = False
    """Whether a silence generator runs."""
    digits: str = ""
    """Keys that were pressed towards it."""
    dialled: int = 0
    """How often somebody had it dialled."""
    application: str = "Wait"
    """What runs while it is not in the application."""

    def describe(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": f"Fake/{self.id}",
            "state": self.state,
            "caller": {"name": "", "number": "1000"},
            "dialplan": {
                "context": "offhook",
                "exten": "100",
                "priority": 3,
                "app_name": "Stasis" if self.stasis else self.application,
                "app_data": ",".join(("asterisk-ai-voice-agent", *self.args)) if self.stasis else "60",
            },
        }


@dataclass(slots=True)
class FakeBridge:
    """What Asterisk knows of a bridge."""

    id: str
    name: str = ""
    channels: list[str] = field(default_factory=list)

    def describe(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "bridge_type": "mixing", "channels": self.channels}


@dataclass(slots=True)
class FakePlayback:
    """What Asterisk knows of a playback; it lasts until a test ends it, or a request."""

    id: str
    channel_id: str
    media: str
    paused: bool = False
    state: str = "playing"
    """``queued`` for one that waits for another."""

    def describe(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "media_uri": self.media,
            "target_uri": f"channel:{self.channel_id}",
            "language": "en",
            "state": self.state,
        }


ALL_MODULES = frozenset(
    {
        "chan_audiosocket.so",
        "chan_rtp.so",
        "chan_websocket.so",
        "format_sln.so",
        "func_logic.so",
        "res_stasis_playback.so",
        "res_stasis_snoop.so",
    }
)
"""What an Asterisk with every way for sound runs, as far as we ask."""


class FakeAsterisk:
    """Serves ARI on a free port of 127.0.0.1; its public attributes may be changed at any time."""

    def __init__(self, username: str = "ai", password: str = "secret", app: str = "asterisk-ai-voice-agent") -> None:
        self.username = username
        self.password = password
        self.app = app
        self.channels: dict[str, FakeChannel] = {}
        self.bridges: dict[str, FakeBridge] = {}
        self.playbacks: dict[str, FakePlayback] = {}
        self.pjsip: dict[tuple[str, str], dict[str, str]] = {}
        """Attributes by kind and id of what was made over ARI; like sorcery's memory, it goes with the process."""
        self.reloads: list[str] = []
        """Modules that were asked to read their files anew."""
        self.requests: list[Recorded] = []
        self.deaf = False
        """Read the event sockets, but answer no ping and send no event: the network between us is gone."""
        self.version = VERSION
        self.modules = set(ALL_MODULES)
        self.leg_arrives = True
        """Whether a media leg reaches the application; else it is destroyed with ``leg_cause``."""
        self.snoop_arrives = True
        """The same for a snoop channel."""
        self.leg_cause = 3
        self.before_answering: Callable[[Recorded], Awaitable[None]] | None = None
        """Awaited for each REST request before anything else is done with it."""
        self.port = 0
        self._faults: list[_Fault] = []
        self._listeners: list[_Listener] = []
        self._changed = asyncio.Condition()
        self._runner: web.AppRunner | None = None

    # -- its life ------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """On the port it had before, if it ran before."""
        application = web.Application()
        application.router.add_get("/ari/events", self._events)
        application.router.add_route("*", "/ari/{path:.*}", self._rest)
        self._runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]

    async def stop(self) -> None:
        """Every channel and bridge is lost."""
        self.abort()
        self.channels.clear()
        self.bridges.clear()
        self.playbacks.clear()
        self.pjsip.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    # -- what a test does ----------------------------------------------------------------------------------

    @property
    def listeners(self) -> int:
        """Event sockets that are open."""
        return len(self._listeners)

    async def wait_until(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        """Wait for a condition on our state or on the requests seen."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(condition)

    def paths(self, method: str) -> list[str]:
        """Paths of the requests with this method, still percent-encoded, without query."""
        return [seen.path for seen in self.requests if seen.method == method]

    def enter(self, channel_id: str, *args: str, told: bool = True) -> None:
        """A caller reaches ``Stasis(app,args…)``; ``told=False`` when that happened before anyone listened."""
        channel = self.channels[channel_id] = FakeChannel(channel_id, args)
        if told:
            self.send("StasisStart", channel, args=list(args))

    def hang_up(
        self,
        channel_id: str,
        cause: int = 16,
        *,
        told: bool = True,
        request: Mapping[str, Any] | None = None,
        **end: Any,
    ) -> None:
        """The far end hangs up; what plays there fails, and who hears it goes first.

        ``request`` is what the first event says in place of the cause, and ``end`` what the last one says beside it.
        """
        channel = self.channels.pop(channel_id)
        if told:
            self.send("ChannelHangupRequest", channel, **(request or {"cause": cause}))
        for playback in [each for each in self.playbacks.values() if each.channel_id == channel_id]:
            self.end_playback(playback.id, "failed", told=told)
        for snoop_id in channel.heard_by:
            if snoop_id in self.channels:
                self.hang_up(snoop_id, told=told)
        if told:
            if channel.stasis:
                self._leave_stasis(channel)
            self.send("ChannelDestroyed", channel, cause=cause, **end)

    def take_back(self, channel_id: str, *, told: bool = True) -> None:
        """The dialplan takes the channel out of the application; it lives on."""
        channel = self.channels[channel_id]
        channel.stasis = False
        if told:
            self._leave_stasis(channel)

    def press(self, channel_id: str, digit: str) -> None:
        """The caller presses a key."""
        self.send("ChannelDtmfReceived", self.channels[channel_id], digit=digit, duration_ms=100)

    def hold(self, channel_id: str, *, on: bool = True) -> None:
        """The caller puts us on hold, or comes back."""
        self.send("ChannelHold" if on else "ChannelUnhold", self.channels[channel_id])

    def dial(self, channel_id: str, status: str) -> None:
        """The attempt to call a channel got further."""
        peer = self.channels[channel_id].describe()
        self.send_frame(json.dumps({"type": "Dial", "application": self.app, "peer": peer, "dialstatus": status}))

    def pick_up(self, channel_id: str) -> None:
        """Whoever is called answers."""
        channel = self.channels[channel_id]
        channel.state, channel.stasis = "Up", True
        self.dial(channel_id, "ANSWER")
        self.send("StasisStart", channel, args=[])

    def ring(self, channel_id: str, *, told: bool = True) -> None:
        """The telephone of somebody we dialled rings."""
        self._call_state(channel_id, "Ringing", "RINGING", told=told)

    def pick_up_call(self, channel_id: str, *, told: bool = True) -> None:
        """Somebody we dialled answers."""
        self._call_state(channel_id, "Up", "ANSWER", told=told)

    def refuse_call(self, channel_id: str, cause: int, tech_cause: int) -> None:
        """The far end of a call we dialled says that there will be none."""
        said = {"cause": cause, "tech_cause": tech_cause}
        self.hang_up(channel_id, cause, request=said, cause_txt="as Q.850 has it", tech_cause=tech_cause)

    def give_up(self, channel_id: str, **end: Any) -> None:
        """Nobody answered in time."""
        self.hang_up(channel_id, 19, request={"cause": 32, "soft": True}, **(end or {"tech_cause": 480}))

    def come_back(self, channel_id: str, *args: str, told: bool = True) -> None:
        """The dialplan lets a channel it had enter the application again."""
        channel = self.channels[channel_id]
        channel.stasis, channel.args = True, args
        if told:
            self.send("StasisStart", channel, args=list(args))

    def _call_state(self, channel_id: str, state: str, dial_status: str, *, told: bool) -> None:
        channel = self.channels[channel_id]
        channel.state = state
        if told:
            self.send("ChannelStateChange", channel)
            self.dial(channel_id, dial_status)

    def end_playback(self, playback_id: str, state: str = "done", *, told: bool = True) -> None:
        """A file is over; the next one on its channel begins."""
        playback = self.playbacks.pop(playback_id)
        playback.state = state
        if told:
            self._send_playback("PlaybackFinished", playback)
        waiting = [each for each in self.playbacks.values() if each.channel_id == playback.channel_id]
        if waiting and waiting[0].state == "queued":
            waiting[0].state = "playing"
            self._send_playback("PlaybackStarted", waiting[0])

    def _send_playback(self, kind: str, playback: FakePlayback) -> None:
        self.send_frame(json.dumps({"type": kind, "application": self.app, "playback": playback.describe()}))

    def send(self, kind: str, channel: FakeChannel, **fields: Any) -> None:
        """One event to every listener, at once."""
        event = {"type": kind, "application": self.app, "channel": channel.describe(), **fields}
        self.send_frame(json.dumps(event))

    def send_frame(self, text: str) -> None:
        """One text frame to every listener, whatever it is."""
        for listener in self._listeners:
            if not self.deaf:
                listener.outbox.put_nowait(text)

    def refuse(self, method: str, path: str, status: int, message: str | bytes = "refused", times: int = 1) -> None:
        """Answer the next ``times`` matching requests so; ``path`` is a regular expression. Bytes are sent raw."""
        self._faults.append(_Fault(method, re.compile(path), status, message, times))

    def abort(self) -> None:
        """End the event sockets without a goodbye, as a crash does."""
        for listener in self._listeners:
            listener.transport.abort()
        self._listeners.clear()

    # -- the event socket ----------------------------------------------------------------------------------

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if (refusal := await self._admit(request)) is not None:
            return refusal
        socket = web.WebSocketResponse(autoping=False)
        await socket.prepare(request)
        assert request.transport is not None
        listener = _Listener(request.transport)
        self.send_frame(json.dumps({"type": "ApplicationReplaced", "application": self.app}))
        self._listeners.append(listener)
        await self._note()
        writing = asyncio.create_task(listener.write(socket))
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.PING and not self.deaf:
                    await socket.pong(message.data)
        finally:
            writing.cancel()
            listener.discard()
            if listener in self._listeners:
                self._listeners.remove(listener)
            await self._note()
        return socket

    # -- REST ----------------------------------------------------------------------------------------------

    async def _rest(self, request: web.Request) -> web.StreamResponse:
        if (refusal := await self._admit(request)) is not None:
            return refusal
        body = await request.json() if request.can_read_body else {}
        answer = self._answer(request.method, _segments(request.raw_path), dict(request.query), body)
        for listener in tuple(self._listeners):
            await listener.outbox.join()  # events go first: the order that is hardest on a client
        await self._note()
        return answer

    async def _admit(self, request: web.Request) -> web.Response | None:
        seen = Recorded(request.method, request.raw_path, dict(request.query), dict(request.headers))
        self.requests.append(seen)
        await self._note()
        if self.before_answering is not None:
            await self.before_answering(seen)
        expected = aiohttp.encode_basic_auth(self.username, self.password, "utf-8")
        if request.headers.get("Authorization") != expected:
            return web.json_response({"message": "Authentication required"}, status=401)
        for fault in self._faults:
            if fault.times and fault.method == request.method and fault.path.search(request.path):
                fault.times -= 1
                if isinstance(fault.message, bytes):
                    return web.Response(body=fault.message, status=fault.status)
                return web.json_response({"message": fault.message}, status=fault.status)
        return None

    def _answer(self, method: str, path: list[str], query: dict[str, str], body: Mapping[str, Any]) -> web.Response:
        match method, path:
            case "GET", ["asterisk", "info"]:
                return web.json_response({"system": {"version": self.version}})
            case "GET", ["asterisk", "modules"]:
                return web.json_response([{"name": name, "status": "Running"} for name in sorted(self.modules)])
            case "GET", ["asterisk", "modules", name]:
                return (
                    web.json_response({"status": "Running"}) if name in self.modules else _refusal(404, "not running")
                )
            case "PUT", ["asterisk", "modules", name]:
                self.reloads.append(name)
                return web.Response(status=204)
            case _, ["asterisk", "config", "dynamic", "res_pjsip", kind, object_id]:
                return self._pjsip(method, (kind, object_id), body)
            case "GET", ["endpoints", "PJSIP"]:
                known = [object_id for kind, object_id in self.pjsip if kind == "endpoint"]
                return web.json_response(
                    [{"technology": "PJSIP", "resource": each, "state": "offline"} for each in known]
                )
            case "GET", ["applications", _]:
                held = [channel.id for channel in self.channels.values() if channel.stasis]
                return web.json_response({"name": self.app, "channel_ids": held, "bridge_ids": []})
            case "GET", ["channels"]:
                return web.json_response([channel.describe() for channel in self.channels.values()])
            case "GET", ["bridges"]:
                return web.json_response([bridge.describe() for bridge in self.bridges.values()])
            case "POST", ["channels", "externalMedia"]:
                return self._external_media(query)
            case "POST", ["channels", "create"]:
                return self._create(query, body.get("variables", {}))
            case "POST", ["channels", channel_id]:
                called = FakeChannel(channel_id, state="Down", stasis=False, variables=dict(query))
                self.channels[channel_id] = called
                self.dial(channel_id, "")
                return web.json_response(called.describe())
            case _, ["channels", channel_id, *rest]:
                return self._channel(method, channel_id, rest, query)
            case _, ["bridges", bridge_id, *rest]:
                return self._bridge(method, bridge_id, rest, query)
            case _, ["playbacks", playback_id, *rest]:
                return self._playback(method, playback_id, rest, query)
        return _refusal(404, "Resource not found")

    def _pjsip(self, method: str, key: tuple[str, str], body: Mapping[str, Any]) -> web.Response:
        if method == "PUT":
            named = {field["attribute"]: field["value"] for field in body["fields"]}
            self.pjsip[key] = {**self.pjsip.get(key, {}), **named}
        if key not in self.pjsip:
            return _refusal(404, "Object not found")
        if method == "DELETE":
            del self.pjsip[key]
            return web.Response(status=204)
        return web.json_response([{"attribute": name, "value": value} for name, value in self.pjsip[key].items()])

    def _create(self, query: dict[str, str], variables: Mapping[str, str]) -> web.Response:
        channel_id = query["channelId"]
        if channel_id in self.channels:
            return _refusal(409, "Channel with given unique ID already exists")
        made = FakeChannel(channel_id, state="Down", variables={**query, **variables})
        self.channels[channel_id] = made
        self.send("StasisStart", made, args=[])
        return web.json_response(made.describe())

    def _external_media(self, query: dict[str, str]) -> web.Response:
        leg = FakeChannel(query["channelId"], state="Down", variables=dict(query))
        if self.leg_arrives:
            self.channels[leg.id] = leg
            leg.state = "Up"
            self.send("StasisStart", leg, args=[])
        else:
            self.send("ChannelDestroyed", leg, cause=self.leg_cause)
        facts = {"MEDIA_WEBSOCKET_CONNECTION_ID": f"ws-{leg.id}"} if query["transport"] == "websocket" else {}
        if query["encapsulation"] == "rtp":
            facts = {"UNICASTRTP_LOCAL_ADDRESS": "127.0.0.1", "UNICASTRTP_LOCAL_PORT": "10000"}
        return web.json_response({**leg.describe(), "channelvars": facts})

    def _channel(self, method: str, channel_id: str, rest: list[str], query: dict[str, str]) -> web.Response:
        channel = self.channels.get(channel_id)
        if channel is None:
            return _refusal(404, "Channel not found")
        match method, rest:
            case "GET", []:
                return web.json_response(channel.describe())
            case "DELETE", []:
                self.hang_up(channel_id, request={"cause": 16, "soft": True})
                return web.Response(status=204)
            case "GET", ["variable"] if (setting := re.fullmatch(r"SET\((.*?)=(.*)\)", query["variable"])) is not None:
                channel.variables[setting[1]] = setting[2]
                return web.json_response({"value": setting[2]})
            case "GET", ["variable"] if query["variable"] in channel.variables:
                return web.json_response({"value": channel.variables[query["variable"]]})
            case "GET", ["variable"]:
                return _refusal(404, "Provided variable was not found")
            case "POST", ["snoop", snoop_id]:
                return self._snoop(channel, snoop_id, query)
        if not channel.stasis:
            return _refusal(409, "Channel not in Stasis application")
        match method, rest:
            case "POST", ["answer"]:
                channel.state = "Up"
            case "POST", ["dial"]:
                channel.dialled += 1
                if channel.dialled > 1:
                    self.hang_up(channel_id)
                else:
                    self.dial(channel_id, "")
            case "POST", ["continue"]:
                self.take_back(channel_id)
            case "POST", ["variable"]:
                channel.variables[query["variable"]] = query["value"]
            case "POST" | "DELETE", ["silence"]:
                channel.silence = method == "POST"
            case "POST", ["dtmf"]:
                channel.digits += query["dtmf"]
            case "POST", ["play", playback_id]:
                return self._play(channel, playback_id, query)
            case _:
                return _refusal(405, "Invalid method")
        return web.Response(status=204)

    def _snoop(self, channel: FakeChannel, snoop_id: str, query: dict[str, str]) -> web.Response:
        snoop = FakeChannel(snoop_id, state="Up", variables=dict(query))
        channel.heard_by.append(snoop_id)
        if self.snoop_arrives:
            self.channels[snoop_id] = snoop
            self.send("StasisStart", snoop, args=[])
        else:
            self.send("ChannelDestroyed", snoop, cause=0)
        return web.json_response(snoop.describe())

    def _play(self, channel: FakeChannel, playback_id: str, query: dict[str, str]) -> web.Response:
        busy = any(each.channel_id == channel.id for each in self.playbacks.values())
        playback = FakePlayback(playback_id, channel.id, query["media"], state="queued" if busy else "playing")
        self.playbacks[playback_id] = playback
        if not busy:
            self._send_playback("PlaybackStarted", playback)
        return web.json_response(playback.describe(), status=201)

    def _playback(self, method: str, playback_id: str, rest: list[str], query: dict[str, str]) -> web.Response:
        playback = self.playbacks.get(playback_id)
        if playback is None:
            return _refusal(404, "Playback not found")
        match method, rest:
            case "GET", []:
                return web.json_response(playback.describe())
            case "DELETE", []:
                self.end_playback(playback_id)
            case "POST", ["control"] if playback.state == "queued":
                return _refusal(409, f"Can only {query['operation']} while media is playing")
            case "POST", ["control"]:
                playback.paused = query["operation"] == "pause"
            case _:
                return _refusal(405, "Invalid method")
        return web.Response(status=204)

    def _bridge(self, method: str, bridge_id: str, rest: list[str], query: dict[str, str]) -> web.Response:
        if (method, rest) == ("POST", []):
            bridge = self.bridges[bridge_id] = FakeBridge(bridge_id, query.get("name", ""))
            return web.json_response(bridge.describe())
        found = self.bridges.get(bridge_id)
        if found is None:
            return _refusal(404, "Bridge not found")
        match method, rest:
            case "DELETE", []:
                del self.bridges[bridge_id]
            case "POST", ["addChannel"]:
                channel = self.channels.get(query["channel"])
                if channel is None:
                    return _refusal(400, "Channel not found")
                if not channel.stasis:
                    return _refusal(422, "Channel not in Stasis application")
                found.channels.append(channel.id)
            case _:
                return _refusal(405, "Invalid method")
        return web.Response(status=204)

    def _leave_stasis(self, channel: FakeChannel) -> None:
        for bridge in self.bridges.values():
            if channel.id in bridge.channels:
                bridge.channels.remove(channel.id)
        self.send("StasisEnd", channel)

    async def _note(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _segments(raw_path: str) -> list[str]:
    """The path below ``/ari/``, split before it is decoded: an id may hold a slash."""
    return [unquote(part) for part in raw_path.partition("?")[0].split("/")[2:]]


def _refusal(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
