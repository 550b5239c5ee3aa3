"""What an agent section may say."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field

from ai_engine.config.intents import Intent, Lacks, Phrase, Place
from ai_engine.settings import Section, Word

SlotName = Annotated[str, Field(pattern=r"^\w+$")]


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
    idle_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """After so much quiet the call ends, nudges within it; absent means `no_input.seconds` for each of them."""
    end_silence_ms: Annotated[int, Field(ge=100, le=5000)] | None = None
    """Quiet that ends a turn when a call begins; absent means `vad.end_silence_ms`."""

    def plain(self, name: str) -> dict[str, Any]:
        """The `agent` object of docs/local_ai_protocol.md but for `greeting` and `prompt`."""
        left_out = {"provider", "fallback_providers", "tools", "greeting", "prompt", "intents"}
        left_out |= {"idle_seconds", "end_silence_ms"}
        intents = {key: intent.plain() for key, intent in self.intents.items()}
        return {"name": name, **self.model_dump(mode="json", exclude=left_out), "intents": intents}

    def contradictions(self, name: str, lacks: Lacks) -> Iterator[tuple[Place, str]]:
        """Places inside the section with something that is not there, and what to do."""
        for key, intent in self.intents.items():
            for place, why in intent.contradictions(name, self.slots.keys(), lacks):
                yield ("intents", key, *place), why
