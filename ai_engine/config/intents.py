"""What an agent's intents may say, for the embedded dialog of the local server."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationError, ValidatorFunctionWrapHandler, WrapValidator

from ai_engine.settings import Section

Place = tuple[str | int, ...]
Lacks = Callable[[str], str | None]
"""Why the agent cannot use a tool of that name; None when it can."""

_SLOT = re.compile(r"\{(\w+)\}")
_PLACE = re.compile(r"\{(\w[\w-]*)((?:\.[\w-]+)*)\}")
_CLOSING = {"]": "[", ")": "("}
_ENDING = ("hangup", "transfer")
"""After these the agent has nothing to say."""


def _phrase(text: str) -> str:
    words = _SLOT.sub("slot", text)
    if strange := sorted({c for c in words if not (c.isalpha() or c in "' -[]()|")}):
        raise ValueError(f"a phrase is plain words, with no {' '.join(map(repr, strange))}; spell numbers out")
    if not any(c.isalpha() for c in words):
        raise ValueError("a phrase needs a word")
    opened: list[str] = []
    for c in words:
        if c in "[(":
            opened.append(c)
        elif c in _CLOSING and (not opened or opened.pop() != _CLOSING[c]):
            raise ValueError(f"{c!r} closes nothing")
    if opened:
        raise ValueError(f"{opened[-1]!r} is never closed")
    return text


Phrase = Annotated[str, AfterValidator(_phrase)]
ToolName = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Path = Annotated[str, Field(pattern=r"^[\w-]+(\.[\w-]+)*$")]
"""Into a tool's result: ``alternatives.0.start``."""


def _value(given: Any, check: ValidatorFunctionWrapHandler) -> Any:
    if not isinstance(given, str | int | float | bool | None):
        raise ValueError("must be text, a number, true, false or null")
    return check(given)


def _needs(given: Any, check: ValidatorFunctionWrapHandler) -> Any:
    try:
        return check(given)
    except ValidationError as error:
        raise ValueError("must be the name of a tool, or values in its result: {tool.path: value}") from error


Value = Annotated[str | int | float | bool | None, WrapValidator(_value)]


class Step(Section):
    """Something the agent does once it has spoken."""

    action: ToolName | None = None
    """A tool that is asked for after the last word: `hangup`, `transfer`, or another one the agent has."""
    arguments: Mapping[str, Value] = {}
    """Those of the tool. `{slot}` is the word that was heard, `{tool.path}` a part of what a tool came to last; a text
    that is nothing else becomes the value itself, and is left out where there is none."""
    results: tuple["Result", ...] = ()
    """What is said when the tool has answered: the first whose `when` fits."""

    def plain(self) -> dict[str, Any]:
        """As docs/local_ai_protocol.md has it; what is not said is left out."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def step_contradictions(self, lacks: Lacks) -> Iterator[tuple[Place, str]]:
        """What is wrong with the tool, and with what may come of it."""
        if self.action is None:
            for name in ("arguments", "results"):
                if getattr(self, name):
                    yield (name,), "is for an action, and there is none"
            return
        if (why := lacks(self.action)) is not None:
            yield ("action",), why
        elif self.action in _ENDING and self.results:
            yield ("results",), f"nothing is said after {self.action}"
        elif self.action not in _ENDING and not self.results:
            yield ("action",), f"needs results: what is said when {self.action} has answered"
        for at, result in enumerate(self.results):
            if bool(result.when) == (at == len(self.results) - 1):
                yield ("results", at, "when"), "all need one but the last, which is for everything else"
            for place, why in result.step_contradictions(lacks):
                yield ("results", at, *place), why


class Result(Step):
    """What the agent says when a tool came to this."""

    when: Mapping[Path, Value] = {}
    """Values in the tool's result, by dotted path: `available: true`; null: there is none. The last has no `when`."""
    say: str = ""
    """What the agent says then. `{slot}` is the word that was heard, `{path}` a part of the result
    (`{alternatives.0.spoken}`), `{tool.path}` a part of what another tool came to last."""


class Intent(Step):
    """Something a caller may want, and what the agent answers."""

    phrases: Annotated[tuple[Phrase, ...], Field(min_length=1)]
    """How callers say it: plain words. `[word]` is optional, `(a|b)` a choice, `{slot}` one of a slot's words."""
    answer: str
    """What the agent says. `{slot}` gives back the word that was heard, `{tool.path}` a part of what a tool came to."""
    needs: Annotated[ToolName | Mapping[Path, Value] | None, WrapValidator(_needs)] = None
    """A tool, or values in its result (`{tool.path: value}`): without it the intent is not understood, so that "yes"
    means something only after an offer. Of two that are said alike, the one whose tool was used last is meant."""

    def plain(self) -> dict[str, Any]:
        return {"action": self.action, **super().plain()}

    def contradictions(self, agent: str, slots: Collection[str], lacks: Lacks) -> Iterator[tuple[Place, str]]:
        """Places inside it with something that is not there, and what to do; ``slots`` are those of ``agent``."""
        no_slot = f"there is no slot {{!r}} below agents.{agent}.slots".format
        for at, phrase in enumerate(self.phrases):
            yield from ((("phrases", at), no_slot(slot)) for slot in _SLOT.findall(phrase) if slot not in slots)
        yield from self.step_contradictions(lacks)
        for path in (self.needs,) if isinstance(self.needs, str) else self.needs or ():
            tool, dot, _ = path.partition(".")
            where = ("needs",) if isinstance(self.needs, str) else ("needs", path)
            if not dot and not isinstance(self.needs, str):
                yield where, f"name a value in what the tool came to: {tool}.PATH"
            elif (why := lacks(tool)) is not None:
                yield where, why
        texts: dict[Place, Value] = {("answer",): self.answer}
        texts |= {("arguments", key): text for key, text in self.arguments.items()}
        for place, text in texts.items():
            for name, path in _PLACE.findall(text) if isinstance(text, str) else ():
                if path and (why := lacks(name)) is not None:
                    yield place, why
                elif not path and name not in slots:
                    yield place, no_slot(name)
