"""What Deepgram's sockets have in common: how they are opened, how sound is coded on them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import urlencode

from ai_engine.audio.format import SLIN8, SLIN16, AudioFormat
from ai_engine.audio.g711 import pcm_to_ulaw, ulaw_to_pcm
from ai_engine.errors import ProviderError
from ai_engine.remote.socket import RemoteSocket
from ai_engine.session.ports import Fitting

VENDOR = "Deepgram"
"""As errors name it."""

URL = "wss://api.deepgram.com"
KEY = "DEEPGRAM_API_KEY"

BROKEN = (KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)
"""What reading a message that is not as documented can raise."""

Query = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Coding:
    """Sound on the wire."""

    name: str
    """As ``encoding`` has it."""
    format: AudioFormat
    encode: Callable[[bytes], bytes]
    """From PCM16."""
    decode: Callable[[bytes], bytes]

    @property
    def query(self) -> Query:
        return (("encoding", self.name), ("sample_rate", str(self.format.rate)))


def coding(line: AudioFormat) -> Coding:
    """What suits a call's sound best: a telephone's is mu-law already, and half the bytes."""
    if line == SLIN8:
        return Coding("mulaw", SLIN8, pcm_to_ulaw, ulaw_to_pcm)
    return Coding("linear16", SLIN16, bytes, bytes)


async def open_socket(url: str, path: str, query: Query, key: str, fitting: Fitting) -> RemoteSocket:
    """Connect; whoever calls says how long it may take, by cancelling. Raises ProviderError."""
    try:
        return await RemoteSocket.open(
            VENDOR,
            f"{url.rstrip('/')}{path}?{urlencode(list(query))}",
            headers={"Authorization": f"Token {key}"},
            heartbeat_seconds=fitting.heartbeat_seconds,
        )
    except ProviderError as error:
        # The vendor's own words may quote our key.
        raise ProviderError(str(error).replace(key, "…") if key else str(error), error.status) from None
