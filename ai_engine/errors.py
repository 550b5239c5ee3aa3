"""The tree of errors, arranged by whose fault it is.

OffhookError
├── ConfigError            the operator's: a setting is wrong; the text names file, line and key
├── PeerError              the peer's on a media socket: it broke the protocol or the rules of the door
├── MediaError             the machine's: a sound file cannot be written, a port cannot be had
├── AsteriskError          Asterisk's: a request was refused or the connection is gone
│   └── NotForUs           nobody's: the dialplan goes on with a caller who is not held here
├── ProviderError          the AI's: it could not be reached, refused, stalled or broke its protocol
└── CallGone               nobody's: the call ended while we were busy with it
"""


class OffhookError(Exception):
    """Base of every error raised on purpose by the engine."""


class ConfigError(OffhookError):
    """A setting is wrong; ``str()`` is complete enough to show to the operator as it is."""


class PeerError(OffhookError):
    """The other side of a media connection broke the protocol; it is shut out, the call table is not touched."""


class MediaError(OffhookError):
    """Sound cannot be laid down or sent, for want of room, rights or ports on this machine."""


class AsteriskError(OffhookError):
    """Asterisk refused a request or could not be reached.

    ``status`` is the HTTP status, or 0 when there was no answer at all.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class NotForUs(AsteriskError):
    """A caller who is not answered: the dialplan goes on with them at ``context,extension,1``."""

    def __init__(self, message: str, context: str, extension: str) -> None:
        super().__init__(message)
        self.context = context
        self.extension = extension


class ProviderError(OffhookError):
    """The AI on the other side failed; the caller must be taken care of.

    ``status`` is the HTTP status it refused us with, or 0.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class CallGone(OffhookError):
    """The channel left before the engine was done with it; ends a call without blame."""
