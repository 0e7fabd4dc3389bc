"""How long a migration may take: arithmetic over the plan, from assumptions that are shown.

Nothing is measured here. The defaults come from `benchmarks/`, measured against stand-ins on two
cores, and are halved where a real network and a real disk come in; each says where it is from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from migration_assets.choices import VerificationLevel
from migration_assets.errors import ConfigurationError
from migration_assets.plan import MigrationPlan, TablePlan

SPREAD = 2.0
"""The range that is shown: everything so much faster, everything so much slower."""


def _assumed(default: float, unit: str, source: str) -> float:
    value: float = dataclasses.field(default=default, metadata={"unit": unit, "source": source})
    return value


@dataclass(frozen=True)
class Assumptions:
    """What the estimate takes for granted; each can be given with `plan --report … --assume`."""

    concurrent_runs: float = _assumed(
        2, "partitions at a time", "MIGRATION_CONCURRENT_RUNS, or the number of cores here"
    )
    extract_rows_per_s: float = _assumed(
        200_000,
        "rows/s of one run",
        "half of what benchmarks/README.md has for the arrow engine: 2,000,000 rows of 15 columns "
        "in 1.35 x a bare read of 3.4 s, with a stand-in for SQL Server on the same machine",
    )
    extract_bytes_per_s: float = _assumed(
        40_000_000, "bytes/s of one run", "assumed, not measured: what wide rows are limited by"
    )
    network_bytes_per_s: float = _assumed(
        100_000_000,
        "bytes/s of all runs together",
        "assumed, not measured: a network of 1 Gbit/s to SQL Server",
    )
    load_rows_per_s: float = _assumed(
        500_000,
        "rows/s of one run",
        "assumed, not measured: StarRocks reading Parquet from S3 has not been timed yet",
    )
    seconds_per_partition: float = _assumed(
        0.9,
        "s for each partition",
        "three assets of 0.30 s each (benchmarks/README.md, overhead, 4,638 asset partitions)",
    )
    verification_share: float = _assumed(
        0.5,
        "of the extraction's time",
        "level full: an aggregate query of the same rows in SQL Server and in StarRocks (assumed); "
        "level rows takes four times the extraction (docs/verification.md), count and none nothing",
    )

    given: tuple[str, ...] = ()
    """Names of those that are no defaults."""

    def __post_init__(self) -> None:
        """Refuse what cannot be divided by.

        Raises:
            ConfigurationError: a value is not above zero.
        """
        for item in _assumptions():
            if not 0 < getattr(self, item.name) < float("inf"):
                raise ConfigurationError(
                    f"--assume {item.name}: it must be above zero.", code="MA-CF-027"
                )

    def changed(self, given: Iterable[str]) -> Assumptions:
        """Replace some, written `extract_rows_per_s=100000`.

        Raises:
            ConfigurationError: an unknown name, or no number.
        """
        known = [item.name for item in _assumptions()]
        changes: dict[str, Any] = {}
        for text in given:
            name, _, value = text.partition("=")
            if name not in known:
                raise ConfigurationError(
                    f"--assume knows no {name!r}.",
                    code="MA-CF-027",
                    next_step=f"It knows {', '.join(known)}.",
                )
            try:
                changes[name] = float(value.replace("_", "").replace(",", ""))
            except ValueError:
                raise ConfigurationError(
                    f"--assume {name}: {value!r} is no number.", code="MA-CF-027"
                ) from None
        return dataclasses.replace(self, **changes, given=(*self.given, *changes))

    def listed(self) -> list[tuple[str, float, str, str]]:
        """Name, value, unit, and where the value is from; a value that was given says so."""
        rows = []
        for item in _assumptions():
            source = item.metadata["source"]
            if item.name in self.given:
                source = "given with --assume"
            rows.append((item.name, getattr(self, item.name), item.metadata["unit"], source))
        return rows


def _assumptions() -> list[dataclasses.Field[float]]:
    return [item for item in fields(Assumptions) if "unit" in item.metadata]


@dataclass(frozen=True)
class Estimate:
    """Seconds that a migration may take.

    Attributes:
        seconds: with the assumptions as they are.
        fastest: if all of it goes `SPREAD` times as fast; `slowest` likewise.
        bound: what it waits for most: a phrase for the reader.
        tables: seconds of work of each table, by full name; they overlap in time.
    """

    seconds: float
    fastest: float
    slowest: float
    bound: str
    tables: dict[str, float]


def estimate(
    plan: MigrationPlan,
    assumptions: Assumptions,
    partition_rows: Mapping[str, Sequence[int]] | None = None,
) -> Estimate:
    """Estimate a migration of the whole plan.

    Partitions are worked off by `concurrent_runs` at a time, so it takes their sum divided by
    that, but no less than the longest one, and no less than the network needs.

    Args:
        plan: what is migrated.
        assumptions: how fast.
        partition_rows: rows of each partition, by full name, where known; else equal shares.
    """
    known = partition_rows or {}
    works: dict[str, float] = {}
    longest, longest_name = 0.0, ""
    for table in plan.tables:
        seconds = [
            _seconds(table, rows, assumptions)
            for rows in rows_of(table, known.get(table.full_name))
        ]
        works[table.full_name] = sum(seconds)
        if max(seconds) > longest:
            longest, longest_name = max(seconds), table.full_name
    shared = sum(works.values()) / assumptions.concurrent_runs
    network = sum(table.bytes or 0 for table in plan.tables) / assumptions.network_bytes_per_s
    bounds = {
        f"the work of all partitions, {assumptions.concurrent_runs:g} at a time": shared,
        f"the largest partition of {longest_name}": longest,
        "the network": network,
    }
    bound = max(bounds, key=lambda name: bounds[name])
    total = bounds[bound]
    return Estimate(total, total / SPREAD, total * SPREAD, bound, works)


def rows_of(table: TablePlan, known: Sequence[int] | None) -> Sequence[float]:
    """Rows of each partition: what is known, or equal shares."""
    count = len(table.key_ranges)
    if known is not None and len(known) == count:
        return known
    return [table.rows / count] * count


def _seconds(table: TablePlan, rows: float, assumptions: Assumptions) -> float:
    """One partition's way through all three stages."""
    share = rows / table.rows if table.rows else 1 / len(table.key_ranges)
    extraction = max(
        rows / assumptions.extract_rows_per_s,
        (table.bytes or 0) * share / assumptions.extract_bytes_per_s,
    )
    verification = {
        VerificationLevel.FULL: assumptions.verification_share,
        VerificationLevel.ROWS: assumptions.verification_share + 4,
    }.get(table.verification, 0.0)
    load = rows / assumptions.load_rows_per_s
    return assumptions.seconds_per_partition + extraction * (1 + verification) + load
