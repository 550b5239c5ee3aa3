"""How long jobs take, and how long a new one would wait."""

from collections.abc import Sequence

_SHARE = 0.2
"""Of the newest job in the mean: some ten jobs are remembered."""


class Load:
    """Told how long each job took."""

    def __init__(self) -> None:
        self.mean_seconds = 0.0
        """Of recent jobs, the newest counting most."""
        self.jobs = 0
        """Done so far."""

    def done(self, seconds: float) -> None:
        self.jobs += 1
        self.mean_seconds += (seconds - self.mean_seconds) * (_SHARE if self.jobs > 1 else 1.0)

    def wait_seconds(self, waiting: int, ages: Sequence[float], workers: int) -> float:
        """Until a new job would begin, about: everything before it takes as long as jobs took lately.

        ``waiting`` jobs are before it, and ``ages`` says for how long each busy one of ``workers`` has been at its job:
        where that is longer than usual, this is what jobs take now. 0 while a worker is free.
        """
        if len(ages) < workers:
            return 0.0
        usual = max(self.mean_seconds, sum(ages) / len(ages)) if ages else self.mean_seconds
        return usual * (waiting + 1) / max(1, workers)
