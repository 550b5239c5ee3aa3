"""What is known of a call: the record that `call_agent_status` answers with."""

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict

from ai_engine.jobs.request import CallRequest, Report, Wire
from ai_engine.jobs.status import Status

Outcome = Literal["scheduled", "not_scheduled", "reported", "talked", "message_left"]


class ScheduledEvent(Wire):
    """The appointment that was made."""

    event_id: str
    calendar_id: str
    start: datetime
    end: datetime
    timezone: str
    summary: str | None = None


class CallRecord(Wire):
    """One call, over all its attempts."""

    model_config = ConfigDict(extra="ignore")

    id: str
    """UUID; stays the same over all attempts."""
    request: CallRequest
    status: Status = Status.QUEUED
    attempt: int = 0
    """How often it was dialled."""
    provider: str = ""
    """``asterisk``, ``twilio`` or ``mock``."""
    provider_call_id: str | None = None
    """Of the latest attempt."""
    stream_sid: str | None = None
    last_error: str | None = None
    outcome: Outcome | None = None
    """What a completed call came to; a `completed` alone says only that somebody answered and hung up."""
    answered_by: str | None = None
    user_hint: str | None = None
    """What a person must do for the call to happen (the mock provider)."""
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None = None
    next_attempt_at: datetime | None = None
    """When it is dialled again, while it waits for that."""
    scheduled_event: ScheduledEvent | None = None
    report: Report | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing more will happen."""
        return self.completed_at is not None


class TimelineEntry(Wire):
    """Something that happened to a call."""

    at: datetime
    kind: str
    """``queued``, ``dialing``, ``ringing``, ``answered``, ``busy``, ``retry``, ``booked``, ``notified`` …"""
    text: str = ""
    attempt: int = 0
