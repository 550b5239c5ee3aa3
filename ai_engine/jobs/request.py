"""What somebody asks for who wants a call placed."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, model_validator
from pydantic.alias_generators import to_camel

from ai_engine.jobs.times import ClockTime, Zone, as_moment


class Wire(BaseModel):
    """A JSON object in camel case, as callers of the API write it; unknown keys are refused."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        populate_by_name=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    def as_json(self) -> dict[str, Any]:
        """Plain data; what is not known is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def _telephone(text: str) -> str:
    number = "".join(c for c in text if c not in " -().\u00a0")
    digits = number.removeprefix("+")
    if not digits.isascii() or not digits.isdigit() or not 1 <= len(digits) <= 20:
        raise ValueError(f"{text!r} is no telephone number; write it like +14155550123")
    return number


Telephone = Annotated[str, AfterValidator(_telephone)]
"""E.164 (``+`` and digits), or the digits of an extension; separators are taken out."""


class WorkingHours(Wire):
    """When appointments may lie, in the time zone of the request."""

    start: ClockTime = "09:00"
    """The earliest an appointment begins, `HH:MM`."""
    end: ClockTime = "17:00"
    """The latest an appointment ends, `HH:MM`; `24:00` is midnight. Before `start`: the hours go past midnight."""
    days: tuple[Annotated[int, Field(ge=0, le=6)], ...] = (1, 2, 3, 4, 5)
    """Days of the week on which they begin; 0 is Sunday."""


class CallRequest(Wire):
    """The input of `call_agent`: either a `goal` with an appointment to make, or a free `prompt`."""

    to: Telephone
    """The number to call, E.164."""
    goal: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """What the call should achieve; the agent books an appointment for it."""
    prompt: Annotated[str, Field(min_length=1, max_length=8000)] | None = None
    """Instead of `goal`: free instructions. The agent reports what came of the call."""
    duration_minutes: Annotated[float, Field(gt=0, le=24 * 60)] | None = None
    """How long the appointment is; needed with `goal`."""
    timezone: Zone | None = None
    """IANA time zone of the appointment."""
    window_start: datetime | None = None
    """The appointment begins no earlier; RFC 3339. Without an offset it is meant in `timezone`."""
    window_end: datetime | None = None
    """The appointment ends no later."""
    working_hours: WorkingHours | None = None
    """When appointments may lie."""
    calendar_id: Annotated[str, Field(min_length=1, max_length=200)] = "primary"
    """The calendar to book in."""
    user_name: Annotated[str, Field(max_length=200)] | None = None
    """On whose behalf the agent calls."""
    callee_name: Annotated[str, Field(max_length=200)] | None = None
    """Who is called."""
    locale: Annotated[str, Field(max_length=35)] | None = None
    """BCP 47 language of the conversation."""
    voice: Annotated[str, Field(max_length=100)] | None = None
    """A voice of the agent's provider."""
    agent: Annotated[str, Field(max_length=100)] | None = None
    """The agent who talks; one of the configuration's."""
    trunk: Annotated[str, Field(max_length=100)] | None = None
    """The way out, where there are several."""
    metadata: dict[str, JsonValue] = {}
    """Kept with the record, and told to nobody."""
    idempotency_key: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """A second request with the same key is the same call."""

    @model_validator(mode="after")
    def _one_purpose(self) -> "CallRequest":
        if (self.goal is None) == (self.prompt is None):
            raise ValueError("say either goal (an appointment is made) or prompt (a free conversation)")
        if self.goal is not None and self.duration_minutes is None:
            raise ValueError("durationMinutes is needed with goal: how long is the appointment?")
        if self.window_start and self.window_end:
            zone = self.timezone or "UTC"
            if as_moment(self.window_start, zone) >= as_moment(self.window_end, zone):
                raise ValueError("windowEnd must be after windowStart")
        return self

    @property
    def books(self) -> bool:
        """Whether an appointment is to be made."""
        return self.goal is not None


class Report(Wire):
    """What the agent says came of a call with a free ``prompt``."""

    summary: Annotated[str, Field(min_length=1, max_length=8000)]
    outcome: Literal["success", "failure", "voicemail", "no_answer", "unknown"] = "unknown"
    next_steps: tuple[str, ...] = ()
    data: dict[str, JsonValue] = {}
