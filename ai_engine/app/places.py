"""Whether there is a place in the dialplan to send a caller to."""

from ai_engine.ari.stasis import AriApp
from ai_engine.errors import AsteriskError
from ai_engine.switchboard.ports import Refused

_CANNOT_TELL = (404, 500)
"""It is no channel of Asterisk's, or there is no func_dialplan.so."""


class Places:
    """For the call loop."""

    def __init__(self, ari: AriApp) -> None:
        self._ari = ari

    async def require(self, channel_id: str, context: str, extension: str) -> None:
        """Raises Refused for a place that is not there: a caller who is sent there would be hung up on."""
        try:
            there = await self._ari.has_extension(channel_id, context, extension)
        except AsteriskError as error:
            if error.status not in _CANNOT_TELL:
                raise Refused("asterisk", f"the caller cannot be transferred: {error}") from error
            there = True
        if not there:
            raise Refused("refused", f"the dialplan has no extension {extension} in context {context}")
