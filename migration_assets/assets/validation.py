"""Compare tables afresh in all three systems, whatever Dagster remembers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import cache, partial
from typing import TYPE_CHECKING

import dagster as dg

from migration_assets.assets.checks import (
    FINGERPRINT,
    ROW_COUNT,
    ROWS,
    comparable,
    describe_moved,
)
from migration_assets.assets.failures import retry_command
from migration_assets.assets.receipt_store import ReceiptStore
from migration_assets.assets.rows import compare_with_source
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.choices import Consistency, VerificationLevel
from migration_assets.errors import ConfigurationError, MigrationError, ObjectNotFoundError
from migration_assets.mssql.point_in_time import find_standpoint
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.receipts import CommitReceipt, Difference, Fingerprint, columns_of
from migration_assets.sampling import sample_of

SHOWN = 5
"""Differences of a table that a line of text has room for."""

if TYPE_CHECKING:
    from migration_assets.iceberg.lake import Lake
    from migration_assets.mssql.client import SqlServer
    from migration_assets.row_comparison import RowComparison
    from migration_assets.starrocks.resource import StarRocks


class ValidationConfig(dg.Config):
    """What a validation run compares.

    Attributes:
        tables: patterns of `schema.table`; empty for all.
        level: `count`, `full` for fingerprints too, or `rows` for all that and each row.
        until: down to which system: `iceberg` leaves StarRocks out.
        sample: at level `rows`, about how many rows of each table are compared; 0 for all.
    """

    tables: list[str] = []  # noqa: RUF012 - a config schema's default, never mutated
    level: str = "count"
    until: str = "starrocks"
    sample: int = 0


@dataclass(frozen=True)
class TableValidation:
    """One table's comparison.

    Attributes:
        rows: row count by system; None where the table is missing.
        differences: partition key to what differs there, targets against SQL Server.
        level: what was compared: `count` says nothing about values.
        unmeasured: partition keys whose text lengths could not be compared, although the level
            asks for it: the extraction's own measures are gone.
        compared: partition key to what comparing its rows one by one found; empty where the level
            does not ask for it.
        sampled: not all rows were compared one by one.
        moved: partition key to what of the source is no longer as it was extracted, where
            StarRocks still has what was extracted.
        error: why the table could not be compared; empty when it could.
        older: partition keys that were extracted before columns came, and these columns, which are
            NULL there and were not compared.
    """

    table: TablePlan
    rows: dict[Stage, int | None]
    differences: dict[str, list[Difference]] = field(default_factory=dict)
    level: VerificationLevel = VerificationLevel.FULL
    unmeasured: list[str] = field(default_factory=list)
    compared: dict[str, RowComparison] = field(default_factory=dict)
    sampled: bool = False
    moved: dict[str, list[Difference]] = field(default_factory=dict)
    error: str = ""
    older: dict[str, frozenset[str]] = field(default_factory=dict)

    @property
    def missing_in(self) -> list[Stage]:
        """Systems that do not have the table."""
        return [stage for stage, rows in self.rows.items() if rows is None]

    @property
    def valid(self) -> bool:
        """Whether all systems have the table and nothing differs."""
        return not (self.missing_in or self.differences or self.unequal or self.error)

    @property
    def unequal(self) -> dict[str, RowComparison]:
        """Partition keys whose rows differ."""
        return {key: compared for key, compared in self.compared.items() if not compared.equal}

    @property
    def note(self) -> str:
        """What was left out of the comparison, in one or two sentences; empty when nothing was."""
        return " ".join(filter(None, [self._note_of_the_level, self._note_of_older_partitions]))

    @property
    def _note_of_older_partitions(self) -> str:
        if not self.older:
            return ""
        keys, names = list(self.older), sorted(frozenset().union(*self.older.values()))
        shown = ", ".join(keys[:5]) + (", ..." if len(keys) > 5 else "")
        return (
            f"{len(keys)} partitions ({shown}) were extracted before {', '.join(names)} came: NULL "
            "there, and not compared."
        )

    @property
    def _note_of_the_level(self) -> str:
        if self.compared:
            # Texts are among the values, and counts and sums are of all rows.
            total = self.rows[Stage.MSSQL] or 0
            sampled = sum(compared.expected for compared in self.compared.values())
            return (
                f"A sample of {sampled:,} of {total:,} rows was compared value by value."
                if self.sampled
                else ""
            )
        if not self.unmeasured:
            return ""
        shown = ", ".join(self.unmeasured[:5]) + (", ..." if len(self.unmeasured) > 5 else "")
        return (
            f"Text lengths of {shown} were not compared with StarRocks: no receipt of level full "
            "tells both of their units."
        )

    def describe(self) -> str:
        """What is wrong, in one line; empty when nothing is."""
        if self.error:
            return self.error
        if self.missing_in:
            return f"missing in {', '.join(stage.value for stage in self.missing_in)}"
        # First what names rows: sums say less.
        shown = [f"{key} {rows.describe()}" for key, rows in self.unequal.items()]
        found = [(key, d) for key, differences in self.differences.items() for d in differences]
        room = max(0, SHOWN - len(shown))
        shown += [
            f"{k} {d.what}: expected {d.expected:,}, found {d.found:,}" for k, d in found[:room]
        ]
        if more := [difference for _, difference in found[room:]]:
            shown.append(f"and {len(more)} more, in {', '.join(columns_of(more)) or 'row counts'}")
        if self.moved:
            first, since = next(iter(self.moved.items()))
            rest = f", and {len(self.moved) - 1} more" if len(self.moved) > 1 else ""
            shown.append(
                f"the source moved after it was extracted ({first}: {describe_moved(since)}{rest}): "
                "StarRocks has what was extracted"
            )
        return "; ".join(shown)


def validate_table(
    table: TablePlan,
    mssql: SqlServer,
    lake: Lake,
    starrocks: StarRocks | None,
    level: VerificationLevel,
    *,
    translator: MigrationTranslator,
    sample: int = 0,
) -> TableValidation:
    """Compare one table, partition by partition; a table that cannot be compared says why.

    Args:
        table: what to compare.
        mssql: what is right.
        lake: compared by row counts from metadata.
        starrocks: compared at the level; None to leave it out.
        level: `count`, `full` or `rows`; at `rows` StarRocks, or Iceberg when that is left out, is
            also compared row by row.
        translator: gives the asset key whose receipts are looked at.
        sample: at level `rows`, about how many rows of the table are compared one by one with
            StarRocks; 0 for all. See `sample_of`.
    """
    by_row = level is VerificationLevel.ROWS
    measured = VerificationLevel.FULL if by_row else level
    try:
        found = _compare(table, mssql, lake, starrocks, measured, translator=translator)
        if not by_row or found.missing_in:
            return found
        chosen = None
        if sample and starrocks is not None:
            chosen = sample_of(table, found.rows[Stage.MSSQL] or 0, sample)
        compared = {
            key: compare_with_source(
                mssql, lake, starrocks, table, key, sample=chosen, without=found.older.get(key, ())
            )
            for key in table.partition_keys
        }
        return replace(found, level=level, compared=compared, sampled=chosen is not None)
    except MigrationError as error:
        return TableValidation(table, {}, level=level, error=str(error))


def _compare(
    table: TablePlan,
    mssql: SqlServer,
    lake: Lake,
    starrocks: StarRocks | None,
    level: VerificationLevel,
    *,
    translator: MigrationTranslator,
) -> TableValidation:
    from migration_assets.iceberg.partitions import partition_rows
    from migration_assets.iceberg.tables import load_table
    from migration_assets.mssql.reader import measure_partition as measure_source
    from migration_assets.starrocks.load import measure as measure_target

    rows: dict[Stage, int | None] = {}
    differences: dict[str, list[Difference]] = {}
    expected = {}
    unmeasured = []
    moved: dict[str, list[Difference]] = {}
    made_under = _made_under(lake, table, translator)
    try:
        for key in table.partition_keys:
            expected[key] = measure_source(mssql, table, table.key_range(key), level)
        rows[Stage.MSSQL] = sum(fingerprint.rows for fingerprint in expected.values())
    except ObjectNotFoundError:
        rows[Stage.MSSQL] = None
    rows[Stage.ICEBERG] = None
    if load_table(lake, table) is not None:
        in_iceberg = partition_rows(lake, table, table.partition_keys)
        rows[Stage.ICEBERG] = sum(in_iceberg.values())
        for key, fingerprint in expected.items():
            found = in_iceberg[table.key_range(key).source_partition]
            if found != fingerprint.rows:
                different = Difference(what="iceberg rows", expected=fingerprint.rows, found=found)
                differences.setdefault(key, []).append(different)
    if starrocks is not None:
        try:
            total = 0
            for key in table.partition_keys:
                loaded = measure_target(starrocks, table, table.key_range(key), level)
                total += loaded.rows
                if key not in expected:
                    continue
                extracted = cache(partial(_extracted, lake, table, key, translator))
                one = _compare_loaded(expected[key], loaded, extracted, table, made_under.get(key))
                if one.differences:
                    differences.setdefault(key, []).extend(one.differences)
                if one.moved:
                    moved[key] = one.moved
                if one.is_unmeasured:
                    unmeasured.append(key)
            rows[Stage.STARROCKS] = total
        except ObjectNotFoundError:
            rows[Stage.STARROCKS] = None
    older = {key: table.added_since(table_id) for key, table_id in made_under.items()}
    older = {key: columns for key, columns in older.items() if columns}
    return TableValidation(table, rows, differences, level, unmeasured, moved=moved, older=older)


@dataclass(frozen=True)
class _Loaded:
    """What comparing a loaded partition with the source found; see `TableValidation`."""

    differences: list[Difference]
    moved: list[Difference]
    is_unmeasured: bool


def _compare_loaded(
    source: Fingerprint,
    loaded: Fingerprint,
    extracted: Callable[[], Fingerprint | None],
    table: TablePlan,
    made_under: str | None,
) -> _Loaded:
    if made_under is not None:
        source = comparable(source, table, made_under)
        loaded = comparable(loaded, table, made_under)
    differences = source.differences(loaded)
    is_unmeasured = False
    if source.values.keys() - loaded.values.keys():
        receipt = extracted()
        is_unmeasured = receipt is None
        if receipt is not None:
            differences += in_own_units(source, receipt, loaded)
    moved: list[Difference] = []
    if differences and (receipt := extracted()) is not None and not receipt.differences(loaded):
        moved = receipt.differences(source)
    return _Loaded(differences, moved, is_unmeasured)


def _made_under(lake: Lake, table: TablePlan, translator: MigrationTranslator) -> dict[str, str]:
    """Partition keys whose committed rows are older than the table's last evolution: table ids."""
    if not table.evolutions:
        return {}
    path = translator.asset_key(Stage.ICEBERG, table).path
    store = ReceiptStore(lake, table.source_database)
    found = {key: store.find(CommitReceipt, path, key) for key in table.partition_keys}
    return {
        key: receipt.table_id
        for key, receipt in found.items()
        if receipt is not None and table.evolved_since(receipt.table_id)
    }


