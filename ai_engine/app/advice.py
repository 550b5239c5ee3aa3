"""What an operator can do about a provider that fails."""

from collections.abc import Iterator
from typing import Any

from yarl import URL

from ai_engine.config import EngineConfig
from ai_engine.config.providers import keys_of
from ai_engine.errors import ProviderError
from ai_engine.settings import Section

_KEY_REFUSED = (401, 403)
_NO_CREDIT = (402, 429)
_NOT_FOUND = 404
_NOT_TAKEN = (400, 409, 422)
_VENDORS_FAULT = 500

_NAMED = ("model", "voice", "voice_id")
"""Settings whose values are names the vendor may not know, or know no more."""


def next_step(config: EngineConfig, provider: str, agent: str, error: ProviderError) -> str:
    """One sentence: where to look, and what to change there."""
    settings = config.provider_settings(provider)
    keys = " and ".join(keys_of(settings))
    urls = " and ".join(public(url) for _, url in _values(settings, "url"))
    named = [f"providers.{provider}.{path} ({value})" for path, value in _values(settings, *_NAMED)]
    names = ", ".join(named) or f"providers.{provider}"
    where = f"at {urls}" if urls else "of the vendor"
    if error.status in _KEY_REFUSED:
        key = f"put a valid key into {_places(config, settings)}" if keys else f"look at the access rules {where}"
        return f"{key}, and see that it may use {', '.join(named)}" if named and error.status == 403 else key  # noqa: PLR2004
    if error.status in _NO_CREDIT:
        return f"the account{f' of {keys}' if keys else ''} has reached its limit: look at its credit and its plan"
    if error.status == _NOT_FOUND:
        return (
            f"the vendor does not know it, or no longer does: look at {names}{f' and the URL {urls}' if urls else ''}"
        )
    if error.status in _NOT_TAKEN:
        return f"the vendor does not take a setting: look at {names} and at agents.{agent}"
    if error.status >= _VENDORS_FAULT:
        return f"the trouble is {where}: look at its status page or log, and try again"
    if _unreachable(error):
        return f"see that {urls or 'the vendor'} is right and up, and that no firewall or proxy is in between"
    return f"look at {names}, at agents.{agent}, and at the log {where}"


def printable(config: EngineConfig, provider: str, text: str) -> str:
    """``text`` as one line, without keys and without what may be secret in a URL."""
    for key in config.secrets.keys.values():
        if secret := key.get_secret_value():
            text = text.replace(secret, "(key)")
    for _, url in _values(config.provider_settings(provider), "url"):
        text = text.replace(url, public(url))
    return " ".join(text.split())


def public(url: str) -> str:
    """Without user, password, query and fragment."""
    return str(URL(url).with_user(None).with_query(None).with_fragment(None))


def _places(config: EngineConfig, settings: Section) -> str:
    """Where its keys stand."""
    files = config.secrets.files
    variables = " and ".join(key for key in keys_of(settings) if key not in files)
    named = dict.fromkeys(str(files[key]) for key in keys_of(settings) if key in files)
    return " and ".join((*([f"{variables} (.env or the environment)"] if variables else []), *named))


def _values(section: Section, *names: str) -> Iterator[tuple[str, Any]]:
    """The settings of these names that have a value, with their path; those of sections within, too."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from ((f"{name}.{path}", inner) for path, inner in _values(value, *names))
        elif name in names and isinstance(value, str) and value:
            yield name, value


def _unreachable(error: BaseException | None) -> bool:
    """Whether it was a connection that could not be had; what an error was raised ``from None`` is still known."""
    while error is not None:
        if isinstance(error, OSError):
            return True
        error = error.__cause__ or error.__context__
    return False
