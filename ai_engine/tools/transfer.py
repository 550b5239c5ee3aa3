"""Hands the caller to a human: at once after the agent's last word, or only to one who wants to take the call."""

from collections.abc import Mapping
from typing import Any, Protocol

from ai_engine.call.events import TransferAsked
from ai_engine.session.ports import Consultation, Outcome, ToolContext
from ai_engine.tools.answer import failed

_HUMAN = "human"
"""The name of the configured human, where there are other destinations."""

_CONSULTATION_SECONDS = 40
"""What asking somebody takes beside the ringing: the agent's last words, and the human's decision."""

_WHY_NOT = {
    Outcome.DECLINED: "they cannot take the call now",
    Outcome.NO_ANSWER: "nobody answered",
    Outcome.BUSY: "they are on the telephone",
}


class Destination(Protocol):
    """A place in the dialplan that an agent may transfer a caller to."""

    @property
    def context(self) -> str: ...

    @property
    def extension(self) -> str: ...

    @property
    def description(self) -> str: ...

    @property
    def attended(self) -> bool:
        """Whether the human is asked first."""
        ...

    @property
    def ring_seconds(self) -> float: ...


class Transfer:
    """Implements ``Tool``; made for each agent, with the destinations it knows by name."""

    name = "transfer"

    def __init__(self, destinations: Mapping[str, Destination] | None = None) -> None:
        """Without ``destinations`` there is the configured human only, for whom no name is needed."""
        self._destinations = dict(destinations or {})
        self.description = self._describe()
        self.parameters: Mapping[str, Any] = self._schema()
        asked_first = [place.ring_seconds for place in self._destinations.values() if place.attended]
        self.timeout_seconds = max(asked_first) + _CONSULTATION_SECONDS if asked_first else 5.0

    async def run(self, arguments: Mapping[str, Any], call: ToolContext) -> Mapping[str, Any]:
        if not call.reaches_human:
            return failed("nobody can be reached in this call")
        name = arguments.get("to", _HUMAN)
        place = self._destinations.get(name)
        if place is None:
            call.happened(TransferAsked("the agent asked for a person"))
            return {"ok": True}
        if not place.attended:
            call.happened(TransferAsked(f"the agent asked for {name}", place.context, place.extension))
            return {"ok": True}
        if call.caller_speaking:
            return failed("the caller is speaking; listen first")
        asked = Consultation(place.context, place.extension, arguments.get("summary", ""), place.ring_seconds)
        return _answer(name, await call.consult(asked))

    def _describe(self) -> str:
        said = "Connect the caller with a person. Say so first: it happens after your last word was played."
        if not self._destinations:
            return said
        places = [f"{name}: {place.description or name}" for name, place in self._destinations.items()]
        if any(place.attended for place in self._destinations.values()):
            said += (
                " Some are asked first whether they take the call, while the caller hears music; when you are told "
                "that one does not, you have the caller back: tell them, and help otherwise."
            )
        if _HUMAN not in self._destinations:
            places.append(f"{_HUMAN}: anybody")
        return f"{said} Who there is:\n" + "\n".join(f"- {place}" for place in places)

    def _schema(self) -> Mapping[str, Any]:
        properties: dict[str, Any] = {}
        if self._destinations:
            names = list(dict.fromkeys((*self._destinations, _HUMAN)))
            properties["to"] = {"type": "string", "enum": names, "description": "Who the caller is to talk to."}
        if any(place.attended for place in self._destinations.values()):
            properties["summary"] = {
                "type": "string",
                "maxLength": 400,
                "description": "What that person should know before they decide: who is calling, and what about.",
            }
        schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
        return schema | ({"required": ["to"]} if properties else {})


def _answer(name: str, outcome: str) -> Mapping[str, Any]:
    if outcome == Outcome.ACCEPTED:
        return {"ok": True, "outcome": outcome}
    why_not = next((why for known, why in _WHY_NOT.items() if known == outcome), "they cannot be reached")
    return {"ok": False, "error": f"{name}: {why_not}; the caller is back with you", "outcome": outcome}
