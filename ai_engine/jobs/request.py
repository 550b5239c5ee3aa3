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


_FACTS_OF_THE_CALL = frozenset(
    (
        *("agent", "call_id", "caller", "channel", "dialled", "did", "job", "number", "provider", "room"),
        *("timezone", "today", "working_hours"),
    )
)
"""What no variable may say otherwise."""


class CallRequest(Wire):
    """The input of `call_agent`: a `goal` with an appointment to make, a free `prompt`, or `ownWords`."""

    to: Telephone
    """The number to call, E.164."""
    goal: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """What the call should achieve; the agent books an appointment for it."""
    prompt: Annotated[str, Field(min_length=1, max_length=8000)] | None = None
    """Instead of `goal`: free instructions. The agent reports what came of the call."""
    own_words: bool | None = None
    """Instead of `goal`: the agent talks as its own section says, with its own tools, and reports nothing."""
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
    max_attempts: Annotated[int, Field(ge=1, le=50)] | None = None
    """Dials in all, no more than the engine's own limit; absent means that, and with `ownWords` 1."""
    ring_seconds: Annotated[float, Field(gt=0, le=3600)] | None = None
    """How long it may ring, no longer than the engine's own limit."""
    max_seconds: Annotated[float, Field(gt=0, le=4 * 3600)] | None = None
    """How long the conversation may last, no longer than the engine's own limit."""
    variables: (
        Annotated[
            dict[
                Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,39}$")], Annotated[str, Field(max_length=500)]
            ],
            Field(max_length=50),
        ]
        | None
    ) = None
    """With `ownWords`: what greeting and prompt of the agent may say as `{name}`."""
    metadata: dict[str, JsonValue] = {}
    """Kept with the record, and told to nobody."""
    idempotency_key: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """A second request with the same key is the same call."""

    @model_validator(mode="after")
    def _one_purpose(self) -> "CallRequest":
        if [self.goal is not None, self.prompt is not None, self.talks].count(True) != 1:
            raise ValueError("say either goal (an appointment is made) or prompt (a free conversation), or ownWords")
        if self.goal is not None and self.duration_minutes is None:
            raise ValueError("durationMinutes is needed with goal: how long is the appointment?")
        if self.window_start and self.window_end:
            zone = self.timezone or "UTC"
            if as_moment(self.window_start, zone) >= as_moment(self.window_end, zone):
                raise ValueError("windowEnd must be after windowStart")
        if self.variables and not self.talks:
            raise ValueError("variables fill places in the agent's own greeting and prompt: they need ownWords")
        if taken := sorted(_FACTS_OF_THE_CALL & set(self.variables or ())):
            raise ValueError(f"variables: {', '.join(taken)} cannot be set: the call itself says it; use another name")
        return self

    @property
    def books(self) -> bool:
        """Whether an appointment is to be made."""
        return self.goal is not None

    @property
    def talks(self) -> bool:
        """Whether the agent does what it always does."""
        return self.own_words is True


class Report(Wire):
    """What the agent says came of a call with a free ``prompt``."""

    summary: Annotated[str, Field(min_length=1, max_length=8000)]
    outcome: Literal["success", "failure", "voicemail", "no_answer", "unknown"] = "unknown"
    next_steps: tuple[str, ...] = ()
    data: dict[str, JsonValue] = {}
