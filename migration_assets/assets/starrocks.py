"""The starrocks asset: StarRocks loads a partition from the Iceberg snapshot that holds it."""

import time
from collections.abc import Iterator
from functools import partial

import dagster as dg

from migration_assets.assets.build import (
    VerificationConfig,
    asset_arguments,
    data_version,
)
from migration_assets.assets.checks import (
    check_specs,
    comparable,
    conclude,
    rows_verdict,
    target_verdicts,
)
from migration_assets.assets.directions import partition_directions
from migration_assets.assets.failures import failures
from migration_assets.assets.loaded_rows import LoadedRows, replaces_foreign_rows
from migration_assets.assets.receipt_store import (
    ReceiptIOManager,
    ReceiptStore,
    check_receipt,
)
from migration_assets.assets.rows import compare_loaded
from migration_assets.assets.shares import pace_metadata
from migration_assets.assets.translator import Stage
from migration_assets.assets.windows import loading_window
from migration_assets.choices import VerificationLevel
from migration_assets.errors import ForeignCommitError, ObjectNotFoundError, SupersededError
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.resource import LakeResource
from migration_assets.plan import TablePlan
from migration_assets.receipts import CommitReceipt, LoadReceipt
from migration_assets.starrocks.resource import StarRocksResource


def build_starrocks_asset(
    table: TablePlan, spec: dg.AssetSpec, upstream: dg.AssetKey
) -> dg.AssetsDefinition:
    """Build the asset that loads a table's commits, partition by partition."""
    specs = check_specs(spec, Stage.STARROCKS, table)

    def starrocks_table(  # noqa: PLR0917 - Dagster passes them by name
        context: dg.AssetExecutionContext,
        config: VerificationConfig,
        committed: CommitReceipt,
        lake: LakeResource,
        starrocks: StarRocksResource,
        receipts: dg.ResourceParam[ReceiptIOManager],
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[LoadReceipt]]:
        from migration_assets.starrocks.load import load_partition, measure
        from migration_assets.starrocks.tables import ensure_table

        partition_key, started = context.partition_key, time.perf_counter()
        with failures(context, Stage.STARROCKS, table, partition_key) as attempt:
            check_receipt(committed, table)
            pinned = partial(_pinned, lake.lake, table, committed, receipts.store, upstream)
            snapshot_id = pinned()
            rows = LoadedRows(receipts.store, spec.key.path, table, committed)
            client, level = starrocks.client, config.level(table)
            with (
                loading_window(receipts.store, spec.key.path, table, partition_key),
                client.connection(),
            ):
                ensure_table(client, table)
                may_replace = replaces_foreign_rows(context.run.tags, table)
                replaced = rows.refuse_foreign(client, level, may_replace=may_replace)
                rows.expect()
                load_partition(client, table, partition_key, snapshot_id, run_id=context.run.run_id)
                rows.expect()
                # A newer commit may have come while StarRocks was reading the older one.
                pinned()
                verdicts = []
                if level is not VerificationLevel.NONE:
                    look = partial(measure, client, table, table.key_range(partition_key), level)
                    expected = comparable(committed.fingerprint, table, committed.table_id)
                    verdicts = target_verdicts(expected, lambda: rows.looked_at(look()))
                if config.compares_rows(table):
                    compared = compare_loaded(client, lake.lake, table, committed)
                    verdicts.append(rows_verdict(compared))
            receipt = LoadReceipt(
                **committed.model_dump(
                    include={"table_id", "partition_key", "source_partition", "range_id"}
                ),
                attempt=committed.attempt,
                run_id=context.run.run_id,
                rows=committed.rows,
                seconds=time.perf_counter() - started,
                snapshot_id=snapshot_id,
                fingerprint=None,
            )
            result = dg.MaterializeResult(
                value=receipt,
                metadata={
                    "dagster/partition_row_count": receipt.rows,
                    "snapshot id": str(snapshot_id),
                    **partition_directions(
                        Stage.STARROCKS,
                        table,
                        partition_key,
                        context.run.tags,
                        snapshot_id=snapshot_id,
                    ),
                    **pace_metadata(context.instance, spec.key, table, receipt),
                    **({"foreign rows replaced": replaced} if replaced else {}),
                    **attempt.metadata(),
                },
                data_version=data_version(receipt),
            )
            yield from conclude(
                Stage.STARROCKS, table, partition_key, specs=specs, verdicts=verdicts, result=result
            )

    definition: dg.AssetsDefinition = dg.asset(
        **asset_arguments(spec, Stage.STARROCKS, table), ins={"committed": dg.AssetIn(key=upstream)}
    )(starrocks_table)
    return definition


def _pinned(
    lake: Lake,
    table: TablePlan,
    committed: CommitReceipt,
    store: ReceiptStore,
    upstream: dg.AssetKey,
) -> int:
    """The snapshot to load from, which holds what was committed.

    Raises:
        SupersededError: a newer commit of ours has replaced it; its load is what is missing.
        ForeignCommitError: somebody else changed, rolled back or dropped it.
    """
    from migration_assets.iceberg.partitions import snapshot_holding, was_committed_since

    try:
        return snapshot_holding(lake, table, committed)
    except (SupersededError, ObjectNotFoundError) as error:
        newest = store.find(CommitReceipt, upstream.path, committed.partition_key)
        if newest is None or newest.attempt != committed.attempt:
            raise
        # A run of ours that has committed and not yet stored its receipt, or stored it first.
        if was_committed_since(lake, table, committed):
            raise
        raise ForeignCommitError(
            error.found,
            next_step="No run of ours did that. See the table's history; `migration-assets run "
            "--failed` extracts the partition again, and commits and loads that.",
        ) from error
