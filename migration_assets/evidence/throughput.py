"""Rows per second over time, from when each partition's stage began and ended."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

BINS = 120
"""Points of a plot: more than a page has room for nobody sees."""
PAUSE_S = 900.0
"""A longer time without any work begins another plot: nights would make the days invisible."""


@dataclass(frozen=True)
class Session:
    """A time in which there was work without a long pause.

    Attributes:
        began: seconds since 1970; `ended` likewise.
        rates: stage to rows per second in each of `BINS` equal times.
        rows: that were extracted.
    """

    began: float
    ended: float
    rates: dict[str, list[float]]
    rows: int


class Timeline:
    """When how many rows went through each stage: 24 bytes for each asset partition."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._work: dict[str, array[float]] = {}

    def add(self, stage: str, ended: float, seconds: float, rows: int) -> None:
        """Add a materialization."""
        self._work.setdefault(stage, array("d")).extend((ended - seconds, ended, float(rows)))

    def sessions(self) -> list[Session]:
        """The times with work, in their order."""
        spans = sorted((began, ended) for _, began, ended, _ in self._all())
        bounds: list[list[float]] = []
        for began, ended in spans:
            if bounds and began <= bounds[-1][1] + PAUSE_S:
                bounds[-1][1] = max(bounds[-1][1], ended)
            else:
                bounds.append([began, ended])
        made = [
            Session(began, ended, {stage: [0.0] * BINS for stage in self._work}, 0)
            for began, ended in bounds
        ]
        rows_of = [0.0] * len(made)
        starts = [session.began for session in made]
        for stage, began, ended, rows in self._all():
            place = _place(starts, began)
            _spread(made[place], stage, began, ended, rows)
            rows_of[place] += rows if stage == "mssql" else 0
        return [
            Session(session.began, session.ended, session.rates, int(rows))
            for session, rows in zip(made, rows_of, strict=True)
        ]

    def _all(self) -> Iterator[tuple[str, float, float, float]]:
        for stage, work in self._work.items():
            for place in range(0, len(work), 3):
                yield stage, work[place], work[place + 1], work[place + 2]


def _place(starts: list[float], at: float) -> int:
    return bisect_right(starts, at) - 1


def _spread(session: Session, stage: str, began: float, ended: float, rows: float) -> None:
    """Add rows to the times they were moved in, by the share of each."""
    width = max(session.ended - session.began, 1e-3) / BINS
    rates = session.rates[stage]
    first = min(int((began - session.began) / width), BINS - 1)
    last = min(int((ended - session.began) / width), BINS - 1)
    length = max(ended - began, 1e-9)
    for number in range(first, last + 1):
        lower, upper = session.began + number * width, session.began + (number + 1) * width
        share = (min(ended, upper) - max(began, lower)) / length if last > first else 1.0
        rates[number] += max(share, 0.0) * rows / width
