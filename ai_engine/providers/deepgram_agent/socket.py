"""The vendor's own client: imported late, opened in time, written to without waiting."""

import asyncio
import warnings
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Self

from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from ai_engine.errors import ProviderError
from ai_engine.providers.deepgram_agent.wire import Message

if TYPE_CHECKING:
    from deepgram import AsyncDeepgramClient
    from deepgram.agent.v1.socket_client import AsyncV1SocketClient

_MOST_WAITING = 10_000
"""Messages that may wait for a slow server; beyond that it counts as lost. Whoever takes over hears the caller's turn
at once, which may be two minutes of 20 ms frames."""

_CLOSE_SECONDS = 1.0

_OLD_WEBSOCKETS = (
    r"websockets\.legacy is deprecated",
    r"websockets\.exceptions\.InvalidStatusCode is deprecated",
)
"""What importing the SDK warns of; requirements pin both packages."""

_KEEPERS: set[asyncio.Task[None]] = set()
"""Of all connections, and of those left behind: the SDK's WebSocket gives a server ten seconds to close its side."""


class AgentSocket:
    """One connection. Whatever goes wrong with it is a ProviderError, and none of its texts holds the key.

    A task of its own keeps it, because the SDK has no way to close but leaving the block that opened it, and that
    may take longer than a caller can wait.
    """

    def __init__(self, client: "AsyncDeepgramClient", session_id: str, quiet_seconds: float) -> None:
        self._quiet_seconds = quiet_seconds
        self._outbox: asyncio.Queue[tuple[Callable[[Any], Awaitable[None]], Any]] = asyncio.Queue(_MOST_WAITING)
        self._overflowed = False
        self._opened: asyncio.Future[AsyncV1SocketClient] = asyncio.get_running_loop().create_future()
        self._keeper = asyncio.create_task(self._keep(client, session_id))
        _KEEPERS.add(self._keeper)
        self._keeper.add_done_callback(_KEEPERS.discard)

    @classmethod
    async def open(cls, url: str, key: str, session_id: str, quiet_seconds: float) -> Self:
        """Connect; whoever calls says how long it may take, by cancelling. Raises ProviderError.

        ``session_id`` is how the vendor's support finds the call; after ``quiet_seconds`` without a message the server
        is told that we are still there.
        """
        # In a thread, for the call loop: the first time it imports the SDK (0.3 s), then it reads certificates (30 ms).
        self = cls(await asyncio.to_thread(_client, url.rstrip("/"), key), session_id, quiet_seconds)
        try:
            await asyncio.wait((self._keeper, self._opened), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            self.leave()
            raise
        if not self._opened.done():
            raise _refusal(self._keeper.exception())
        return self

    def send(self, message: Message | bytes) -> None:
        """Put a message, or sound, on its way; never waits. When too many wait, ``receive`` raises."""
        socket = self._opened.result()
        try:
            if isinstance(message, bytes):
                self._outbox.put_nowait((socket.send_media, message))
            else:
                self._outbox.put_nowait(_typed(socket, message))
        except asyncio.QueueFull:
            self._overflowed = True
            self.leave()

    async def receive(self) -> Any:
        """The next message: sound as bytes, else one of the SDK's models, or what it does not know as it came.

        Raises ProviderError at the end.
        """
        try:
            return await self._opened.result().recv()
        except ConnectionClosed as error:
            if self._overflowed:
                raise ProviderError("Deepgram does not take the caller's voice any more") from None
            raise ProviderError(f"Deepgram closed the connection: {_why(error)}") from None
        except (ValueError, RecursionError):
            raise ProviderError("Deepgram sent something that is no JSON") from None

    def leave(self) -> None:
        """Begin to close; returns at once."""
        if not self._keeper.cancelling():  # a second cancellation would break into the closing handshake
            self._keeper.cancel()

    async def close(self) -> None:
        """May be called more than once. What still waits to be sent is dropped."""
        self.leave()
        await asyncio.wait((self._keeper,), timeout=_CLOSE_SECONDS)

    async def _keep(self, client: "AsyncDeepgramClient", session_id: str) -> None:
        headers = {"additional_headers": {"x-deepgram-session-id": session_id}}
        async with client.agent.v1.connect(request_options=headers) as socket:
            self._opened.set_result(socket)
            with suppress(ConnectionClosed):  # receive() reports it
                await self._send_all(socket)

    async def _send_all(self, socket: "AsyncV1SocketClient") -> None:
        while True:
            try:
                async with asyncio.timeout(self._quiet_seconds):
                    write, what = await self._outbox.get()
            except TimeoutError:
                await socket.send_keep_alive()
            else:
                await write(what)


@lru_cache(maxsize=8)
def _client(url: str, key: str) -> "AsyncDeepgramClient":
    # For good, but only these: to restore the list of filters from a thread could undo what others did to it.
    for message in _OLD_WEBSOCKETS:
        warnings.filterwarnings("ignore", message, DeprecationWarning)
    # Here since they take 0.3 s and 40 MB, and only some calls need them.
    from deepgram import AsyncDeepgramClient  # noqa: PLC0415
    from deepgram.environment import DeepgramClientEnvironment  # noqa: PLC0415

    environment = DeepgramClientEnvironment(base=url, production=url, agent=url, agent_rest=url)
    client = AsyncDeepgramClient(api_key=key, environment=environment)
    _ = client.agent.v1  # imports the rest
    return client


def _typed(socket: "AsyncV1SocketClient", message: Message) -> tuple[Callable[[Any], Awaitable[None]], Any]:
    """The SDK's method for ``message``, and what it takes."""
    from deepgram.agent.v1 import types as sdk  # noqa: PLC0415 - loaded by now

    match message["type"]:
        case "Settings":
            return socket.send_settings, sdk.AgentV1Settings.model_validate(message)
        case "InjectUserMessage":
            return socket.send_inject_user_message, sdk.AgentV1InjectUserMessage.model_validate(message)
        case "InjectAgentMessage":
            return socket.send_inject_agent_message, sdk.AgentV1InjectAgentMessage.model_validate(message)
        case "FunctionCallResponse":
            return socket.send_function_call_response, sdk.AgentV1SendFunctionCallResponse.model_validate(message)
        case "UpdatePrompt":
            return socket.send_update_prompt, sdk.AgentV1UpdatePrompt.model_validate(message)
        case kind:
            raise AssertionError(f"no way to send {kind}")


def _refusal(error: BaseException | None) -> BaseException:
    from deepgram.core.api_error import ApiError  # noqa: PLC0415 - loaded by now

    if isinstance(error, ApiError):
        status = error.status_code or 0
        return ProviderError(f"Deepgram refused the connection: {status}", status)
    if isinstance(error, OSError | TimeoutError | InvalidHandshake | InvalidURI | ConnectionClosed | EOFError):
        return ProviderError(f"Deepgram cannot be reached: {error or type(error).__name__}")
    return error or ProviderError("Deepgram closed the connection at once")


def _why(error: ConnectionClosed) -> str:
    if error.rcvd is None:
        return "it broke off"
    return f"{error.rcvd.code} {error.rcvd.reason}".strip()
