"""What steps of many partitions have in common: events that they log by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from migration_assets.assets.build import (
    DATA_VERSION_TAG,
    POINT_IN_TIME_TAG,
    asset_arguments,
    data_version,
    point_tag,
)
from migration_assets.assets.checks import Verdict, conclude
from migration_assets.assets.failures import Attempt
from migration_assets.assets.mssql import extract_metadata
from migration_assets.assets.shares import pace_metadata
from migration_assets.assets.translator import Stage
from migration_assets.errors import VerificationError
from migration_assets.plan import TablePlan
from migration_assets.receipts import ExtractReceipt

CODE_VERSION_TAG = "dagster/code_version"


def ranged_arguments(
    spec: dg.AssetSpec, table: TablePlan, specs: Sequence[dg.AssetCheckSpec]
) -> dict[str, Any]:
    """Arguments of `@dagster.multi_asset` for an mssql asset whose partitions share a step."""
    arguments = asset_arguments(spec, Stage.MSSQL, table)
    return {
        "name": spec.key.to_python_identifier(),
        "specs": [spec.with_io_manager_key("receipts")],
        "check_specs": specs,
        # Outputs are optional then: a step of many partitions logs its events by itself.
        "can_subset": True,
        # Several partitions make one run, and one step.
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "pool": arguments["pool"],
        "op_tags": arguments["op_tags"],
    }


def refuse_checks_alone(
    context: dg.AssetExecutionContext, table: TablePlan, spec: dg.AssetSpec
) -> None:
    """Refuse a step that is to evaluate the checks without extracting.

    Raises:
        dagster.Failure: it is one.
    """
    if spec.key not in context.selected_asset_keys:
        raise dg.Failure(
            f"MA-CF-026: {table.full_name}: its checks belong to the extraction and do not run alone.",
            metadata={"next step": "Materialize the partition, or run the job `validate`."},
            allow_retries=False,
        )


def conclude_partition(  # noqa: PLR0917 - what such a step is made of
    context: dg.AssetExecutionContext,
    table: TablePlan,
    specs: Sequence[dg.AssetCheckSpec],
    receipt: ExtractReceipt,
    verdicts: Sequence[Verdict],
    asset_key: dg.AssetKey,
    attempt: Attempt,
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[ExtractReceipt]]:
    """End a step of one partition, as the arrow engine's ends.

    Raises:
        dagster.Failure: a check failed.
    """
    result = dg.MaterializeResult(
        asset_key=asset_key,
        value=receipt,
        metadata={
            **extract_metadata(receipt, table, context.run.tags),
            **pace_metadata(context.instance, asset_key, table, receipt),
            **attempt.metadata(),
        },
        data_version=data_version(receipt),
        tags={POINT_IN_TIME_TAG: point_tag(receipt.point_in_time)},
    )
    yield from conclude(
        Stage.MSSQL, table, receipt.partition_key, specs=specs, verdicts=verdicts, result=result
    )


def materialization(
    context: dg.AssetExecutionContext, receipt: ExtractReceipt, table: TablePlan
) -> dg.AssetMaterialization:
    """The event of an extracted partition."""
    return dg.AssetMaterialization(
        context.asset_key,
        partition=receipt.partition_key,
        metadata={
            **extract_metadata(receipt, table, context.run.tags),
            **pace_metadata(context.instance, context.asset_key, table, receipt),
        },
        tags={
            DATA_VERSION_TAG: data_version(receipt).value,
            CODE_VERSION_TAG: table.table_id,
            POINT_IN_TIME_TAG: point_tag(receipt.point_in_time),
        },
    )


def evaluation(result: dg.AssetCheckResult, partition_key: str) -> dg.AssetCheckEvaluation:
    """The event of a partition's check."""
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


def differs(table: TablePlan, verdicts: Sequence[Verdict]) -> VerificationError:
    """The error of checks that failed."""
    found = " ".join(f"{v.check}: {v.describe()}" for v in verdicts if v.failed)
    return VerificationError(f"The copy of {table.full_name} differs. {found}", code="MA-VE-001")
