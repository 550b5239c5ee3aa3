"""Says what came of a call that was placed for somebody, and ends it."""

from collections.abc import Mapping
from typing import Any, Protocol

from pydantic import ValidationError

from ai_engine.call.events import HangupAsked
from ai_engine.jobs.request import Report
from ai_engine.session.ports import ToolContext

_OUTCOMES = ("success", "failure", "voicemail", "no_answer", "unknown")


class Reports(Protocol):
    """Who wants to know."""

    async def report(self, job_id: str, report: Report) -> None:
        """Keep it with the job. Raises KeyError where there is no such job."""
        ...


class ReportCall:
    """Implements ``Tool``."""

    name = "report_call"
    description = (
        "Say what came of this call, to those who asked for it. Say goodbye first: the call ends after your last word"
        " was played."
    )
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {
            "summary": {
                "type": "string",
                "minLength": 1,
                "maxLength": 8000,
                "description": "What was said and agreed.",
            },
            "outcome": {"type": "string", "enum": list(_OUTCOMES)},
            "nextSteps": {"type": "array", "maxItems": 50, "items": {"type": "string", "maxLength": 1000}},
            "data": {"type": "object", "description": "What they wanted to know, by name."},
        },
        "required": ["summary"],
        "additionalProperties": False,
    }
    timeout_seconds = 8.0

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> Mapping[str, Any]:
        job_id = call.facts.get("job")
        if not job_id:
            return {"ok": False, "error": "nobody asked for this call; say goodbye, and use hangup"}
        if call.caller_speaking:
            return {"ok": False, "error": "the caller is speaking; listen first"}
        try:
            await self._reports.report(job_id, Report.model_validate(dict(arguments)))
        except ValidationError as error:
            return {"ok": False, "error": f"{error.errors()[0]['msg']}"}
        except KeyError:
            return {"ok": False, "error": "nobody knows of this call any more; say goodbye, and use hangup"}
        call.happened(HangupAsked())
        return {"ok": True}
