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


def test_the_next_turn_takes_its_place() -> None:
    memory = TurnMemory(SLIN8, preroll_ms=40, most_ms=1000)
    memory.begin()
    fed(memory, 1)
    memory.end()
    fed(memory, 2, 3, 4)
    memory.begin()
    fed(memory, 5)
    assert memory.frames() == frames(3, 4, 5)


def test_what_was_no_turn_is_forgotten() -> None:
    memory = TurnMemory(SLIN8, preroll_ms=40, most_ms=1000)
    memory.begin()
    fed(memory, 1)
    memory.forget()
    assert memory.frames() == ()


def test_of_a_long_turn_the_end_is_kept() -> None:
    memory = TurnMemory(SLIN8, preroll_ms=40, most_ms=60)
    memory.begin()
    fed(memory, 1, 2, 3, 4)
    assert memory.frames() == frames(2, 3, 4)