def _extracted(
    lake: Lake, table: TablePlan, partition_key: str, translator: MigrationTranslator
) -> Fingerprint | None:
    """What the extraction of the committed files measured; None when that is not known."""
    path = translator.asset_key(Stage.ICEBERG, table).path
    receipt = ReceiptStore(lake, table.source_database).find(CommitReceipt, path, partition_key)
    if receipt is None or not table.holds(receipt.table_id) or not receipt.fingerprint.values:
        return None
    if receipt.range_id != table.range_id(partition_key):
        return None  # of a time window that has got an end since: other rows
    return comparable(receipt.fingerprint, table, receipt.table_id)


def in_own_units(
    expected: Fingerprint, extracted: Fingerprint, loaded: Fingerprint
) -> list[Difference]:
    """Compare what only one server measures with the extraction, which measured both.

    A text's length is UTF-16 units in SQL Server and bytes in StarRocks. If the source still has
    the units that were extracted, and StarRocks the bytes, no length has changed on the way.

    Args:
        expected: SQL Server's aggregates.
        extracted: those of the Arrow batches that became the committed files.
        loaded: StarRocks' aggregates.
    """

    def only(one: Fingerprint, other: Fingerprint) -> Fingerprint:
        values = {name: value for name, value in one.values.items() if name not in other.values}
        return Fingerprint(rows=extracted.rows, values=values)

    source, target = only(expected, loaded), only(loaded, expected)
    return [*source.differences(extracted), *extracted.differences(target)]


