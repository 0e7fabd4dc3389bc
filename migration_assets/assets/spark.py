"""The mssql asset of a table whose engine is Spark: many partitions in one step and one Spark job.

A run of several partitions is one step. It logs each partition's materialization and check results
by itself, as far as they came, and fails for the rest: so the failed ones alone are made again. A
run of one partition ends as the arrow engine's does, and what lies downstream may follow in it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import dagster as dg

from migration_assets.assets.build import (
    ExtractConfig,
    memory_limit,
)
from migration_assets.assets.checks import (
    Verdict,
    check_specs,
    results_of,
    source_verdicts,
)
from migration_assets.assets.extractor import ExecutorExtraction, Extraction, with_moved
from migration_assets.assets.failures import Attempt, failures, range_failure, retry_or_fail
from migration_assets.assets.pace import ask_for_patience
from migration_assets.assets.ranged import (
    conclude_partition,
    differs,
    evaluation,
    materialization,
    ranged_arguments,
    refuse_checks_alone,
)
from migration_assets.assets.receipt_store import ReceiptIOManager
from migration_assets.assets.translator import Stage
from migration_assets.choices import Consistency, VerificationLevel
from migration_assets.errors import MigrationError, OperationTimeoutError, StatementError
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.resource import LakeResource
from migration_assets.memory import declared_width
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.point_in_time import Standpoint
from migration_assets.mssql.resource import MssqlResource
from migration_assets.plan import TablePlan
from migration_assets.receipts import ExtractReceipt
from migration_assets.setting_choices import Reader
from migration_assets.settings import ProjectSettings
from migration_assets.spark.extract import Extracted, extract_with_arrow, extract_with_jdbc
from migration_assets.spark.resource import POOL, SparkResource
from migration_assets.timeout_advice import explained

Compare = Callable[[ExtractReceipt], list[Verdict]]
"""What the checks find of an extracted partition."""


def build_spark_asset(
    table: TablePlan, spec: dg.AssetSpec, *, consistency: Consistency
) -> dg.AssetsDefinition:
    """Build the asset that extracts a table with Spark.

    Args:
        table: what to extract.
        spec: the asset's spec.
        consistency: which rows are read as of one point in time.
    """
    specs = check_specs(spec, Stage.MSSQL, table)

    @dg.multi_asset(**{**ranged_arguments(spec, table, specs), "pool": POOL})
    def mssql_table(  # noqa: PLR0917 - Dagster passes them by name
        context: dg.AssetExecutionContext,
        config: ExtractConfig,
        mssql: MssqlResource,
        lake: LakeResource,
        spark: SparkResource,
        receipts: dg.ResourceParam[ReceiptIOManager],
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[ExtractReceipt]]:
        from migration_assets.mssql.point_in_time import find_standpoint

        refuse_checks_alone(context, table, spec)
        keys, alone = context.partition_keys, not context.has_partition_key_range
        with failures(context, Stage.MSSQL, table, keys[0] if alone else None) as attempt:
            extraction = Extraction(
                table=table,
                run_id=context.run.run_id,
                level=config.level(table),
                standpoint=find_standpoint(mssql.client, consistency, table.source_database),
                batch_rows=config.batch_rows or mssql.client.settings.batch_rows,
                memory=memory_limit(),
            )
            done = _made_before(context, receipts, extraction) if context.retry_number else {}
            waiting = [key for key in keys if key not in done]
            new = extract_with_spark(mssql.client, lake.lake, spark, extraction, waiting)
            extracted = Extracted({**done, **new.receipts}, new.errors)
            compare = partial(_verdicts, mssql=mssql.client, extraction=extraction)
            if alone:
                for error in extracted.errors.values():
                    raise error
                (receipt,) = extracted.receipts.values()
                yield from conclude_partition(
                    context, table, specs, receipt, compare(receipt), spec.key, attempt
                )
            else:
                _conclude_range(context, table, specs, extracted, compare, receipts, attempt)

    definition: dg.AssetsDefinition = mssql_table
    return definition


def extract_with_spark(
    mssql: SqlServer,
    lake: Lake,
    spark: SparkResource,
    extraction: Extraction,
    partition_keys: Sequence[str],
) -> Extracted:
    """Extract partitions of a table in Spark, with the reader that SPARK_READER names.

    What concerns the whole table, or Spark itself, is every partition's error.
    """
    from migration_assets.mssql.introspection import check_columns
    from migration_assets.mssql.jdbc import jdbc_table
    from migration_assets.mssql.point_in_time import start_watch

    reader, standpoint = spark.settings.reader, extraction.standpoint
    try:
        check_columns(mssql, extraction.table)
        if not partition_keys:
            return Extracted()
        if reader is Reader.JDBC:
            jdbc_table(extraction.table)  # refuses what it cannot read before a session is started
        # The arrow reader's tasks look at the counters by themselves.
        is_watched = reader is Reader.JDBC and standpoint.watched
        watch = start_watch(mssql, extraction.table) if is_watched else None
        extracted = _spark_job(mssql, lake, spark, extraction, partition_keys)
        if reader is Reader.JDBC and standpoint.snapshot:
            # How a refusal of SNAPSHOT reads depends on the server's language, so whatever was
            # refused under it is tried without. The arrow reader does that by itself.
            refused = [k for k, e in extracted.errors.items() if isinstance(e, StatementError)]
            again = replace(extraction, standpoint=replace(standpoint, snapshot=False))
            extracted = extracted.updated(_spark_job(mssql, lake, spark, again, refused))
        if reader is Reader.JDBC:
            extracted = _asked_of_the_source(extracted, mssql, extraction)
        if watch is not None:
            moved = watch.moved(lambda sql: mssql.query(sql, doing="Looking at the counters")[0])
            receipts = {k: with_moved(r, moved) for k, r in extracted.receipts.items()}
            extracted = Extracted(receipts, extracted.errors)
    except MigrationError as error:
        return Extracted(errors=dict.fromkeys(partition_keys, error))
    return extracted


def _spark_job(
    mssql: SqlServer,
    lake: Lake,
    spark: SparkResource,
    extraction: Extraction,
    partition_keys: Sequence[str],
) -> Extracted:
    if not partition_keys:
        return Extracted()
    doing = f"Extracting {extraction.table.full_name} with Spark"
    task = ExecutorExtraction(extraction, mssql.settings, lake.settings)
    readers: Mapping[Reader, Callable[..., Extracted]] = {
        Reader.ARROW: partial(extract_with_arrow, extract=task.read),
        Reader.JDBC: partial(
            extract_with_jdbc,
            read=partial(_jdbc_frame, spark=spark, task=task),
            write=task.write,
            doing=doing,
        ),
    }
    return spark.run(
        doing,
        lambda session: readers[spark.settings.reader](
            session, partition_keys, connections=_connections(spark)
        ),
    )


def _connections(spark: SparkResource) -> int:
    """How many ranges are read at once."""
    most, own = ProjectSettings.load().max_extractions, spark.settings.mssql_connections
    return own if most is None else min(own, most)


_ROWS_OF_A_BATCH = "spark.sql.execution.arrow.maxRecordsPerBatch"
_BYTES_OF_A_BATCH = "spark.sql.execution.arrow.maxBytesPerBatch"


def _jdbc_frame(
    session: Any, partition_keys: Sequence[str], *, spark: SparkResource, task: ExecutorExtraction
) -> Any:
    from migration_assets.mssql.jdbc import (
        jdbc_options,
        jdbc_predicates,
        jdbc_table,
        jdbc_url,
    )

    table, rows = task.extraction.table, task.extraction.fetch_rows
    if declared_width(table) is None:
        # Spark looks at the bytes after each row, which costs more than a bounded row is worth.
        session.conf.set(_BYTES_OF_A_BATCH, str(task.extraction.memory.batch_bytes))
        session.conf.set(_ROWS_OF_A_BATCH, str(task.extraction.batch_rows))
    else:
        session.conf.unset(_BYTES_OF_A_BATCH)
        session.conf.set(_ROWS_OF_A_BATCH, str(rows))
    frame = session.read.jdbc(
        jdbc_url(task.mssql),
        jdbc_table(table),
        predicates=jdbc_predicates(table, partition_keys),
        properties=jdbc_options(
            task.mssql,
            snapshot=task.extraction.standpoint.snapshot,
            fetch_size=spark.settings.jdbc_fetch_size or rows,
        ),
    )
    return frame.select(*(_quoted(column.name) for column in table.columns))


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _asked_of_the_source(
    extracted: Extracted, mssql: SqlServer, extraction: Extraction
) -> Extracted:
    """Ask SQL Server what Spark's reader cannot on its connections: aggregates, invalid text."""
    from migration_assets.mssql.reader import measure_partition, query_timeout, refuse_invalid_text

    table = extraction.table
    receipts: dict[str, ExtractReceipt] = {}
    errors = {
        key: explained(error, table, table.key_range(key), query_timeout(mssql))
        if isinstance(error, OperationTimeoutError)
        else error
        for key, error in extracted.errors.items()
    }
    for partition_key, receipt in extracted.receipts.items():
        key_range, source = table.key_range(partition_key), None
        try:
            if receipt.doubtful:
                refuse_invalid_text(mssql, table, key_range, receipt.doubtful)
            if extraction.level is not VerificationLevel.NONE:
                source = measure_partition(mssql, table, key_range, extraction.level)
        except MigrationError as error:
            errors[partition_key] = error
        else:
            update = {"source_fingerprint": source, "doubtful": ()}
            receipts[partition_key] = receipt.model_copy(update=update)
    return Extracted(receipts, errors)


