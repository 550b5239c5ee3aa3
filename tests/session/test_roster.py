"""Who is tried, in which order, and who is left alone."""

from ai_engine.session.roster import Breaker, Candidate, Roster
from tests.fakes.call_parts import ScriptedAgent


def candidate(name: str, breaker: Breaker | None = None) -> Candidate:
    return Candidate(name, ScriptedAgent, breaker or Breaker())


def names(roster: Roster, now: float = 0.0) -> list[str]:
    return [one.name for one in roster.round(lambda: now)]


def test_each_round_tries_everybody_once() -> None:
    roster = Roster([candidate("a"), candidate("b")])
    assert names(roster) == ["a", "b"]
    assert names(roster) == ["a", "b"]


def test_whoever_was_lost_comes_last() -> None:
    roster = Roster([candidate("a"), candidate("b"), candidate("c")])
    assert next(roster.round(lambda: 0.0)).name == "a"
    assert next(roster.round(lambda: 0.0)).name == "b"
    assert names(roster) == ["c", "a", "b"]


def test_a_call_does_not_go_on_for_ever_with_agents_that_die() -> None:
    roster = Roster([candidate("only")])
    assert [names(roster) for _ in range(6)] == [["only"]] * 4 + [[]] * 2


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_try_after_a_while() -> None:
    breaker = Breaker(failures=2, open_seconds=10.0)
    breaker.failed(0.0, "slow")
    assert not breaker.is_open(0.0)
    breaker.failed(1.0, "slow")
    assert breaker.is_open(10.9)
    assert not breaker.is_open(11.0)
    assert (breaker.failures, breaker.trips, breaker.reason) == (2, 1, "slow")
    breaker.failed(11.0, "slow again")
    assert breaker.is_open(20.9), "one failed try is enough now"
    assert breaker.trips == 2


def test_a_success_forgets_failures() -> None:
    breaker = Breaker(failures=2)
    breaker.failed(0.0, "slow")
    breaker.succeeded()
    breaker.failed(0.0, "slow")
    assert not breaker.is_open(0.0)


def test_a_refused_key_opens_it_at_once() -> None:
    breaker = Breaker(failures=3, open_seconds=10.0)
    breaker.failed(0.0, "401", status=401)
    assert breaker.is_open(9.0)
    breaker = Breaker(failures=3, open_seconds=10.0)
    breaker.failed(0.0, "503", status=503)
    assert not breaker.is_open(0.0)


def test_who_is_left_alone_is_not_tried() -> None:
    broken = Breaker(failures=1, open_seconds=10.0)
    broken.failed(0.0, "gone")
    roster = Roster([candidate("broken", broken), candidate("good")])
    assert names(roster, 5.0) == ["good"]
    assert names(roster, 10.0) == ["broken", "good"]
    assert names(Roster([candidate("broken", broken)]), 5.0) == []


def test_any_failure_opens_it_again_until_somebody_was_answered() -> None:
    breaker = Breaker(failures=3, open_seconds=10.0)
    breaker.failed(0.0, "401", status=401)
    breaker.failed(10.0, "slow")
    assert breaker.is_open(19.9)
    breaker.succeeded()
    breaker.failed(20.0, "slow")
    assert not breaker.is_open(20.0)


def test_a_probe_that_works_lets_callers_try_and_one_failure_ends_that() -> None:
    breaker = Breaker(failures=2, open_seconds=10.0)
    breaker.failed(0.0, "gone")
    breaker.failed(0.0, "gone")
    breaker.probe_opened(1.0)
    assert not breaker.is_open(1.0)
    breaker.failed(2.0, "no reply")
    breaker.probe_opened(3.0)
    assert breaker.is_open(11.9), "it was believed before"
    assert not breaker.is_open(12.0)
    breaker.probe_failed(12.0, 15.0, "gone")
    assert breaker.is_open(26.9), "until the next probe"
    breaker.probe_opened(20.0)
    assert not breaker.is_open(20.0), "that it opens sessions is news now"


def test_a_failure_does_not_bring_the_next_try_nearer() -> None:
    breaker = Breaker(failures=1, open_seconds=10.0)
    breaker.probe_failed(0.0, 20.0, "gone")
    breaker.failed(1.0, "a call that had begun before")
    assert breaker.is_open(19.9)


def test_probes_count_as_any_failure_does() -> None:
    breaker = Breaker(failures=2, open_seconds=10.0)
    breaker.probe_failed(0.0, 15.0, "gone")
    assert (breaker.is_open(0.0), breaker.failures, breaker.reason) == (False, 1, "gone")
    breaker.probe_opened(1.0)
    assert (breaker.failures, breaker.reason) == (0, "")
    breaker.probe_failed(2.0, 15.0, "gone")
    breaker.probe_failed(3.0, 15.0, "gone")
    assert breaker.is_open(17.9)
