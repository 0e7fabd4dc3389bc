"""The mssql asset of a table with a barrier: all its partitions in one step, at one point in time.

The step stores nothing before everything is read and compared, so receipts of two attempts never
stand beside each other. It refuses a part of the partitions: read alone, they would show another
state than the others.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from migration_assets.assets.build import ExtractConfig, memory_limit
from migration_assets.assets.checks import Verdict, check_specs, results_of, source_verdicts
from migration_assets.assets.extractor import Extraction
from migration_assets.assets.failures import failures
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
from migration_assets.errors import ConfigurationError, MigrationError, VerificationError
from migration_assets.iceberg.resource import LakeResource
from migration_assets.mssql.resource import MssqlResource
from migration_assets.plan import TablePlan
from migration_assets.receipts import ExtractReceipt


def build_barrier_asset(table: TablePlan, spec: dg.AssetSpec) -> dg.AssetsDefinition:
    """Build the asset that extracts a table behind a barrier.

    Args:
        table: what to extract.
        spec: the asset's spec.
    """
    specs = check_specs(spec, Stage.MSSQL, table)

    @dg.multi_asset(**ranged_arguments(spec, table, specs))
    def mssql_table(
        context: dg.AssetExecutionContext,
        config: ExtractConfig,
        mssql: MssqlResource,
        lake: LakeResource,
        receipts: dg.ResourceParam[ReceiptIOManager],
    ) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[ExtractReceipt]]:
        from migration_assets.assets.barrier_extraction import discard, extract_at_barrier
        from migration_assets.mssql.introspection import check_columns
        from migration_assets.mssql.point_in_time import Standpoint

        refuse_checks_alone(context, table, spec)
        with failures(context, Stage.MSSQL, table, None) as attempt:
            refuse_part(table, context.partition_keys)
            check_columns(mssql.client, table)
            extraction = Extraction(
                table=table,
                run_id=context.run.run_id,
                level=config.level(table),
                standpoint=Standpoint(snapshot=False),  # the barrier gives another
                batch_rows=config.batch_rows or mssql.client.settings.batch_rows,
                memory=memory_limit(),
            )
            made = extract_at_barrier(mssql.client, lake.lake, extraction, table.partition_keys)
            verdicts = {key: source_verdicts(made[key], _none) for key in made}
            if not context.has_partition_key_range:
                ((key, receipt),) = made.items()
                yield from conclude_partition(
                    context, table, specs, receipt, verdicts[key], spec.key, attempt
                )
                return
            try:
                refuse_differences(table, verdicts)
            except MigrationError:
                discard(lake.lake, made.values())
                raise
            for receipt in made.values():
                receipts.store.save(context.asset_key.path, receipt)
            # Only now, so that what follows begins with all receipts of one set.
            for key, receipt in made.items():
                context.log_event(materialization(context, receipt, table))
                for result in results_of(specs, verdicts[key]):
                    context.log_event(evaluation(result, key))

    definition: dg.AssetsDefinition = mssql_table
    return definition


def _none() -> None:
    """Nobody has to look twice at a source that shows one state."""


def refuse_part(table: TablePlan, partition_keys: Sequence[str]) -> None:
    """Refuse to extract some partitions without the others.

    Raises:
        ConfigurationError: one is missing.
    """
    missing = [key for key in table.partition_keys if key not in set(partition_keys)]
    if missing:
        raise part_of_a_barrier(table, missing[0])


def part_of_a_barrier(table: TablePlan, missing: str) -> ConfigurationError:
    """What to raise where a partition is to be left out."""
    return ConfigurationError(
        f"{table.full_name} has consistency barrier: its {len(table.partition_keys)} partitions show "
        f"one point in time, and without {missing} the others would show another.",
        code="MA-CF-026",
        next_step="Extract all partitions, in one run: `migration-assets run --tables "
        f"{shlex.quote(table.full_name)}`, or all of them selected in the UI's asset graph.",
    )


def refuse_differences(table: TablePlan, verdicts: Mapping[str, Sequence[Verdict]]) -> None:
    """Refuse the whole set when the copy of a partition differs.

    Raises:
        VerificationError: one does.
    """
    failed = {key: found for key, found in verdicts.items() if any(v.failed for v in found)}
    for key, found in failed.items():
        more = f" So do {len(failed) - 1} more partitions." if len(failed) > 1 else ""
        raise VerificationError(
            f"Partition {key}: {differs(table, found).found}{more} None of the "
            f"{len(verdicts)} partitions counts: they show one point in time together.",
            code="MA-VE-002",
            next_step="Find out who changed the data, then extract the table again.",
        )