def _made_before(
    context: dg.AssetExecutionContext, receipts: ReceiptIOManager, extraction: Extraction
) -> dict[str, ExtractReceipt]:
    """Receipts that an earlier attempt of the same step has stored."""
    path, table = context.asset_key.path, extraction.table
    found = {key: receipts.store.find(ExtractReceipt, path, key) for key in context.partition_keys}
    return {
        key: receipt
        for key, receipt in found.items()
        if receipt is not None
        and receipt.run_id == extraction.run_id
        and receipt.table_id == table.table_id
        and _is_of(extraction.standpoint, receipt)
    }


def _is_of(standpoint: Standpoint, receipt: ExtractReceipt) -> bool:
    """Whether a receipt shows the same state, where a database snapshot keeps one."""
    point, made = standpoint.point, receipt.point_in_time
    return not point.database_snapshot or (made is not None and made.created == point.created)


def _verdicts(
    receipt: ExtractReceipt, *, mssql: SqlServer, extraction: Extraction
) -> list[Verdict]:
    from migration_assets.mssql.reader import measure_partition

    table = extraction.table
    key_range = table.key_range(receipt.partition_key)
    again = partial(measure_partition, mssql, table, key_range, extraction.level)
    return source_verdicts(receipt, again)


def _conclude_range(  # noqa: PLR0917 - what such a step is made of
    context: dg.AssetExecutionContext,
    table: TablePlan,
    specs: Sequence[dg.AssetCheckSpec],
    extracted: Extracted,
    compare: Compare,
    receipts: ReceiptIOManager,
    attempt: Attempt,
) -> None:
    """End a step of many partitions: log what was made of each, and fail for the rest."""
    errors = dict(extracted.errors)
    for partition_key, receipt in extracted.receipts.items():
        try:
            verdicts = compare(receipt)
            if any(verdict.failed for verdict in verdicts):
                errors[partition_key] = differs(table, verdicts)
            else:
                receipts.store.save(context.asset_key.path, receipt)
                context.log_event(materialization(context, receipt, table))
        except MigrationError as error:
            errors[partition_key] = error
        else:
            for result in results_of(specs, verdicts):
                context.log_event(evaluation(result, partition_key))
    if errors:
        made = len(context.partition_keys) - len(errors)
        failed = range_failure(errors, Stage.MSSQL, table, made=made)
        at_least_s = max(error.wait_s for error in errors.values())
        if at_least_s and failed.allow_retries:
            ask_for_patience(context.instance, Stage.MSSQL, at_least_s)
        outcome = retry_or_fail(failed, attempt.retries, at_least_s=at_least_s)
        raise outcome from next(iter(errors.values()))
