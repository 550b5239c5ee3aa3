"""What an agent section may say."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from ai_engine.settings import Section, Word

_SLOT = re.compile(r"\{(\w+)\}")
_CLOSING = {"]": "[", ")": "("}


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
SlotName = Annotated[str, Field(pattern=r"^\w+$")]


class Intent(Section):
    """Something a caller may want, and what the agent answers."""

    phrases: Annotated[tuple[Phrase, ...], Field(min_length=1)]
    """How callers say it: plain words. `[word]` is optional, `(a|b)` a choice, `{slot}` one of a slot's words."""
    answer: str
    """What the agent says. `{slot}` gives back the word that was heard."""
    action: Literal["hangup", "transfer"] | None = None
    """What happens after the last word of the answer was played."""


class AgentSection(Section):
    """One agent: how it sounds, what it understands and what it says."""

    provider: str | None = None
    """Which provider runs it; absent means `default_provider`."""
    fallback_providers: tuple[Word, ...] | None = None
    """Who takes over, in this order, when that one fails; absent means those of the file."""
    language: str = "en-US"
    """BCP 47 tag."""
    voice: str = "slt"
    """A flite voice (slt, rms, awb, kal16) or `espeak:VOICE` for other languages."""
    greeting: str | None = None
    """The first words; absent means `llm.initial_greeting`."""
    prompt: str | None = None
    """Instructions for models that read them; absent means `llm.prompt`."""
    tools: tuple[str, ...] | None = None
    """The tools it may use, by name, `NAME.*` for all of an MCP server; absent means the engine's own."""
    intents: Mapping[str, Intent] = {}
    """What the embedded dialog of the local server understands, by name; models that read a `prompt` need none."""
    slots: Mapping[SlotName, Annotated[tuple[Phrase, ...], Field(min_length=1)]] = {}
    """Word lists that phrases use as `{name}`."""
    fallback: str = "I am sorry, I did not understand that. Could you say it again?"
    """Said when a turn was not understood."""
    fallback_limit: Annotated[int, Field(ge=1, le=20)] = 3
    """After so many turns in a row that were not understood, the caller is connected to a person."""
    nudge: str = "Are you still there?"
    """Said when nobody has spoken for `no_input.seconds`."""
    goodbye: str = "I cannot hear you. Goodbye."
    """Said when nobody has answered `no_input.limit` of those; then the call ends."""

    def plain(self, name: str) -> dict[str, Any]:
        """The `agent` object of docs/local_ai_protocol.md but for `greeting` and `prompt`."""
        return {
            "name": name,
            **self.model_dump(mode="json", exclude={"provider", "fallback_providers", "tools", "greeting", "prompt"}),
        }

    def unknown_slots(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Places inside the section that use a slot which is not listed, and its name."""
        for name, intent in self.intents.items():
            texts = [(("phrases", i), phrase) for i, phrase in enumerate(intent.phrases)]
            for place, text in [*texts, (("answer",), intent.answer)]:
                for slot in _SLOT.findall(text):
                    if slot not in self.slots:
                        yield ("intents", name, *place), slot
