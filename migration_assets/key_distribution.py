"""How the rows of a table lie along its key, and the cuts that give partitions of equal size; pure.

What SQL Server's statistics know of a column is a histogram of at most 200 steps, see
https://learn.microsoft.com/sql/relational-databases/system-dynamic-management-views/sys-dm-db-stats-histogram-transact-sql
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from migration_assets.key_types import line_of, literal
from migration_assets.schema import Cut, MssqlType

_CUTS_A_PARTITION = 8
"""So many places to cut are wanted for each partition: a range is then within an eighth of the mean."""
EVEN = 1.25
"""Arithmetic is good enough when it makes no partition of more times the mean."""


@dataclass(frozen=True)
class Step:
    """One step of a histogram.

    Attributes:
        text: its highest value as `key_types.text_sql` gives it; None for NULL.
        range_rows: rows above the step before and below this value.
        equal_rows: rows of this value.
    """

    text: str | None
    range_rows: float
    equal_rows: float


@dataclass(frozen=True)
class Histogram:
    """A column's histogram.

    Attributes:
        mssql_type: the column's type.
        steps: in SQL Server's order.
    """

    mssql_type: MssqlType
    steps: tuple[Step, ...]

    @property
    def rows(self) -> float:
        """All rows that it tells of."""
        return sum(step.range_rows + step.equal_rows for step in self.steps)

    @property
    def bounds(self) -> tuple[str, str] | None:
        """Lowest and highest value; None when there is none but NULL."""
        texts = [step.text for step in self.steps if step.text is not None]
        return (texts[0], texts[-1]) if texts else None

    def cuts(self, n: int) -> tuple[Cut, ...]:
        """Where it can be cut into `n` parts.

        A step that has too many rows is divided evenly where values lie on a line: rows within a
        step are spread over it, or the server would have made another step.
        """
        return ascending([cut for _, cut in self._places(n)])

    def cuts_between(
        self, start: int | None, end: int | None, n: int, *, after: bool
    ) -> tuple[Cut, ...]:
        """Of the cuts into `n` parts those between two places on the line, both excluded.

        Args:
            start: None for the beginning, NULL included; `end` likewise.
            end: a place.
            n: number of parts of the whole.
            after: rows at the places count to what is below them.

        Returns:
            Cuts whose `below` is the share, 0 to 1, of the rows between the places.
        """
        first = 0.0 if start is None else next(self._below([start + after]))
        last = self.rows if end is None else next(self._below([end + after]))
        return tuple(
            Cut(cut.literals, (cut.below - first) / (last - first))
            for place, cut in self._places(n)
            if place is not None
            and (start is None or start < place)
            and (end is None or place < end)
            and first < cut.below < last
        )

    def _places(self, n: int) -> list[tuple[int | None, Cut]]:
        """Cuts into `n` parts with their places on the line, if there is one."""
        line = line_of(self.mssql_type)
        most = max(self.rows / n / _CUTS_A_PARTITION, 1.0)
        cuts: list[tuple[int | None, Cut]] = []
        below = 0.0
        before: int | None = None
        for step in self.steps:
            if step.text is None:
                below += step.range_rows + step.equal_rows
                continue
            here = line.position(step.text) if line is not None else None
            if line is not None and before is not None and here is not None:
                between = max(here - before - 1, 0)  # more parts than values would be one place
                parts = int(min(step.range_rows // most + 1, between))
                for part in range(parts):
                    place = before + 1 + between * part // parts
                    rows = below + step.range_rows * part / parts
                    cuts.append((place, Cut((line.literal(place),), rows)))
            below += step.range_rows
            cuts.append((here, Cut((literal(self.mssql_type, step.text),), below)))
            below += step.equal_rows
            before = here
        return cuts

    def is_even(self, n: int) -> bool:
        """Whether arithmetic over its bounds makes `n` parts of about one size."""
        return self.even_rows(n) is not None

    def even_rows(self, n: int) -> tuple[float, ...] | None:
        """Rows of each of `n` parts by arithmetic over its bounds; None where they are not even."""
        line, bounds = line_of(self.mssql_type), self.bounds
        if line is None or bounds is None:
            return None
        start, end = (line.position(text) for text in bounds)
        span = end - start + 1
        if span < n:
            return None
        below = list(self._below([start + span * i // n for i in range(1, n)]))
        if imbalance([Cut((), rows) for rows in below], self.rows) > EVEN:
            return None
        edges = [0.0, *below, self.rows]
        return tuple(end - start for start, end in pairwise(edges))

    def _below(self, places: Sequence[int]) -> Iterator[float]:
        """Rows below each of ascending places on the line."""
        line = line_of(self.mssql_type)
        assert line is not None  # noqa: S101 - only is_even asks
        marks: list[int] = []
        lows: list[float] = []
        highs: list[float] = []
        below = 0.0
        for step in self.steps:
            below += step.range_rows
            if step.text is not None:
                marks.append(line.position(step.text))
                lows.append(below)
                highs.append(below + step.equal_rows)
            below += step.equal_rows
        for place in places:
            after = bisect_right(marks, place - 1)
            if after == 0:
                yield lows[0]
            elif after == len(marks):
                yield highs[-1]
            else:
                share = (place - marks[after - 1]) / (marks[after] - marks[after - 1])
                yield highs[after - 1] + (lows[after] - highs[after - 1]) * share


@dataclass(frozen=True)
class KeyPoint:
    """A row that a walk along an index met.

    Attributes:
        texts: its key, as `key_types.text_sql` gives it.
        below: for each number of first columns, the rows that come before all that begin like it.
    """

    texts: tuple[str | None, ...]
    below: tuple[int, ...]


def walked_cuts(points: Sequence[KeyPoint], types: Sequence[MssqlType]) -> tuple[Cut, ...]:
    """Where the rows that a walk met can be cut: before each, by as many columns as needed.

    Rows of one rank have one value by the server's own comparison, so values are not compared here.

    Args:
        points: in the server's order.
        types: of the key's columns.
    """
    cuts = []
    for point in points:
        literals: list[str] = []
        for text, kind, below in zip(point.texts, types, point.below, strict=True):
            if text is None:
                break
            literals.append(literal(kind, text))
            cuts.append(Cut(tuple(literals), below))
    # A cut by fewer columns lies before all others at the same row.
    return ascending(sorted(cuts, key=lambda cut: (cut.below, len(cut.literals))))


def ascending(cuts: Iterable[Cut]) -> tuple[Cut, ...]:
    """Cuts with more and more rows below: those without rows between divide nothing.

    Nor do two at one place, whatever an estimate says of them: their range would be that value.
    """
    kept: list[Cut] = []
    for cut in cuts:
        is_new = not kept or (cut.literals, cut.after) != (kept[-1].literals, kept[-1].after)
        if is_new and cut.below > (kept[-1].below if kept else 0):
            kept.append(cut)
    return tuple(kept)


def balanced(cuts: Sequence[Cut], rows: float, n: int) -> list[Cut]:
    """Choose the cuts that make the largest of `n` parts as small as can be.

    Args:
        cuts: with more and more rows below.
        rows: all rows.
        n: number of parts.

    Returns:
        `n - 1` cuts, or all when there are fewer.
    """
    places = [cut.below for cut in cuts if cut.below < rows]
    if len(places) < n:
        return list(cuts[: len(places)])
    low, high = rows / n, rows
    while high - low > rows / n / 1000:
        middle = (low + high) / 2
        if len(_filled(places, rows, middle)) < n:
            high = middle
        else:
            low = middle
    chosen = _filled(places, rows, high)
    return [cuts[i] for i in _divided(places, rows, chosen, n)]


def _filled(places: Sequence[float], rows: float, most: float) -> list[int]:
    """Fill one part after the other up to `most` rows; a part that cannot be that small is larger."""
    chosen: list[int] = []
    start, at = 0.0, 0
    while rows - start > most and at < len(places):
        at = max(bisect_right(places, start + most) - 1, at)
        chosen.append(at)
        start = places[at]
        at += 1
    return chosen


def _divided(places: Sequence[float], rows: float, chosen: Sequence[int], n: int) -> list[int]:
    """Add cuts in the largest parts until there are `n - 1`."""
    edges = [-1, *chosen, len(places)]

    def part(first: int, last: int) -> tuple[float, int, int]:
        start = places[first] if first >= 0 else 0.0
        end = places[last] if last < len(places) else rows
        return start - end, first, last

    parts = [part(*pair) for pair in pairwise(edges)]
    heapq.heapify(parts)
    done = list(chosen)
    while len(done) < n - 1 and parts:
        size, first, last = heapq.heappop(parts)
        if last - first < 2:
            continue
        start = places[first] if first >= 0 else 0.0
        at = bisect_right(places, start - size / 2, first + 1, last)
        middle = min(max(at - 1, first + 1), last - 1)
        done.append(middle)
        heapq.heappush(parts, part(first, middle))
        heapq.heappush(parts, part(middle, last))
    return sorted(done)


def imbalance(chosen: Sequence[Cut], rows: float) -> float:
    """How many times the mean the largest part has."""
    edges = [0.0, *(cut.below for cut in chosen), rows]
    largest = max(end - start for start, end in pairwise(edges))
    return largest * (len(edges) - 1) / rows if rows else 1.0
