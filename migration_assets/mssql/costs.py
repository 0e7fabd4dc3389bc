"""What the queries of a plan cost, for `plan -v`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

_MOST_LINES = 25


@dataclass
class QueryCosts:
    """Counts queries and their seconds, by what they were for.

    Attributes:
        by_purpose: what for, to number and seconds, the sending and fetching included.
    """

    by_purpose: dict[str, tuple[int, float]] = field(default_factory=dict)

    def add(self, doing: str, seconds: float) -> None:
        """Count one query."""
        count, before = self.by_purpose.get(doing, (0, 0.0))
        self.by_purpose[doing] = count + 1, before + seconds

    @property
    def queries(self) -> int:
        """All queries, failed ones too."""
        return sum(count for count, _ in self.by_purpose.values())

    @property
    def seconds(self) -> float:
        """Of all queries together."""
        return sum(seconds for _, seconds in self.by_purpose.values())

    def lines(self) -> Iterator[str]:
        """A summary, then the dearest, a line each."""
        yield f"{self.queries:,} queries to SQL Server took {self.seconds:.2f} s:"
        dearest = sorted(self.by_purpose.items(), key=lambda item: (-item[1][1], item[0]))
        for doing, (count, seconds) in dearest[:_MOST_LINES]:
            yield f"  {seconds:8.3f} s  {count:5,} x  {doing}"
        rest = dearest[_MOST_LINES:]
        if rest:
            seconds = sum(cost[1] for _, cost in rest)
            yield f"  {seconds:8.3f} s  {sum(c[0] for _, c in rest):5,} x  all others"
