"""The mssql asset of a table whose engine is Spark: many partitions in one step and one Spark job.

A run of several partitions is one step. It logs each partition's materialization and check results
by itself, as far as they came, and fails for the rest: so the failed ones alone are made again. A
run of one partition ends as the arrow engine's does, and what lies downstream may follow in it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import dagster as dg

from migration_assets.assets.build import (
    DATA_VERSION_TAG,
    ExtractConfig,
    asset_arguments,
    data_version,
)
from migration_assets.assets.checks import (
    Verdict,
    check_specs,
    conclude,
    results_of,
    source_verdicts,
)
from migration_assets.assets.extractor import ExecutorExtraction, Extraction
from migration_assets.assets.failures import failure, range_failure, retry_or_fail
from migration_assets.assets.mssql import extract_metadata
from migration_assets.assets.receipt_store import ReceiptIOManager
from migration_assets.assets.translator import Stage
from migration_assets.errors import MigrationError, VerificationError
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.resource import LakeResource
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.resource import MssqlResource
from migration_assets.plan import TablePlan, VerificationLevel
from migration_assets.receipts import ExtractReceipt
from migration_assets.settings import Reader
from migration_assets.spark.extract import Extracted, extract_with_arrow, extract_with_jdbc
from migration_assets.spark.resource import POOL, SparkResource

CODE_VERSION_TAG = "dagster/code_version"


def build_spark_asset(
    table: TablePlan, spec: dg.AssetSpec, *, snapshot: bool
) -> dg.AssetsDefinition:
    """Build the asset that extracts a table with Spark.

    Args:
        table: what to extract.
        spec: the asset's spec.
        snapshot: whether the database allowed SNAPSHOT isolation when the plan was made.
    """
    specs = check_specs(spec, Stage.MSSQL, table)
    arguments = asset_arguments(spec, Stage.MSSQL, table)

    @dg.multi_asset(
        name=spec.key.to_python_identifier(),
        specs=[spec.with_io_manager_key("receipts")],
        check_specs=specs,
        # Outputs are optional then: a step of many partitions logs its events by itself.
        can_subset=True,
        # Several partitions make one run, and one Spark job.
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
        op_tags=arguments["op_tags"],
    )
    def mssql_table(  # noqa: PLR0917 - Dagster passes them by name
        context: dg.AssetExecutionContext,
        config: ExtractConfig,
        mssql: MssqlResource,
        lake: LakeResource,
        spark: SparkResource,
        receipts: dg.ResourceParam[ReceiptIOManager],
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[ExtractReceipt]]:
        from migration_assets.mssql.reader import measure_partition

        partition_keys, level = context.partition_keys, config.level(table)

        def verdicts(receipt: ExtractReceipt) -> list[Verdict]:
            key_range = table.key_range(receipt.partition_key)
            again = partial(measure_partition, mssql.client, table, key_range, level)
            return source_verdicts(receipt, again)

        if spec.key not in context.selected_asset_keys:
            raise dg.Failure(
                f"{table.full_name}: its checks belong to the extraction and do not run alone.",
                metadata={"next step": "Materialize the partition, or run the job `validate`."},
                allow_retries=False,
            )
        done: dict[str, ExtractReceipt] = {}
        if context.retry_number:
            done = _made_in_run(receipts, spec, table, partition_keys, context.run_id)
        extracted = extract_with_spark(
            mssql.client,
            lake.lake,
            spark,
            Extraction(
                table=table,
                run_id=context.run_id,
                level=level,
                snapshot=snapshot,
                batch_rows=config.batch_rows or mssql.client.settings.batch_rows,
            ),
            [key for key in partition_keys if key not in done],
        )
        made, errors = {**done, **extracted.receipts}, dict(extracted.errors)

        if not context.has_partition_key_range:
            (partition_key,) = partition_keys
            if partition_key in errors:
                error = errors[partition_key]
                failed = failure(error, Stage.MSSQL, table, partition_key)
                raise retry_or_fail(failed, context.retry_number) from error
            receipt = made[partition_key]
            yield from conclude(
                Stage.MSSQL,
                table,
                partition_key,
                specs=specs,
                verdicts=verdicts(receipt),
                result=dg.MaterializeResult(
                    asset_key=spec.key,
                    value=receipt,
                    metadata=extract_metadata(receipt, table),
                    data_version=data_version(receipt),
                ),
            )
            return
        for partition_key, receipt in made.items():
            try:
                found = verdicts(receipt)
            except MigrationError as error:
                errors[partition_key] = error
                continue
            if any(verdict.failed for verdict in found):
                errors[partition_key] = _differs(table, found)
            else:
                receipts.store.save(spec.key.path, receipt)
                context.log_event(_materialization(spec, receipt, table))
            for result in results_of(specs, found):
                context.log_event(_evaluation(result, partition_key))
        if errors:
            failed = range_failure(
                errors, Stage.MSSQL, table, made=len(partition_keys) - len(errors)
            )
            raise retry_or_fail(failed, context.retry_number) from next(iter(errors.values()))

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

    table = extraction.table
    doing = f"Extracting {table.full_name} with Spark"
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
    try:
        check_columns(mssql, table)
        if not partition_keys:
            return Extracted()
        extracted = spark.run(
            doing,
            lambda session: readers[spark.settings.reader](
                session, partition_keys, connections=spark.settings.mssql_connections
            ),
        )
        if spark.settings.reader is Reader.JDBC:
            extracted = _with_source_fingerprints(extracted, mssql, extraction)
    except MigrationError as error:
        return Extracted(errors=dict.fromkeys(partition_keys, error))
    return extracted


def _jdbc_frame(
    session: Any, partition_keys: Sequence[str], *, spark: SparkResource, task: ExecutorExtraction
) -> Any:
    from migration_assets.mssql.jdbc import (
        jdbc_options,
        jdbc_predicates,
        jdbc_table,
        jdbc_url,
    )

    table = task.extraction.table
    frame = session.read.jdbc(
        jdbc_url(task.mssql),
        jdbc_table(table),
        predicates=jdbc_predicates(table, partition_keys),
        properties=jdbc_options(
            task.mssql,
            snapshot=task.extraction.snapshot,
            fetch_size=spark.settings.jdbc_fetch_size,
        ),
    )
    return frame.select(*(_quoted(column.name) for column in table.columns))


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _with_source_fingerprints(
    extracted: Extracted, mssql: SqlServer, extraction: Extraction
) -> Extracted:
    """Add what SQL Server aggregates, which Spark's reader cannot ask on its connections."""
    from migration_assets.mssql.reader import measure_partition

    if extraction.level is VerificationLevel.NONE:
        return extracted
    table = extraction.table
    receipts, errors = {}, dict(extracted.errors)
    for partition_key, receipt in extracted.receipts.items():
        try:
            measured = measure_partition(
                mssql, table, table.key_range(partition_key), extraction.level
            )
        except MigrationError as error:
            errors[partition_key] = error
        else:
            receipts[partition_key] = receipt.model_copy(update={"source_fingerprint": measured})
    return Extracted(receipts, errors)


