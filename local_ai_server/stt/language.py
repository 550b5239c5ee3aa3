"""Whether a model knows an agent's language."""

from collections.abc import Collection

from local_ai_server.agent import Agent
from local_ai_server.errors import AgentError

_OTHER_NAMES = {"nb": "no", "fil": "tl", "jv": "jw", "iw": "he", "in": "id"}
"""What speech models call languages that have another name in BCP 47, or had one."""


def language_of(agent: Agent) -> str:
    """The agent's language as models name it: ``en`` of ``en-US``."""
    subtag = agent.language.lower().partition("-")[0]
    return _OTHER_NAMES.get(subtag, subtag)


def require(agent: Agent, languages: Collection[str], model: str) -> None:
    """Raises AgentError where ``model`` does not know the agent's language; no ``languages``: it does not say."""
    if languages and language_of(agent) not in languages:
        raise AgentError(f"{model} does not know the language {agent.language!r}; it knows {', '.join(languages)}")
