"""Which words into the agent's own ask for nothing, and which for its silence."""

import pytest

from local_ai_server.asides import BACKCHANNELS, HALTS, is_backchannel, is_halt


@pytest.mark.parametrize("text", [*BACKCHANNELS["en"], "Mm-hm.", "uh-huh", "yeah yeah", "Okay, right", "I see, yes"])
def test_backchannels(text: str) -> None:
    assert is_backchannel(text, "en-US")
    assert not is_halt(text, "en-US")


@pytest.mark.parametrize("text", [*HALTS["en"], "Stop!", "no no", "wait, hold on", "Hello? Hello?"])
def test_halts(text: str) -> None:
    assert is_halt(text, "en")
    assert not is_backchannel(text, "en")


@pytest.mark.parametrize("text", ["", "yes please", "okay goodbye", "no thank you", "stopping", "hold", "see"])
def test_neither(text: str) -> None:
    assert not is_backchannel(text, "en-US")
    assert not is_halt(text, "en-US")


def test_a_language_without_a_list_has_none() -> None:
    assert not is_backchannel("okay", "xx")
    assert not is_halt("stop", "xx")
    assert not is_halt("", "xx")