def select_tables(plan: MigrationPlan, patterns: Sequence[str]) -> list[TablePlan]:
    """The tables whose `schema.table` matches a pattern, without regard to case; all for none.

    Raises:
        ConfigurationError: a pattern matches no table of the plan.
    """
    if not patterns:
        return list(plan.tables)
    chosen: dict[str, TablePlan] = {}
    for pattern in patterns:
        matching = [
            table
            for table in plan.tables
            if fnmatchcase(table.full_name.lower(), pattern.lower())
            or table.full_name.lower() == pattern.lower()
        ]
        if not matching:
            apart = " ".join(pattern.split(","))
            raise ConfigurationError(
                f"No table of the plan matches {pattern!r}.",
                code="MA-CF-024",
                next_step="`migration-assets status` lists the tables."
                if apart == pattern
                else f"Several are separated by spaces: --tables {apart}.",
            )
        chosen.update((table.full_name, table) for table in matching)
    return [table for table in plan.tables if table.full_name in chosen]


def record(
    instance: dg.DagsterInstance,
    translator: MigrationTranslator,
    found: TableValidation,
    run_id: str,
) -> None:
    """Note the result on the starrocks asset's checks, so that `--failed` and the UI see it.

    Args:
        instance: where.
        translator: gives the asset keys.
        found: the result.
        run_id: of the Dagster run, or an id of its own for each validation outside of one: Dagster
            keeps one evaluation per check, partition and run id, so a second one without a run
            would break its unique index.
    """
    for evaluation in _evaluations(translator, found):
        event = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
            job_name="validate",
            event_specific_data=evaluation,
        )
        instance.report_dagster_event(event, run_id=run_id)


