"""The tree of this program's errors, arranged by whose fault it is.

LocalAIError
├── SettingsError     the operator's: the server cannot be started like this
├── SwapRefused       the operator's: models cannot be swapped just now, or not by him
├── ProtocolError     the client's: it broke docs/local_ai_protocol.md
│   └── AgentError    the client's: the agent it sent cannot be served (a phrase, a word, a voice)
├── SlowClient        the client's: it stopped reading
└── JobFailed         ours: a worker died or a model failed; the session goes on
"""


class LocalAIError(Exception):
    """Base of every error raised on purpose by this program; ``str()`` is a sentence to show as it is."""


class SettingsError(LocalAIError):
    """A setting is wrong."""


class SwapRefused(LocalAIError):
    """Models are not swapped now."""


class ProtocolError(LocalAIError):
    """A message cannot be accepted; the connection is closed with ``bad_message``."""


class AgentError(ProtocolError):
    """The agent's definition cannot be served."""


class SlowClient(LocalAIError):
    """The client did not read what it was sent."""


class JobFailed(LocalAIError):
    """One piece of model work was lost."""
