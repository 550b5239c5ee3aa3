"""Which short utterances only say "I am listening" (the linguists' *backchannel*)."""

import re

_HUMS = frozenset(
    {
        "ah", "aha", "alright", "cool", "exactly", "fine", "good", "got it", "great", "hm", "hmm", "i see", "mhm",
        "mm", "mm hm", "mm hmm", "mmhm", "nice", "oh", "ok", "okay", "right", "sure", "uh", "uh huh", "uhm", "um",
        "understood", "yeah", "yep", "yes",
    }
)  # fmt: skip

_NOT_WORDS = re.compile(r"[^\w\s]|_")


def asks_for_nothing(text: str) -> bool:
    """Whether ``text``, said into the agent's words, is no interruption: nothing at all, or hums and nods in a row.

    A nod that repeats one ("yeah yeah", "okay, right") is still a nod.
    """
    said = " ".join(_NOT_WORDS.sub(" ", text.lower()).split())
    return not said or said in _HUMS or all(word in _HUMS for word in said.split())
