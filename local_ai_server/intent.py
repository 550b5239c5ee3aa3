"""Something a caller may want: how it is said, what the agent answers, the tool it uses, and what it says then."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from local_ai_server import phrases
from local_ai_server.checks import a_text, an_object, only_fields, spoken_texts
from local_ai_server.errors import AgentError
from local_ai_server.tools import goes_on, is_name

Scalar: TypeAlias = str | int | float | bool | None
Pairs: TypeAlias = tuple[tuple[str, Scalar], ...]

_STEP_FIELDS = ("action", "arguments", "results")
_INTENT_FIELDS = ("phrases", "answer", "needs", *_STEP_FIELDS)
_RESULT_FIELDS = ("when", "say", *_STEP_FIELDS)
_MOST_STEPS = 5
"""Tools that may follow from one another without a word of the caller."""


@dataclass(frozen=True, slots=True)
class Result:
    """What the agent says, and does next, when a tool came to this."""

    answer: str
    when: Pairs = ()
    """Values the result must have, by dotted path; None: it has none there."""
    action: str | None = None
    arguments: Pairs = ()
    results: tuple["Result", ...] = ()


@dataclass(frozen=True, slots=True)
class Need:
    """What must have come of a tool earlier in the call."""

    tool: str
    path: str = ""
    """Dotted, inside its latest result; empty: it is enough that there is one."""
    value: Scalar = None


@dataclass(frozen=True, slots=True)
class Intent:
    """One intent of an agent. Hashable, as the agent is."""

    name: str
    phrases: tuple[str, ...]
    answer: str
    action: str | None = None
    """A tool; it is asked for after the answer."""
    arguments: Pairs = ()
    results: tuple[Result, ...] = ()
    """What may come of the tool; the first that fits is said."""
    needs: tuple[Need, ...] = ()
    """Without these the intent is not understood."""


Step: TypeAlias = Intent | Result


def read_intent(name: str, value: object, slots: phrases.Slots) -> Intent:
    """One entry of ``agent.intents``. Raises AgentError with a sentence naming the field."""
    where = f"agent.intents.{name}"
    given = an_object(value, where)
    only_fields(given, _INTENT_FIELDS, where)
    said = spoken_texts(given.get("phrases"), f"{where}.phrases")
    for phrase in said:
        for slot in phrases.slots_in(phrases.parse(phrase)):
            if slot not in slots:
                raise AgentError(f"{where}: the phrase {phrase!r} uses the unknown slot {slot!r}")
    answer = a_text(given.get("answer", ""), f"{where}.answer")
    return Intent(name, said, answer, *_step(given, where, 1), needs=_needs(given.get("needs"), f"{where}.needs"))


def _step(given: dict[str, object], where: str, depth: int) -> tuple[str | None, Pairs, tuple[Result, ...]]:
    """The action, its arguments and what may come of it."""
    action = given.get("action")
    if action is not None and (not isinstance(action, str) or not is_name(action)):
        raise AgentError(f"{where}.action must be null or the name of a tool")
    arguments = _pairs(given.get("arguments", {}), f"{where}.arguments")
    results = _results(given.get("results", []), f"{where}.results", depth)
    if action is None and arguments:
        raise AgentError(f"{where}.arguments are for an action, and there is none")
    if bool(results) != (action is not None and goes_on(action)):
        raise AgentError(f"{where}.results are what is said when a tool has answered: needed with one, and only then")
    return action, arguments, results


def _results(value: object, where: str, depth: int) -> tuple[Result, ...]:
    if not isinstance(value, list):
        raise AgentError(f"{where} must be a list of objects")
    if value and depth > _MOST_STEPS:
        raise AgentError(f"{where} is nested too deeply")
    results = tuple(_result(each, f"{where}.{at}", depth) for at, each in enumerate(value))
    for at, result in enumerate(results):
        if bool(result.when) == (at == len(results) - 1):
            raise AgentError(f"{where}.{at}.when: all need one but the last, which is for everything else")
    return results


def _result(value: object, where: str, depth: int) -> Result:
    given = an_object(value, where)
    only_fields(given, _RESULT_FIELDS, where)
    when = _pairs(given.get("when", {}), f"{where}.when")
    return Result(a_text(given.get("say", ""), f"{where}.say"), when, *_step(given, where, depth + 1))


def _needs(value: object, where: str) -> tuple[Need, ...]:
    if value is None:
        return ()
    if isinstance(value, str):
        needs: tuple[Need, ...] = (Need(value),)
    else:
        needs = tuple(_need(path, wanted) for path, wanted in _pairs(value, where))
    if not all(is_name(need.tool) for need in needs):
        raise AgentError(f"{where} must be the name of a tool, or values in its result: {{tool.path: value}}")
    return needs


def _need(path: str, wanted: Scalar) -> Need:
    tool, dot, inside = path.partition(".")
    return Need(tool if dot and inside else "", inside, wanted)


def _pairs(value: object, where: str) -> Pairs:
    if not isinstance(value, Mapping):
        raise AgentError(f"{where} must be an object")
    for key, part in value.items():
        if not isinstance(part, str | int | float | bool | None):
            raise AgentError(f"{where}.{key} must be text, a number, true, false or null")
    return tuple(value.items())
