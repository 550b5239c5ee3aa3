"""A small deterministic dialog: it knows the agent's intents and nothing else.

It is no language model. It finds the intent whose phrase was said, word for word or nearly, gives that intent's written
answer, uses its tool, and says what is written for what the tool came to. It keeps nothing: what was said and done
before is read from the record each time. It makes nothing up.
"""

import re
from collections.abc import AsyncGenerator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, TypeAlias

from local_ai_server.agent import Agent
from local_ai_server.intent import Intent, Step
from local_ai_server.llm import happenings
from local_ai_server.llm.base import Act, Piece, Verdict
from local_ai_server.llm.happenings import Record
from local_ai_server.llm.templates import fill, fill_arguments
from local_ai_server.llm.understanding import Found, Understanding
from local_ai_server.tools import OWN, Tools

_remembered = lru_cache(maxsize=64)(Understanding)

_Reply: TypeAlias = tuple[Step, Mapping[str, Any]] | None
"""What to say and do, and the values of its places."""


class Intents:
    """Answers from the agent's definition, a word at a time."""

    async def start(self) -> None:
        """It knows nothing but agents."""

    async def prepare(self, agent: Agent) -> None:
        _understanding_of(agent)

    async def answer(self, agent: Agent, record: Record, tools: Tools = OWN) -> AsyncGenerator[Piece, None]:
        """An intent's action is asked for whatever ``tools`` there are: the agent was written for it."""
        reply = _reply(agent, record)
        if reply is None:
            yield Verdict.NOT_UNDERSTOOD
            return
        step, values = reply
        for token in tokens_of(fill(step.answer, values)):
            yield token
        if step.action:
            yield Act(step.action, fill_arguments(step.arguments, values))

    def understands(self, agent: Agent, text: str, record: Record, *, exactly: bool) -> bool:
        return _find(agent, text, record, exactly=exactly) is not None

    async def close(self) -> None:
        _remembered.cache_clear()


def tokens_of(text: str) -> list[str]:
    """``text`` word by word; joined again they are ``text``."""
    return re.findall(r"\s*\S+(?:\s+$)?", text)


def _understanding_of(agent: Agent) -> Understanding:
    """It does not depend on the prompt, which may be another one for each answer."""
    return _remembered(replace(agent, prompt=""))


def _find(agent: Agent, text: str, before: Record, *, exactly: bool = False) -> Found:
    """The intent of ``text``, said after ``before``."""
    used = happenings.used_in(before)

    def rank(intent: Intent) -> int | None:
        return happenings.rank(intent, used)

    understanding = _understanding_of(agent)
    return understanding.find_exactly(text, rank) if exactly else understanding.find(text, rank)


def _reply(agent: Agent, record: Record) -> _Reply:
    if not record or record[-1][0] != "caller":
        return _news(agent, record)
    found = _find(agent, record[-1][1], record[:-1])
    if found is None:
        news = _news(agent, record)
        # What is said without a word may have been said already.
        return news if news and news[0].answer else None
    intent, slots = found
    return intent, happenings.scope(happenings.used_in(record), slots)


def _news(agent: Agent, record: Record) -> _Reply:
    """What is to be said of the latest tool, unless the agent has spoken since it answered."""
    last = max((at for at, (speaker, _) in enumerate(record) if speaker == "tool"), default=-1)
    if any(speaker == "agent" for speaker, _ in record[last + 1 :]):
        return None
    for at in range(last - 1, -1, -1):
        speaker, text = record[at]
        found = _find(agent, text, record[:at]) if speaker == "caller" else None
        if found is None:
            continue
        intent, slots = found
        since = happenings.used_in(record[at : last + 1])
        result = happenings.what_follows(intent, since)
        if result is not None:
            used = happenings.used_in(record)
            return result, {**used[-1].result, **happenings.scope(used, slots)}
    return None
