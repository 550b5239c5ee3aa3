"""What is only a nod, and what is not."""

import pytest

from ai_engine.call.backchannel import asks_for_nothing


@pytest.mark.parametrize(
    "text", ["", "  ", "…", "mm-hm", "Mm hmm.", "Uh-huh!", "yeah, yeah", "OK", "okay, right", "I see.", "Yes"]
)
def test_hums_and_nods_ask_for_nothing(text: str) -> None:
    assert asks_for_nothing(text)


@pytest.mark.parametrize("text", ["stop", "wait", "no", "yes but when", "okay goodbye", "I see a problem", "hello?"])
def test_words_ask_for_something(text: str) -> None:
    assert not asks_for_nothing(text)
