from ai_engine.audio.format import SLIN8
from ai_engine.audio.turn_memory import TurnMemory


def frames(*numbers: int) -> tuple[bytes, ...]:
    return tuple(bytes([number]) * SLIN8.frame_bytes for number in numbers)


def fed(memory: TurnMemory, *numbers: int) -> None:
    for frame in frames(*numbers):
        memory.push(frame)


def test_a_turn_begins_with_its_pre_roll_and_is_kept_after_its_end() -> None:
    memory = TurnMemory(SLIN8, preroll_ms=40, most_ms=1000)
    fed(memory, 1, 2, 3)
    memory.begin()
    fed(memory, 4, 5)
    memory.end()
    fed(memory, 6)
    assert memory.frames() == frames(2, 3, 4, 5)


def two_turns() -> TurnMemory:
    """Of the frames 1, and 3 to 5; the second is not over."""
    memory = TurnMemory(SLIN8, preroll_ms=40, most_ms=1000)
    memory.begin()
    fed(memory, 1)
    memory.end()
    fed(memory, 2, 3, 4)
    memory.begin()
    fed(memory, 5)
    return memory


def test_a_turn_is_kept_with_the_one_that_follows_until_it_is_understood() -> None:
    memory = two_turns()
    assert memory.frames() == frames(1, 3, 4, 5)
    memory.settle()
    assert memory.frames() == frames(3, 4, 5)


def test_a_turn_that_is_over_and_was_understood_is_not_kept() -> None:
    memory = two_turns()
    memory.end()
    memory.settle()
    assert memory.frames() == ()


def test_what_was_no_turn_is_forgotten_and_the_one_before_is_not() -> None:
    memory = two_turns()
    memory.forget()
    assert memory.frames() == frames(1)


def test_of_a_long_turn_the_end_is_kept() -> None:
    memory = TurnMemory(SLIN8, preroll_ms=40, most_ms=60)
    memory.begin()
    fed(memory, 1, 2, 3, 4)
    assert memory.frames() == frames(2, 3, 4)