def _made_in_run(
    receipts: ReceiptIOManager,
    spec: dg.AssetSpec,
    table: TablePlan,
    partition_keys: Sequence[str],
    run_id: str,
) -> dict[str, ExtractReceipt]:
    """Receipts that an earlier attempt of the same step has stored."""
    found = {key: receipts.store.find(ExtractReceipt, spec.key.path, key) for key in partition_keys}
    return {
        key: receipt
        for key, receipt in found.items()
        if receipt is not None and receipt.run_id == run_id and receipt.table_id == table.table_id
    }


def _materialization(
    spec: dg.AssetSpec, receipt: ExtractReceipt, table: TablePlan
) -> dg.AssetMaterialization:
    return dg.AssetMaterialization(
        spec.key,
        partition=receipt.partition_key,
        metadata=extract_metadata(receipt, table),
        tags={
            DATA_VERSION_TAG: data_version(receipt).value,
            CODE_VERSION_TAG: table.table_id,
        },
    )


def _evaluation(result: dg.AssetCheckResult, partition_key: str) -> dg.AssetCheckEvaluation:
    assert result.asset_key is not None  # noqa: S101 - results_of gives both
    assert result.check_name is not None  # noqa: S101 - likewise
    return dg.AssetCheckEvaluation(
        asset_key=result.asset_key,
        check_name=result.check_name,
        passed=result.passed,
        metadata=result.metadata,
        severity=result.severity,
        description=result.description,
        blocking=True,
        partition=partition_key,
    )


def _differs(table: TablePlan, verdicts: Sequence[Verdict]) -> VerificationError:
    found = " ".join(f"{v.check}: {v.describe()}" for v in verdicts if v.failed)
    return VerificationError(f"The copy of {table.full_name} differs. {found}")
