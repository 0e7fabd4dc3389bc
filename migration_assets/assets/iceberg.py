"""The iceberg asset: the files of a receipt become the current content of a partition."""

from collections.abc import Iterator

import dagster as dg

from migration_assets.assets.build import asset_arguments, data_version
from migration_assets.assets.checks import check_specs, conclude, count_verdict
from migration_assets.assets.directions import partition_directions
from migration_assets.assets.failures import failures
from migration_assets.assets.loaded_rows import replaces_foreign_rows
from migration_assets.assets.receipt_store import ReceiptIOManager, check_receipt
from migration_assets.assets.shares import pace_metadata
from migration_assets.assets.translator import Stage
from migration_assets.iceberg.resource import LakeResource
from migration_assets.plan import TablePlan
from migration_assets.receipts import CommitReceipt, ExtractReceipt


def build_iceberg_asset(
    table: TablePlan, spec: dg.AssetSpec, upstream: dg.AssetKey, plan_id: str
) -> dg.AssetsDefinition:
    """Build the asset that commits a table's extracts, partition by partition."""
    specs = check_specs(spec, Stage.ICEBERG, table)

    def iceberg_table(
        context: dg.AssetExecutionContext,
        extracted: ExtractReceipt,
        lake: LakeResource,
        receipts: dg.ResourceParam[ReceiptIOManager],
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[CommitReceipt]]:
        from migration_assets.iceberg.commit import commit
        from migration_assets.iceberg.partitions import partition_rows

        partition_key = context.partition_key
        with failures(context, Stage.ICEBERG, table, partition_key) as attempt:
            check_receipt(extracted, table)
            (receipt,) = commit(
                lake.lake,
                table,
                [extracted],
                run_id=context.run.run_id,
                plan_id=plan_id,
                intents=receipts.store.intents(spec.key.path),
                replaces_foreign=replaces_foreign_rows(context.run.tags, table),
            )
            rows = partition_rows(lake.lake, table, [partition_key])[receipt.source_partition]
            result = dg.MaterializeResult(
                value=receipt,
                metadata={
                    "dagster/partition_row_count": receipt.rows,
                    "snapshot id": str(receipt.snapshot_id),
                    **partition_directions(
                        Stage.ICEBERG,
                        table,
                        partition_key,
                        context.run.tags,
                        snapshot_id=receipt.snapshot_id,
                    ),
                    "files": len(receipt.files),
                    "bytes": sum(file.bytes for file in receipt.files),
                    **pace_metadata(context.instance, spec.key, table, receipt),
                    **attempt.metadata(),
                },
                data_version=data_version(receipt),
            )
            verdicts = [count_verdict(extracted.rows, rows, ("extracted", "iceberg"))]
            yield from conclude(
                Stage.ICEBERG, table, partition_key, specs=specs, verdicts=verdicts, result=result
            )

    definition: dg.AssetsDefinition = dg.asset(
        **asset_arguments(spec, Stage.ICEBERG, table), ins={"extracted": dg.AssetIn(key=upstream)}
    )(iceberg_table)
    return definition
