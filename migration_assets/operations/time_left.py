"""How long what is going on will still take: an estimate that says so while it knows too little."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

LEAST_SECONDS = 60.0
LEAST_SHARE = 0.01
"""Before so much time and such a share of the work has passed, an estimate would be a guess."""


@dataclass
class TimeLeft:
    """Reckons by rows, and by what a row costs in each stage.

    A commit costs next to nothing and an extraction much: while all work is extraction (a barrier,
    Spark), the stages to come must not count as if they took as long. Work that failed or was never
    begun because of that is left out of what is still to do, and counts for no pace.

    Attributes:
        left: rows that are still to go through each stage, with what a step costs anyway.
        made: those that went.
        seconds: what the steps took whose time is known, and their rows in `timed`.
    """

    left: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    made: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    seconds: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    timed: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def plan(self, stage: str, weight: int) -> None:
        """Add work."""
        self.left[stage] += weight

    def end(self, stage: str, weight: int, *, made: bool = True) -> None:
        """Take off what was made, or what will not be made any more."""
        self.left[stage] = max(0, self.left[stage] - weight)
        if made:
            self.made[stage] += weight

    def took(self, stage: str, weight: int, seconds: float) -> None:
        """Learn what a stage costs."""
        self.timed[stage] += weight
        self.seconds[stage] += seconds

    def estimate(self, elapsed: float) -> float | None:
        """Seconds left, after so many of work; None while too little is known."""
        costs = self._costs()
        made = sum(weight * costs[stage] for stage, weight in self.made.items())
        left = sum(weight * costs[stage] for stage, weight in self.left.items())
        if not left:
            return 0.0
        if elapsed < LEAST_SECONDS or made < LEAST_SHARE * (made + left):
            return None
        return elapsed * left / made

    def _costs(self) -> dict[str, float]:
        """Seconds a row takes in each stage; an unknown stage is taken for one like the others."""
        known = {s: self.seconds[s] / rows for s, rows in self.timed.items() if rows}
        mean = sum(known.values()) / len(known) if known else 1.0
        return defaultdict(lambda: mean or 1.0, {s: cost or 1e-9 for s, cost in known.items()})
