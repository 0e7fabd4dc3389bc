"""Tables that SQL Server itself partitions, cut along their partition function; pure.

A boundary is a place to cut whose rows are known without a look at the table: `sys.partitions` has
the rows of each partition. Small neighbours are put together and large ones cut further by the code
that chooses among the places to cut of any key.

What belongs where: with RANGE RIGHT a boundary is the lowest value of the partition above it, with
RANGE LEFT the highest of the one below; rows with NULL are in the left-most partition, unless NULL
itself is a boundary and the range RIGHT, when they are in the one after
(https://learn.microsoft.com/sql/t-sql/statements/create-partition-function-transact-sql).

So a range is a plain comparison of the column with boundaries, which SQL Server eliminates
partitions by, and agrees with `$PARTITION`. Places are in value order because `boundary_id` is
("with left-most boundary starting at an ID of 1",
https://learn.microsoft.com/sql/relational-databases/system-catalog-views/sys-partition-range-values-transact-sql),
and places within a partition lie between its boundaries by the server's order or by the line of the
type: never by estimates of rows, which may lie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from migration_assets.key_distribution import Histogram, ascending
from migration_assets.key_range import KeyRange
from migration_assets.key_types import line_of, literal
from migration_assets.partitioning import PARTITION_FUNCTION, can_cut
from migration_assets.schema import Cut, KeyCuts, MssqlType, PartitionFunction, SourceTable


@dataclass(frozen=True)
class Part:
    """One partition of SQL Server's, or two that only a boundary of NULL parts.

    Attributes:
        lower: text of the boundary below it; None for the first part. `upper` is that above it.
        rows: approximate rows.
    """

    lower: str | None
    upper: str | None
    rows: int


def parts(function: PartitionFunction) -> tuple[Part, ...]:
    """The partitions in SQL Server's order; the first has NULL.

    A boundary of NULL is none here: with RANGE RIGHT nothing is below it, with RANGE LEFT rows with
    NULL are, which go together with those of the partition after.
    """
    bounds = [text for text in function.boundaries if text is not None]
    nulls = len(function.boundaries) - len(bounds)
    rows = [sum(function.rows[: nulls + 1]), *function.rows[nulls + 1 :]]
    edges = [None, *bounds, None]
    return tuple(Part(edges[i], edges[i + 1], count) for i, count in enumerate(rows))


def unusable(function: PartitionFunction, kind: MssqlType) -> str:
    """Why the boundaries cannot be cut by; empty when they can."""
    if len(function.rows) != len(function.boundaries) + 1:
        return f"its {len(function.rows)} partitions do not fit the function's boundaries"
    texts = [text for text in function.boundaries if text is not None]
    if any(text is None for text in function.boundaries[1:]):
        return "a boundary is no value of the column's type"
    try:
        for text in texts:
            literal(kind, text)
        line = line_of(kind)
        places = [line.position(text) for text in texts] if line is not None else []
    except ValueError:
        return "a boundary is no value of the column's type"
    if places != sorted(places):
        return "its boundaries are not in the order of their values"
    return ""


def along(
    function: PartitionFunction,
    kind: MssqlType,
    *,
    columns: tuple[str, ...] | None = None,
    inside: Mapping[int, Sequence[Cut]] | None = None,
) -> KeyCuts:
    """Where a table can be cut along its partition function.

    Args:
        function: with boundaries that are not `unusable`.
        kind: type of its column.
        columns: the key; default: the partitioning column.
        inside: further places within parts, by the part's number in `parts`; `below` counts the
            part's own rows.
    """
    found = parts(function)
    starts = list(accumulate((part.rows for part in found), initial=0))
    cuts: list[Cut] = []
    for number, part in enumerate(found):
        if part.lower is not None:
            after = not function.on_right
            cuts.append(Cut((literal(kind, part.lower),), starts[number], after))
        cuts += (
            replace(cut, below=starts[number] + cut.below)
            for cut in (inside or {}).get(number, ())
            if 0 < cut.below < part.rows
        )
    total = starts[-1]
    useful = tuple(cut for cut in ascending(cuts) if cut.below < total)
    return KeyCuts(columns or (function.column,), useful, total, PARTITION_FUNCTION)


def large_parts(function: PartitionFunction, count: int) -> dict[int, Part]:
    """The parts that have more rows than one of `count` partitions should have, by number."""
    mean = sum(function.rows) / count
    return {number: part for number, part in enumerate(parts(function)) if part.rows > mean}


def by_histogram(function: PartitionFunction, histogram: Histogram, count: int) -> KeyCuts | None:
    """Cuts along a function with large parts divided by a histogram of its column.

    Returns:
        None where the values of the type lie on no line: what is between two of them only SQL
        Server knows.
    """
    kind = histogram.mssql_type
    line = line_of(kind)
    if line is None or histogram.bounds is None:
        return None
    inside: dict[int, list[Cut]] = {}
    for number, part in large_parts(function, count).items():
        start, end = (
            None if text is None else line.position(text) for text in (part.lower, part.upper)
        )
        found = histogram.cuts_between(start, end, count, after=not function.on_right)
        inside[number] = [replace(cut, below=cut.below * part.rows) for cut in found]
    return along(function, kind, inside=inside)


def range_of(function: PartitionFunction, part: Part, kind: MssqlType) -> KeyRange:
    """The rows of one part."""
    after = not function.on_right
    return KeyRange(
        source_partition=0,
        column=function.column,
        lower=None if part.lower is None else literal(kind, part.lower),
        upper=None if part.upper is None else literal(kind, part.upper),
        lower_after=after and part.lower is not None,
        upper_after=after and part.upper is not None,
    )


def without_function(table: SourceTable) -> str:
    """Why a table cannot be cut along its partition function; empty when it can."""
    function = table.partitioned
    if function is None:
        return "SQL Server does not partition this table, or this login does not see that it does"
    kind = table.columns.column(function.column).type
    if not can_cut(kind):
        return f"its partitioning column {function.column} is of type {kind.declaration}"
    return function.unusable


def about_function(table: SourceTable, partition_column: str | None) -> list[str]:
    """What must be said of the wish to cut a table along its partition function.

    Args:
        table: the table.
        partition_column: column that the rules name beside it.
    """
    if reason := without_function(table):
        return [f"split: partition_function has no effect: {reason}."]
    column = table.partitioned.column if table.partitioned else ""
    if partition_column is None or partition_column.casefold() == column.casefold():
        return []
    return [
        f"partition_column {partition_column} has no effect: split: partition_function cuts by "
        f"{column}."
    ]
