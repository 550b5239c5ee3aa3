"""What the ``call_agent`` section is to the rest of the configuration."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pydantic import ValidationError

from ai_engine.jobs.briefing import CALENDAR_TOOLS, REPORT_TOOL
from ai_engine.jobs.settings import CallAgentSettings
from ai_engine.providers.openai_realtime import OpenAIRealtimeSettings

Place = tuple[str | int, ...]

CALL_TOOLS = (*CALENDAR_TOOLS, REPORT_TOOL)
"""Tools that an agent can have where the section is."""

OPENAI_PROVIDER = "call_agent_openai"
"""How the provider is called that the section's `openai` is."""

OPENAI_KEY = "CALL_AGENT_OPENAI_KEY"
"""Its key among the secrets: the section may have another one than OPENAI_API_KEY is."""

SECRETS: dict[str, Place] = {
    "CALL_AGENT_TOKEN": ("tokens",),
    "CALL_AGENT_DATABASE_URL": ("store", "database_url"),
    "TWILIO_AUTH_TOKEN": ("twilio", "auth_token"),
    "TWILIO_SIGNATURE_KEY": ("twilio", "signature_key"),
    "OPENAI_API_KEY": ("openai", "api_key"),
    "CALENDAR_TOKEN": ("calendar", "token"),
    "NOTIFY_HOOKS_TOKEN": ("notify", "hooks_token"),
}
"""Environment variable -> place in the section; beside them there are those of ``login_variables``."""


def login_variables(name: str) -> tuple[str, str]:
    """The environment variables with user and password of the calendars that URLs call ``name``."""
    word = re.sub(r"\W", "_", name.upper(), flags=re.ASCII)
    return f"CALDAV_{word}_USER", f"CALDAV_{word}_PASSWORD"


def has_openai(settings: CallAgentSettings | None) -> bool:
    """Whether the section brings a provider of its own for the agent of an outbound call."""
    return settings is not None and bool(settings.openai.api_key.get_secret_value())


def openai_provider(settings: CallAgentSettings | None) -> OpenAIRealtimeSettings | None:
    """Who runs the agent of an outbound call; None: the agent's own provider does.

    Raises ValidationError for what OpenAI does not know.
    """
    if settings is None or not has_openai(settings):
        return None
    openai = settings.openai
    where = {} if openai.base_url is None else {"url": _web_socket(openai.base_url)}
    return OpenAIRealtimeSettings.model_validate(
        {
            "key": OPENAI_KEY,
            "model": openai.model,
            "voice": openai.voice,
            "format": openai.input_format.removeprefix("audio/"),
            "output_format": openai.output_format.removeprefix("audio/"),
            **where,
        }
    )


def contradictions(settings: CallAgentSettings, *, numbers: bool) -> Iterator[tuple[Place, str]]:
    """Values that are right alone and wrong together: where in the section, and what to do. ``numbers``: there is a
    store of numbers, each of which is a way out."""
    yield from settings.contradictions(numbers=numbers)
    try:
        openai_provider(settings)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            key = str(detail["loc"][0])
            place = "base_url" if key == "url" else key
            yield ("openai", place), detail["msg"].replace("Input should", "must").replace("String should", "must")


def missing_secrets(settings: CallAgentSettings) -> Iterator[tuple[str, Place]]:
    """Environment variables without which the section cannot do its work, and who needs each."""
    twilio = settings.telephony.provider == "twilio"
    if settings.enabled and twilio and not settings.twilio.auth_token.get_secret_value():
        yield "TWILIO_AUTH_TOKEN", ("twilio",)
    for at, name in settings.calendar.login_names:
        if name not in settings.calendar.logins:
            yield from ((variable, ("calendar", "import_urls", at)) for variable in login_variables(name))


def shown(settings: CallAgentSettings) -> dict[str, Any]:
    """All of it as plain data to print; a secret is ``**********``, or empty where there is none."""
    plain = settings.model_dump(mode="json")
    plain["calendar"]["import_urls"] = [*map(_public, settings.calendar.import_urls)]
    for trunk in plain["asterisk"]["trunks"].values():
        trunk["headers"] = dict.fromkeys(trunk["headers"], "**********")
    return plain


def _web_socket(url: str) -> str:
    """As our provider wants it: where the API begins, without `/realtime`."""
    return re.sub(r"^http", "ws", url.rstrip("/").removesuffix("/realtime"))


def _public(url: str) -> str:
    """The path of a private calendar is its password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}/…" if parts.netloc else url
