"""Row counts, fingerprints and rows as asset checks, and how an asset ends.

After a check that fails the materialization never comes: so *retry from failure* and *failed
partitions* pick the bad partition itself, not only what lies downstream.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import dagster as dg

from migration_assets.assets.failures import place
from migration_assets.assets.translator import Stage
from migration_assets.choices import VerificationLevel
from migration_assets.mssql.point_in_time import OF_THE_DATABASE
from migration_assets.plan import TablePlan
from migration_assets.receipts import (
    ONE_STATE,
    Difference,
    ExtractReceipt,
    Fingerprint,
    columns_of,
)

if TYPE_CHECKING:
    from migration_assets.row_comparison import RowComparison

Value = TypeVar("Value")

ROW_COUNT = "row_count"
FINGERPRINT = "fingerprint"
ROWS = "rows"
CHECKS = (ROW_COUNT, FINGERPRINT, ROWS)
COLUMN_NAMES = "column names"
"""Metadata of a fingerprint's check: the columns that were compared."""
REREAD_AFTER_S = 2.0
"""A load may be visible a moment later than it is acknowledged: look again before failing."""
SHOWN_DIFFERENCES = 20

_FINGERPRINT_IS = (
    "sums, NULLs and lengths of each column, and which value stands beside which key. It sees lost, "
    "doubled, changed and exchanged values; a changed text of equal length and a changed float it "
    "does not see."
)
DESCRIPTIONS = {
    (Stage.MSSQL, ROW_COUNT): "SQL Server counts as many rows in the key range as were extracted.",
    (Stage.MSSQL, FINGERPRINT): "What SQL Server aggregates over the key range equals what was "
    f"written to Parquet: {_FINGERPRINT_IS}",
    (Stage.ICEBERG, ROW_COUNT): "Iceberg's metadata show as many rows as were extracted.",
    (Stage.STARROCKS, ROW_COUNT): "StarRocks counts as many rows as Iceberg and the extract hold.",
    (
        Stage.STARROCKS,
        FINGERPRINT,
    ): "What StarRocks aggregates over the loaded rows equals what was "
    f"extracted: {_FINGERPRINT_IS}",
    (Stage.STARROCKS, ROWS): "The loaded rows, read back from StarRocks, equal those of Iceberg's "
    "data files, value by value.",
}
"""What the checks compare, as the UI shows it; a check of a stage that is not here does not exist."""


@dataclass(frozen=True)
class Verdict:
    """What a check found.

    Attributes:
        differences: what differs; none when it passed.
        unequal: what differs beside numbers, in a sentence; empty when it passed.
        reason: why a difference is only a warning; empty when it is an error.
        counts: named numbers of what was compared, for the metadata.
        skipped: not looked at, by the run's config.
        columns: target columns whose aggregates were compared.
    """

    check: str
    differences: Sequence[Difference] = ()
    reason: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    skipped: bool = False
    unequal: str = ""
    columns: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.differences and not self.unequal

    @property
    def failed(self) -> bool:
        """Whether the partition must not count as materialized."""
        return not self.equal and not self.reason

    def describe(self) -> str:
        """One sentence: what differs, expected and found."""
        if self.skipped:
            return "Not verified: the run's config lowered the verification level."
        if self.unequal:
            return f"{self.unequal}. {self.reason}".strip()
        if not self.differences:
            shown = ", ".join(f"{name} {count:,}" for name, count in self.counts.items())
            return f"Equal: {shown}." if shown else "Equal."
        shown = "; ".join(
            f"{d.what}: expected {d.expected:,}, found {d.found:,}"
            for d in self.differences[:SHOWN_DIFFERENCES]
        )
        more = self.differences[SHOWN_DIFFERENCES:]
        text = shown + (f"; and {len(more)} more, in {', '.join(columns_of(more))}" if more else "")
        return f"{text}. {self.reason}".strip()

    def as_result(self, asset_key: dg.AssetKey) -> dg.AssetCheckResult:
        """Dagster's form of it; the partition is that of the step."""
        warn = self.skipped or self.reason
        return dg.AssetCheckResult(
            passed=self.equal and not self.skipped,
            asset_key=asset_key,
            check_name=self.check,
            severity=dg.AssetCheckSeverity.WARN if warn else dg.AssetCheckSeverity.ERROR,
            description=self.describe(),
            metadata={
                **self.counts,
                **({COLUMN_NAMES: list(self.columns)} if self.columns else {}),
            },
        )


def check_specs(spec: dg.AssetSpec, stage: Stage, table: TablePlan) -> list[dg.AssetCheckSpec]:
    """The checks that an asset of the table declares at its planned verification level."""
    names = {
        VerificationLevel.NONE: [],
        VerificationLevel.COUNT: [ROW_COUNT],
        VerificationLevel.FULL: [ROW_COUNT, FINGERPRINT],
        VerificationLevel.ROWS: [ROW_COUNT, FINGERPRINT, ROWS],
    }[table.verification]
    return [
        dg.AssetCheckSpec(
            name,
            asset=spec.key,
            description=DESCRIPTIONS[stage, name],
            # What it is in effect: see `conclude`.
            blocking=True,
            partitions_def=spec.partitions_def,
        )
        for name in names
        if (stage, name) in DESCRIPTIONS
    ]


