"""The names of agents, without reading what they say."""

from ai_engine.studio.place import Place

_ENDINGS = (".yaml", ".toml")


def agent_names(here: Place) -> tuple[str, ...]:
    """Of the folder and of the configuration, sorted. Nothing where the folder cannot be read."""
    try:
        files = {path.stem for path in here.settings.agents.iterdir() if path.suffix in _ENDINGS}
    except OSError:
        files = set()
    return tuple(sorted(files | set(here.agents)))
