"""Where tables can be cut: what the server's statistics know, else one walk along an index.

The cheapest first. The partitions that SQL Server itself makes are known since introspection; all
histograms come with a few queries, whatever the number of tables; a walk reads the keys of one
table once, in the order of an index; MIN and MAX are two seeks.

Facts about statistics:
https://learn.microsoft.com/sql/relational-databases/statistics/statistics
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from migration_assets.errors import ConfigurationError, OperationTimeoutError, PermanentError
from migration_assets.key_distribution import (
    Histogram,
    KeyPoint,
    Step,
    balanced,
    imbalance,
    walked_cuts,
)
from migration_assets.key_range import KeyRange
from migration_assets.key_types import declaration, line_of, text_sql
from migration_assets.mssql.catalog import Catalog, Source
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.introspection import key_bounds
from migration_assets.mssql.select import quote, source_sql
from migration_assets.partition_function import along, by_histogram, large_parts, range_of
from migration_assets.partitioning import UNEVEN, can_reckon, cut_ranges, predicate
from migration_assets.planner import KeyRequest
from migration_assets.schema import Cut, KeyCuts, MssqlType

_IDS = 1_000
"""Object ids in one query."""
_HISTOGRAMS = 200
"""Histograms in one query, at most 201 rows each."""
_POINTS_A_PARTITION = 8
_SAMPLED_ROWS = 50_000
"""Statistics of more rows than these tell enough, however large the table is."""
_SAMPLED_SHARE = 20
"""Else they must have seen one row in so many."""


@dataclass
class MeasuredKeys:
    """What is known of keys, by the full name of their table.

    Attributes:
        cuts: where they can be cut.
        bounds: lowest and highest value of the first column, where there are no cuts; None where
            no row has a value.
        even: tables whose histogram says that arithmetic between the bounds is good enough, with
            the rows that it estimates for each part.
        notes: sentences for the plan.
    """

    cuts: dict[str, KeyCuts] = field(default_factory=dict)
    bounds: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    even: dict[str, tuple[float, ...]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def measure_keys(client: SqlServer, requests: Sequence[KeyRequest]) -> MeasuredKeys:
    """Learn where tables can be cut.

    Args:
        client: where the tables are.
        requests: `planner.keys_to_measure`.

    Raises:
        MigrationError: the server cannot be asked any more; what a login may not see or an older
            server does not have is a note.
    """
    measured = MeasuredKeys()
    if not requests:
        return measured
    for request in requests:
        if request.function is not None:
            at_boundaries = along(request.function, request.types[0])
            if _is_enough(at_boundaries, request):
                measured.cuts[request.table.full_name] = at_boundaries
    rest = [request for request in requests if request.table.full_name not in measured.cuts]
    catalog = Catalog(client)
    histograms = _histograms(catalog, rest)
    measured.notes += catalog.notes
    failed = []
    for request in rest:
        name = request.table.full_name
        cuts = _along_function(client, request, histograms.get(name), measured)
        if cuts is None:
            cuts = _from_histogram(histograms.get(name), request, measured)
        if cuts is None and name not in measured.bounds:
            try:
                cuts = walk(client, request)
            except ConfigurationError:
                raise
            except (PermanentError, OperationTimeoutError) as error:
                failed.append(request)
                measured.notes.append(
                    f"{name} could not be walked along its key: {error.found} "
                    + ("Arithmetic was used." if _is_reckonable(request) else "It stays whole.")
                )
        if cuts is not None:
            measured.cuts[name] = cuts
    reckoned = [(r.table, r.columns[0]) for r in failed if _is_reckonable(r)]
    for (name, _), bounds in key_bounds(client, reckoned).items():
        measured.bounds[name] = bounds
    return measured


def _is_reckonable(request: KeyRequest) -> bool:
    return can_reckon(request.types[0])


def _from_histogram(
    histogram: Histogram | None, request: KeyRequest, measured: MeasuredKeys
) -> KeyCuts | None:
    """Cuts by a histogram that is good enough; bounds where it says that arithmetic is."""
    if histogram is None or histogram.bounds is None:
        return None
    rows = histogram.even_rows(request.count)
    if rows is not None:
        measured.bounds[request.table.full_name] = histogram.bounds
        measured.even[request.table.full_name] = rows
        return None
    try:
        cuts = histogram.cuts(request.count)
    except ValueError:  # a text that is no value of the type: the catalog told another one
        return None
    chosen = balanced(cuts, histogram.rows, request.count)
    is_enough = len(chosen) == request.count - 1 and imbalance(chosen, histogram.rows) <= UNEVEN
    if not is_enough:
        return None
    return KeyCuts(request.columns[:1], cuts, histogram.rows, "histogram")


def _is_enough(cuts: KeyCuts, request: KeyRequest) -> bool:
    """Whether ranges are even enough and so many as wanted; half of that where a rule asks."""
    ranges, uneven = cut_ranges(cuts, request.count)
    is_many = len(ranges) * (2 if request.along_function else 1) >= request.count
    return is_many and uneven <= UNEVEN


def _along_function(
    client: SqlServer, request: KeyRequest, histogram: Histogram | None, measured: MeasuredKeys
) -> KeyCuts | None:
    """Cuts along a partition function that leaves large parts, which are cut further.

    By a histogram; by a walk along an index within each where a rule asks for the function. None
    where the usual way is better.
    """
    function, kind, name = request.function, request.types[0], request.table.full_name
    if function is None:
        return None
    divided = None if histogram is None else by_histogram(function, histogram, request.count)
    if divided is not None and _is_enough(divided, request):
        return divided
    if not request.along_function:
        return None
    if not any(index.columns[0] == function.column for index in request.table.indexes):
        return divided or along(function, kind)  # a walk would sort: the plan says what is uneven
    inside: dict[int, Sequence[Cut]] = {}
    try:
        for number, part in large_parts(function, request.count).items():
            inside[number] = walk(client, request, range_of(function, part, kind)).cuts
    except ConfigurationError:
        raise
    except (PermanentError, OperationTimeoutError) as error:
        measured.notes.append(
            f"{name}: its large partitions could not be walked along {function.column}: "
            f"{error.found}"
        )
    return along(function, kind, columns=request.columns, inside=inside)


def walk(client: SqlServer, request: KeyRequest, within: KeyRange | None = None) -> KeyCuts:
    """Read keys at equal distances, with the rows before each: one ordered scan of an index.

    RANK numbers rows in the order of the index, so nothing is sorted, and the server alone says
    which values are equal and which comes first. NULL is the lowest.

    Args:
        client: where the table is.
        request: the table, its key, and how many partitions are wanted of all of it.
        within: walk through these rows alone, and count from their first.

    Raises:
        MigrationError: the query failed.
    """
    table, names = request.table, [quote(name) for name in request.columns]
    distance = max(table.rows // (request.count * _POINTS_A_PARTITION), 1)
    keys = [f"{name} AS key_{i}" for i, name in enumerate(names)]
    ranks = [
        f"RANK() OVER (ORDER BY {', '.join(names[: i + 1])}) AS rank_{i}" for i in range(len(names))
    ]
    texts = [text_sql(kind, f"k.key_{i}") for i, kind in enumerate(request.types)]
    outer = [*texts, *(f"k.rank_{i}" for i in range(len(names)))]
    number = f"ROW_NUMBER() OVER (ORDER BY {', '.join(names)}) AS place"
    condition = None if within is None else predicate(within)
    where = f" WHERE {condition}" if condition else ""
    sql = (
        f"SELECT {', '.join(outer)}, k.place FROM (SELECT {', '.join([*keys, *ranks, number])} "
        f"FROM {source_sql(table)}{where})"
        f" AS k WHERE (k.place - 1) % {distance} = 0 ORDER BY k.place"
    )
    rows = client.query(sql, doing=f"Walking along the key of {table.full_name}")
    width = len(names)
    points = [
        KeyPoint(tuple(row[:width]), tuple(int(rank) - 1 for rank in row[width : 2 * width]))
        for row in rows
    ]
    # The rows after the last point are fewer than the distance: half of it on average.
    last = int(rows[-1][-1]) if rows else 0
    total = last if distance == 1 else last + distance / 2
    return KeyCuts(request.columns, walked_cuts(points, request.types), total, "walk")


@dataclass(frozen=True)
class _Statistics:
    """The properties of statistics whose first column is the one asked for."""

    object_id: int
    stats_id: int
    rows: int
    sampled: int
    modified: int

    def is_fresh(self, request: KeyRequest) -> bool:
        """Whether what it does not know of fits into half a partition."""
        known = abs(request.table.rows - self.rows) + self.modified
        if known * 2 * request.count > max(request.table.rows, 1):
            return False
        return self.sampled >= min(_SAMPLED_ROWS, self.rows / _SAMPLED_SHARE)


_PROPERTIES = (
    "SELECT s.object_id, s.stats_id, c.name, p.rows, p.rows_sampled, p.modification_counter "
    "FROM sys.stats AS s JOIN sys.stats_columns AS k "
    "ON k.object_id = s.object_id AND k.stats_id = s.stats_id AND k.stats_column_id = 1 "
    "JOIN sys.columns AS c ON c.object_id = k.object_id AND c.column_id = k.column_id "
    "CROSS APPLY sys.dm_db_stats_properties(s.object_id, s.stats_id) AS p "
    "WHERE s.has_filter = 0 AND s.object_id IN ({ids})"
)
_STEPS = (
    "SELECT d.object_id, d.step_number, {text}, d.range_rows, d.equal_rows FROM ("
    "SELECT s.object_id, h.step_number, CAST(h.range_high_key AS {type}) AS high_key, "
    "h.range_rows, h.equal_rows FROM sys.stats AS s "
    "CROSS APPLY sys.dm_db_stats_histogram(s.object_id, s.stats_id) AS h WHERE {which}) AS d"
)
"""The highest value of a step is a sql_variant, so there is a query for each type of key."""


def _histograms(catalog: Catalog, requests: Sequence[KeyRequest]) -> dict[str, Histogram]:
    """The fresh histograms of first columns, by the full name of the table."""
    by_id = {r.table.object_id: r for r in requests if r.table.object_id is not None}
    fresh: dict[int, _Statistics] = {}
    for ids in _pieces(sorted(by_id), _IDS):
        sql = _PROPERTIES.format(ids=", ".join(str(number) for number in ids))
        source = Source("sys.dm_db_stats_properties", sql)
        rows = catalog.read("Statistics", source, instead="a walk along each key")
        if rows is None:
            return {}
        for object_id, stats_id, column, *numbers in rows:
            request = by_id[object_id]
            if column != request.columns[0] or numbers[0] is None:
                continue
            found = _Statistics(object_id, stats_id, *(int(number or 0) for number in numbers))
            best = fresh.get(object_id)
            if found.is_fresh(request) and (best is None or found.modified < best.modified):
                fresh[object_id] = found
    by_type: dict[tuple[str, str], list[_Statistics]] = defaultdict(list)
    for statistics in fresh.values():
        kind = by_id[statistics.object_id].types[0]
        by_type[declaration(kind), text_sql(kind, "")].append(statistics)
    histograms: dict[str, Histogram] = {}
    for group in by_type.values():
        kind = by_id[group[0].object_id].types[0]
        for batch in _pieces(group, _HISTOGRAMS):
            steps = _steps(catalog, kind, batch)
            if steps is None:
                return histograms
            for object_id, found_steps in steps.items():
                request = by_id[object_id]
                histogram = Histogram(request.types[0], found_steps)
                if _is_readable(histogram):
                    histograms[request.table.full_name] = histogram
    return histograms


def _steps(
    catalog: Catalog, kind: MssqlType, batch: Iterable[_Statistics]
) -> dict[int, tuple[Step, ...]] | None:
    sql = _STEPS.format(
        text=text_sql(kind, "d.high_key"),
        type=declaration(kind),
        which=" OR ".join(
            f"(s.object_id = {s.object_id} AND s.stats_id = {s.stats_id})" for s in batch
        ),
    )
    source = Source("sys.dm_db_stats_histogram", sql)
    rows = catalog.read("Histograms", source, instead="a walk along each key")
    if rows is None:
        return None
    steps: dict[int, list[tuple[int, Step]]] = defaultdict(list)
    for object_id, number, value, between, equal in rows:
        steps[object_id].append((number, Step(value, float(between), float(equal))))
    return {
        object_id: tuple(step for _, step in sorted(found, key=lambda pair: pair[0]))
        for object_id, found in steps.items()
    }


def _is_readable(histogram: Histogram) -> bool:
    """Whether its values are values of the type, in the order of the line they lie on."""
    line = line_of(histogram.mssql_type)
    if line is None:
        return True
    try:
        places = [line.position(step.text) for step in histogram.steps if step.text is not None]
    except ValueError:
        return False
    return places == sorted(places)


def _pieces(items: Sequence[Any], size: int) -> Iterable[Sequence[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
