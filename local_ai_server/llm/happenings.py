"""What tools came to in a call, read from its record."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

from local_ai_server.intent import Intent, Need, Result, Step
from local_ai_server.llm.templates import at, is_same

Record: TypeAlias = tuple[tuple[str, str], ...]
"""``(speaker, text)``, the oldest first."""

_JSON = json.JSONDecoder()


@dataclass(frozen=True, slots=True)
class Used:
    """A tool that has answered."""

    name: str
    result: Mapping[str, Any]


def used_in(record: Record) -> list[Used]:
    """The tools of a record that have answered, the latest last."""
    return [used for speaker, text in record if speaker == "tool" and (used := read_use(text)) is not None]


@lru_cache(maxsize=512)
def read_use(text: str) -> Used | None:
    """``name(arguments) -> result``, both in JSON; None for anything else."""
    name, bracket, rest = text.partition("(")
    try:
        _, end = _JSON.raw_decode(rest)
        arrow, result = rest[end : end + 5], json.loads(rest[end + 5 :])
    except (ValueError, RecursionError):
        return None
    return Used(name, result) if bracket and arrow == ") -> " and isinstance(result, dict) else None


def rank(intent: Intent, used: list[Used]) -> int | None:
    """How lately the tools were used whose results ``intent`` needs: 0 where it needs none, None where they are not as
    it needs them."""
    ranks = [_rank(need, used) for need in intent.needs]
    if any(each is None for each in ranks):
        return None
    return max((each for each in ranks if each is not None), default=0)


def _rank(need: Need, used: list[Used]) -> int | None:
    for place in range(len(used), 0, -1):
        if used[place - 1].name == need.tool:
            result = used[place - 1].result
            return place if not need.path or is_same(at(need.path, result), need.value) else None
    return None


def what_follows(intent: Intent, used: list[Used]) -> Result | None:
    """What ``intent`` has the agent say, now that all these tools have answered; None where nothing does.

    Only the last of ``used`` is news; the others led to it, or belong to something else.
    """
    step: Step = intent
    is_news = False
    for each in used:
        is_news = each.name == step.action
        if not is_news:
            continue
        fits = (result for result in step.results if all(is_same(at(path, each.result), v) for path, v in result.when))
        following = next(fits, None)
        if following is None:
            return None
        step = following
    return step if is_news and isinstance(step, Result) else None


def scope(used: list[Used], slots: Mapping[str, str]) -> dict[str, Any]:
    """What places in texts may name: slots, and the latest result of each tool by the tool's name."""
    return {**{each.name: each.result for each in used}, **slots}
