"""What an operator does to a conversation from outside."""

from collections.abc import Callable, Sequence

from ai_engine.ari.stasis import AriApp
from ai_engine.errors import AsteriskError
from ai_engine.session.call_session import CallSession
from ai_engine.session.settings import SessionSettings
from ai_engine.switchboard.models import Transfer
from ai_engine.switchboard.ports import Refused


class Interventions:
    """Every method is called on the call loop, and holds no call up."""

    def __init__(self, ari: AriApp, sessions: Callable[[], Sequence[CallSession]], settings: SessionSettings) -> None:
        self._ari = ari
        self._sessions = sessions
        self._settings = settings

    async def transfer(self, call_id: str, where: Transfer) -> None:
        """Send the caller there in the middle of a word, or to the human. Raises Refused.

        An extension the dialplan has not is refused: the caller would be hung up on.
        """
        context, extension = where.context or self._settings.human_context, where.extension or ""
        session = self._session(call_id)
        if extension and not await self._exists(session.channel_id, context, extension):
            raise Refused("refused", f"the dialplan has no extension {extension} in context {context}")
        self._session(call_id).transfer(context if extension else "", extension)

    async def whisper(self, call_id: str, text: str) -> None:
        """Let the agent know ``text``, which the caller does not hear. Raises Refused."""
        self._session(call_id).advise(text)

    async def _exists(self, channel_id: str, context: str, extension: str) -> bool:
        try:
            return await self._ari.has_extension(channel_id, context, extension)
        except AsteriskError as error:
            if error.status in (404, 500):  # it is no channel of Asterisk's, or there is no func_dialplan.so
                return True
            raise Refused("asterisk", f"the caller cannot be transferred: {error}") from error

    def _session(self, call_id: str) -> CallSession:
        found = next((session for session in self._sessions() if session.call_id == call_id), None)
        if found is None:
            raise Refused("not-found", f"call {call_id} has ended, or an agent does not hold it yet")
        return found
