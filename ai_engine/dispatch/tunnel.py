"""A way in from the outside, where there is no public address: a tunnel, opened anew whenever it is lost."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import aclosing

import structlog

from ai_engine.dispatch.child import Child, installed
from ai_engine.dispatch.tunnel_programs import PROGRAMS, Program
from ai_engine.jobs.ports import CannotCall
from ai_engine.jobs.settings import Tunnel as TunnelSettings

log = structlog.get_logger(__name__)

_LONGEST_PAUSE_SECONDS = 60.0
_OFF_SECONDS = 5.0
_INSTEAD = "or set call_agent.server.public_base_url to an address at which this server is reached"


class TunnelError(CannotCall):
    """No tunnel; ``str()`` says why, and what to do."""


async def open_tunnel(
    settings: TunnelSettings,
    port: int,
    *,
    environ: Mapping[str, str] | None = None,
    changed: Callable[[str], None] | None = None,
    pause_seconds: float = 1.0,
) -> "Tunnel | None":
    """A tunnel to ``port`` of this machine; None where the settings want none. Raises TunnelError.

    ``environ`` is that of the programs, ours where it is None. ``changed`` is called with an empty text when the tunnel
    is lost, and with its URL, which may be another one, when it is back. ``pause_seconds`` is the first pause between
    attempts to get it back; each is twice as long, up to a minute.
    """
    if settings.provider == "none":
        return None
    tried: list[str] = []
    for name in PROGRAMS if settings.provider == "auto" else (settings.provider,):
        program = PROGRAMS[name]
        if not await _works(program, settings.start_seconds, environ):
            tried.append(f"{name} is not installed, or does not run")
            continue
        tunnel = Tunnel(program, port, settings.start_seconds, environ, changed or _ignore, pause_seconds)
        try:
            await tunnel.open()
        except TunnelError as error:
            tried.append(str(error))
        else:
            return tunnel
    raise TunnelError(f"there is no tunnel: {'; '.join(tried)}; put that right, {_INSTEAD}")


class Tunnel:
    """An open one; made by ``open_tunnel``."""

    def __init__(
        self,
        program: Program,
        port: int,
        start_seconds: float,
        environ: Mapping[str, str] | None,
        changed: Callable[[str], None],
        pause_seconds: float,
    ) -> None:
        self.provider = program.name
        self.url = ""
        """Where the outside reaches us, without a slash at the end; empty while it is being opened anew."""
        self._program = program
        self._port = port
        self._start_seconds = start_seconds
        self._environ = environ
        self._changed = changed
        self._pause_seconds = pause_seconds
        self._child: Child | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._opened = False

    async def open(self) -> None:
        """Raises TunnelError, and leaves nothing behind then."""
        await self._start()
        self._opened = True
        if self._program.stays:
            self._keeping = asyncio.create_task(self._keep(), name=f"tunnel {self.provider}")

    async def close(self) -> None:
        """May be called more than once."""
        keeping, self._keeping = self._keeping, None
        if keeping is not None:
            keeping.cancel()
            await asyncio.wait([keeping])
        self.url = ""
        if self._opened:
            self._opened = False
            if not await self._stop():
                off = " ".join((self.provider, *self._program.off))
                log.warning("the tunnel may still be open", provider=self.provider, next_step=off)

    async def _keep(self) -> None:
        """Open it again whenever it is lost, until cancelled."""
        while True:
            assert self._child is not None
            code = await self._child.ended()
            await self._stop()
            log.warning("the tunnel is lost, opening it again", provider=self.provider, exit_code=code)
            self._say("")
            pause = self._pause_seconds
            while not self.url:
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
                try:
                    await self._start()
                except TunnelError as error:
                    log.warning("the tunnel does not open", reason=str(error), retry_seconds=pause)
            self._say(self.url)

    async def _start(self) -> None:
        said: deque[str] = deque(maxlen=3)
        try:
            async with asyncio.timeout(self._start_seconds):
                self._child = await Child.start([self.provider, *self._filled(self._program.open)], self._environ)
                self.url = await self._url_of(self._child, said)
        except BaseException as error:  # cancelled, too: nothing may stay behind
            await asyncio.shield(self._stop())
            if isinstance(error, TimeoutError):
                raise self._failed(f"has not opened a tunnel within {self._start_seconds:g} s", said) from None
            if isinstance(error, OSError):
                raise self._failed(f"cannot be started ({error.strerror})", said) from error
            raise
        log.info("the tunnel is open", provider=self.provider, url=self.url, port=self._port)

    async def _url_of(self, child: Child, said: "deque[str]") -> str:
        url = ""
        async with aclosing(child.lines()) as lines:
            async for line in lines:
                url = url or self._program.url_in(line) or ""
                if url and self._program.stays:
                    return url
                if (reason := self._program.reason_in(line)) is not None:
                    said.append(reason)
        # One that does not stay has opened it only when it ends well.
        code = await child.ended()
        if code or not url:
            raise self._failed(f"ended with {code} and no tunnel", said)
        return url

    async def _stop(self) -> bool:
        """End the program, and close what it leaves behind; whether that is closed."""
        child, self._child = self._child, None
        if child is not None:
            await child.kill()
        off = self._program.off
        return not off or await _succeeds([self.provider, *off], _OFF_SECONDS, self._environ)

    def _failed(self, what: str, said: "deque[str]") -> TunnelError:
        why = f": {' / '.join(said)}" if said else ""
        return TunnelError(f"{self.provider} {what}{why} ({self._filled((self._program.next_step,))[0]})")

    def _filled(self, texts: tuple[str, ...]) -> list[str]:
        return [text.replace("{port}", str(self._port)) for text in texts]

    def _say(self, url: str) -> None:
        self.url = url
        self._changed(url)


async def _works(program: Program, seconds: float, environ: Mapping[str, str] | None) -> bool:
    return installed(program.name, environ) and await _succeeds([program.name, "--version"], seconds, environ)


async def _succeeds(command: list[str], seconds: float, environ: Mapping[str, str] | None) -> bool:
    try:
        child = await Child.start(command, environ)
    except OSError:
        return False
    try:
        async with asyncio.timeout(seconds):
            return await child.ended() == 0
    except TimeoutError:
        return False
    finally:
        await asyncio.shield(child.kill())


def _ignore(url: str) -> None:
    pass
