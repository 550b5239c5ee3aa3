"""A model asked beside the call loop."""

import threading
from concurrent.futures import ThreadPoolExecutor

from ai_engine.audio.format import SLIN8
from ai_engine.session.turn_judge import TurnJudge
from tests.waiting import until

FRAME = b"\x01\x00" * SLIN8.frame_samples


class Model:
    """Answers when it is let, with what it was given in mind."""

    def __init__(self) -> None:
        self.given: list[bytes] = []
        self.may_answer = threading.Semaphore(0)
        self.fails = False

    def __call__(self, pcm: bytes) -> float:
        self.given.append(pcm)
        self.may_answer.acquire(timeout=5)
        if self.fails:
            raise RuntimeError("no such operator")
        return len(self.given) / 10


async def answers(model: Model, judge: TurnJudge, questions: int) -> list[float]:
    """What came back after ``questions`` that followed each other before any answer."""
    got: list[float] = []
    for _ in range(questions):
        judge.ask(got.append)
    for _ in range(questions):
        model.may_answer.release()
    await until(lambda: not judge.asking)
    return got


async def test_it_is_given_the_last_eight_seconds_at_16_khz() -> None:
    model = Model()
    with ThreadPoolExecutor(1) as workers:
        judge = TurnJudge(SLIN8, model, workers)
        for _ in range(1000):
            judge.hear(FRAME)
        assert await answers(model, judge, 1) == [0.1]
    assert len(model.given[0]) == 8 * 16000 * 2


async def test_the_answer_to_a_question_that_another_followed_is_thrown_away() -> None:
    model = Model()
    with ThreadPoolExecutor(1) as workers:
        judge = TurnJudge(SLIN8, model, workers)
        judge.hear(FRAME)
        assert await answers(model, judge, 3) == [0.2]
        assert await answers(model, judge, 1) == [0.3]


async def test_a_model_that_fails_answers_nothing_and_can_be_asked_again() -> None:
    model = Model()
    with ThreadPoolExecutor(1) as workers:
        judge = TurnJudge(SLIN8, model, workers)
        judge.hear(FRAME)
        model.fails = True
        assert await answers(model, judge, 1) == []
        model.fails = False
        assert await answers(model, judge, 1) == [0.2]