def _evaluations(
    translator: MigrationTranslator, found: TableValidation
) -> Iterator[dg.AssetCheckEvaluation]:
    table = found.table
    if table.verification is VerificationLevel.NONE or Stage.STARROCKS not in found.rows:
        return
    for key in table.partition_keys:
        different = found.differences.get(key, [])
        counts = [d for d in different if d.what.endswith("rows")]
        values = [d for d in different if not d.what.endswith("rows")]
        equal_rows = key not in found.unequal
        passed = {ROW_COUNT: not counts and not found.missing_in, FINGERPRINT: not values}
        if VerificationLevel.COUNT in {table.verification, found.level}:
            del passed[FINGERPRINT]
        elif table.verification is not VerificationLevel.ROWS:
            # The table has no check of its rows, and what differs must be found again.
            passed[FINGERPRINT] = passed[FINGERPRINT] and equal_rows
        elif key in found.compared:
            passed[ROWS] = equal_rows
        for check, is_equal in passed.items():
            yield dg.AssetCheckEvaluation(
                asset_key=translator.asset_key(Stage.STARROCKS, table),
                check_name=check,
                passed=is_equal,
                metadata={},
                description="validate: " + (found.describe() or "equal"),
                partition=key,
            )


def observation(translator: MigrationTranslator, found: TableValidation) -> dg.AssetObservation:
    """A whole table's comparison, as `run` and the report read it."""
    return dg.AssetObservation(
        asset_key=translator.asset_key(Stage.STARROCKS, found.table),
        description=found.describe() or "equal",
        metadata={
            "table": found.table.full_name,
            "difference": found.describe(),
            "level": found.level.value,
            **{stage.value: rows for stage, rows in found.rows.items()},
        },
    )


def validate_in_run(
    context: dg.OpExecutionContext,
    config: ValidationConfig,
    plan: MigrationPlan,
    translator: MigrationTranslator,
    *,
    mssql: SqlServer,
    lake: Lake,
    starrocks: StarRocks | None,
) -> None:
    """Validate within a Dagster run.

    Raises:
        dagster.Failure: a table is missing or differs; names each.
    """
    wrong = []
    if plan.consistency is Consistency.DATABASE_SNAPSHOT:
        # Without it every table would look as if SQL Server did not have it.
        find_standpoint(mssql, plan.consistency, plan.database)
    for table in select_tables(plan, config.tables):
        level = VerificationLevel(config.level)
        found = validate_table(
            table, mssql, lake, starrocks, level, translator=translator, sample=config.sample
        )
        record(context.instance, translator, found, context.run.run_id)
        context.log_event(observation(translator, found))
        said = " ".join([found.describe() or "equal", *filter(None, [found.note])])
        context.log.info("%s: %s", table.full_name, said)
        if not found.valid:
            wrong.append(found)
    if wrong:
        listed = "; ".join(f"{f.table.full_name}: {f.describe()}" for f in wrong[:10])
        raise dg.Failure(
            f"MA-VE-001: {len(wrong)} tables differ. {listed}",
            metadata={"retry": "; ".join(retry_command(found.table) for found in wrong[:10])},
            allow_retries=False,
        )