def source_verdicts(
    receipt: ExtractReceipt, measure_again: Callable[[], Fingerprint | None]
) -> list[Verdict]:
    """Compare what was written with what SQL Server says of the same key range.

    Args:
        receipt: of the extraction.
        measure_again: asks SQL Server once more; used when they differ and do not show one state,
            to tell a source that moves from a copy that is wrong. So do the receipt's counters.
    """
    source = receipt.source_fingerprint
    if source is None:
        return []
    differences = source.differences(receipt.fingerprint)
    reason = ""
    if differences and receipt.consistency not in ONE_STATE:
        moved = source.differences(measure_again() or source)
        counted = [m for m in receipt.moved if not m.what.endswith(OF_THE_DATABASE)]
        if moved:
            reason = f"The source is being written to: between two looks {describe_moved(moved)}."
        elif counted:
            reason = f"The source was written to while it was read: {describe_moved(counted)}."
        if reason:
            reason += (
                " Read from a database snapshot (docs/consistency.md), allow SNAPSHOT isolation, or "
                "extract again when it rests."
            )
    return _verdicts(source, receipt.fingerprint, ("mssql", "extracted"), reason)


def describe_moved(moved: Sequence[Difference]) -> str:
    """What changed from what to what: `rows went from 3 to 4, …`."""
    shown = [f"{m.what} went from {m.expected:,} to {m.found:,}" for m in moved[:3]]
    more = [f"and {len(moved) - 3} more"] if len(moved) > 3 else []
    return ", ".join([*shown, *more])


def comparable(fingerprint: Fingerprint, table: TablePlan, table_id: str) -> Fingerprint:
    """What of a fingerprint can be compared with rows extracted under an earlier table id.

    Columns that came since are NULL there, and how a wide decimal is multiplied with the key
    follows from its type.
    """
    widened = {name for step in table.evolved_since(table_id) for name in step.widened}
    kept = fingerprint.without(table.added_since(table_id))
    return kept.without(widened, ("swap",)) if widened else kept


def target_verdicts(expected: Fingerprint, measure: Callable[[], Fingerprint]) -> list[Verdict]:
    """Compare StarRocks' aggregates with the extract's; looks twice before it fails."""
    found = measure()
    if expected.differences(found):
        time.sleep(REREAD_AFTER_S)
        found = measure()
    return _verdicts(expected, found, ("iceberg", "starrocks"))


def rows_verdict(compared: RowComparison) -> Verdict:
    """The verdict of comparing StarRocks' rows with those of the data files."""
    counts = {"iceberg": compared.expected, "starrocks": compared.found}
    return Verdict(ROWS, unequal=compared.describe(), counts=counts)


def count_verdict(expected: int, found: int, sides: tuple[str, str]) -> Verdict:
    """Compare two row counts."""
    same = expected == found
    differences = [] if same else [Difference(what="rows", expected=expected, found=found)]
    return Verdict(ROW_COUNT, differences, counts={sides[0]: expected, sides[1]: found})


def _verdicts(
    expected: Fingerprint, found: Fingerprint, sides: tuple[str, str], reason: str = ""
) -> list[Verdict]:
    differences = expected.differences(found)
    rows = [d for d in differences if d.what == "rows"]
    values = [d for d in differences if d.what != "rows"]
    counts = {sides[0]: expected.rows, sides[1]: found.rows}
    compared = expected.values.keys() & found.values.keys()
    columns = sorted({name.rpartition(".")[0] for name in compared})
    return [
        Verdict(ROW_COUNT, rows, reason, counts),
        Verdict(
            FINGERPRINT,
            values,
            reason,
            {"columns": len(columns), "aggregates": len(compared)},
            # One side was only counted: nothing was compared, which must not look like a success.
            skipped=not compared,
            columns=tuple(columns),
        ),
    ]


def results_of(
    specs: Sequence[dg.AssetCheckSpec], verdicts: Sequence[Verdict]
) -> list[dg.AssetCheckResult]:
    """A result for each declared check: its verdict, or that it was not looked at."""
    by_name = {verdict.check: verdict for verdict in verdicts}
    return [
        by_name.get(spec.name, Verdict(spec.name, skipped=True)).as_result(spec.asset_key)
        for spec in specs
    ]


def conclude(
    stage: Stage,
    table: TablePlan,
    partition_key: str,
    *,
    specs: Sequence[dg.AssetCheckSpec],
    verdicts: Sequence[Verdict],
    result: dg.MaterializeResult[Value],
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[Value]]:
    """Yield the check results, and the materialization, before them, only when none failed.

    Dagster takes a check result for one of the newest materialization that is there when it comes:
    after the one it is about, or the UI shows the partition as not checked.

    Raises:
        dagster.Failure: a check failed; not retried, since the same data would fail again.
    """
    results = results_of(specs, verdicts)
    # Also of checks that are not declared: the run's config may have raised the level.
    failed = [verdict for verdict in verdicts if verdict.failed]
    if failed:
        yield from results
        found = " ".join(f"{verdict.check}: {verdict.describe()}" for verdict in failed)
        next_step = (
            "Find out who changed the data, then materialize this partition again from its mssql "
            "asset on."
        )
        raise dg.Failure(
            f"MA-VE-001: {table.full_name} {partition_key}: the {stage.value} copy differs. "
            f"{' '.join(found.split())} {next_step}",
            metadata={
                "next step": next_step,
                **place(stage, table, partition_key),
                "error": "VerificationError",
                "code": "MA-VE-001",
            },
            allow_retries=False,
        )
    yield result
    yield from results
