"""The mssql asset: rows of a key range become data files and a receipt."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import dagster as dg

from migration_assets.assets.build import (
    POINT_IN_TIME_TAG,
    ExtractConfig,
    asset_arguments,
    data_version,
    memory_limit,
    point_tag,
)
from migration_assets.assets.checks import (
    check_specs,
    conclude,
    describe_moved,
    source_verdicts,
)
from migration_assets.assets.directions import partition_directions
from migration_assets.assets.extractor import Extraction
from migration_assets.assets.failures import failures
from migration_assets.assets.shares import pace_metadata
from migration_assets.assets.translator import Stage
from migration_assets.choices import Consistency
from migration_assets.fingerprint import CUT
from migration_assets.iceberg.resource import LakeResource
from migration_assets.mssql.resource import MssqlResource
from migration_assets.plan import TablePlan
from migration_assets.receipts import ExtractReceipt


def build_mssql_asset(
    table: TablePlan, spec: dg.AssetSpec, *, consistency: Consistency
) -> dg.AssetsDefinition:
    """Build the asset that extracts a table, partition by partition.

    Args:
        table: what to extract.
        spec: the asset's spec.
        consistency: which rows are read as of one point in time.
    """
    specs = check_specs(spec, Stage.MSSQL, table)

    def mssql_table(
        context: dg.AssetExecutionContext,
        config: ExtractConfig,
        mssql: MssqlResource,
        lake: LakeResource,
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[ExtractReceipt]]:
        from migration_assets.mssql.introspection import check_columns
        from migration_assets.mssql.point_in_time import find_standpoint
        from migration_assets.mssql.reader import measure_partition

        partition_key, level = context.partition_key, config.level(table)
        with failures(context, Stage.MSSQL, table, partition_key) as attempt:
            standpoint = find_standpoint(mssql.client, consistency, table.source_database)
            check_columns(mssql.client, table)
            extraction = Extraction(
                table=table,
                run_id=context.run.run_id,
                level=level,
                standpoint=standpoint,
                batch_rows=config.batch_rows or mssql.client.settings.batch_rows,
                memory=memory_limit(),
            )
            receipt = extraction.read(mssql.client, lake.lake, partition_key)
            again = partial(
                measure_partition, mssql.client, table, table.key_range(partition_key), level
            )
            verdicts = source_verdicts(receipt, again)
            result = dg.MaterializeResult(
                value=receipt,
                metadata={
                    **extract_metadata(receipt, table, context.run.tags),
                    **pace_metadata(context.instance, spec.key, table, receipt),
                    **attempt.metadata(),
                },
                data_version=data_version(receipt),
                tags={POINT_IN_TIME_TAG: point_tag(receipt.point_in_time)},
            )
            yield from conclude(
                Stage.MSSQL, table, partition_key, specs=specs, verdicts=verdicts, result=result
            )

    definition: dg.AssetsDefinition = dg.asset(**asset_arguments(spec, Stage.MSSQL, table))(
        mssql_table
    )
    return definition


def consistency_metadata(receipt: ExtractReceipt) -> dict[str, Any]:
    """Which state of the source the rows show, and what of it moved meanwhile."""
    point = receipt.point_in_time.named if receipt.point_in_time is not None else {}
    return {
        "read consistency": receipt.consistency,
        **{name.replace("-", " "): value for name, value in point.items()},
        **({"source moved": describe_moved(receipt.moved)} if receipt.moved else {}),
    }


def extract_metadata(
    receipt: ExtractReceipt, table: TablePlan, run_tags: Mapping[str, str]
) -> dict[str, Any]:
    """Metadata of a materialized partition.

    Args:
        receipt: of its extraction.
        table: the plan of its table.
        run_tags: of the run.
    """
    cut = {
        column.name: receipt.fingerprint.values.get(f"{column.name}.{CUT}", 0)
        for column in table.columns
        if column.cut
    }
    return {
        "dagster/partition_row_count": receipt.rows,
        "files": len(receipt.files),
        "bytes": sum(file.bytes for file in receipt.files),
        **consistency_metadata(receipt),
        **{f"values of {name} cut in StarRocks": count for name, count in cut.items()},
        **partition_directions(Stage.MSSQL, table, receipt.partition_key, run_tags),
    }
