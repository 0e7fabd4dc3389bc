"""Tables whose partitions have a history in a Dagster instance of their own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import dagster as dg
import pytest

from migration_assets.assets.build import DATA_VERSION_TAG, NO_POINT, POINT_IN_TIME_TAG
from migration_assets.assets.translator import STAGES, MigrationTranslator, Stage
from migration_assets.operations.run import Selection, _work
from migration_assets.operations.schedule import Schedule, Work
from migration_assets.operations.status import (
    State,
    partition_statuses,
)
from migration_assets.operations.workers import Batch
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets_tests.unit.tables import INT, table_plan

TRANSLATOR = MigrationTranslator()
MSSQL, ICEBERG, STARROCKS = STAGES


def table(name: str, *, rows: int = 0, partitions: int = 1, isolated: bool = False) -> TablePlan:
    made = table_plan(
        [("id", INT)], key=["id"], name=name, cuts=[str(n) for n in range(1, partitions)]
    )
    return made.model_copy(update={"rows": rows, "isolated": isolated})


def plan_of(*tables: TablePlan) -> MigrationPlan:
    return MigrationPlan(server="server", database="shop", tables=tables)


@pytest.fixture
def instance(monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    for name in ("MSSQL_HOST", "MSSQL_USER", "MSSQL_DATABASE", "STARROCKS_HOST", "STARROCKS_USER"):
        monkeypatch.setenv(name, "nobody")  # Dagster makes no run without them
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def materialize(
    instance: dg.DagsterInstance,
    of: TablePlan,
    stage: Stage,
    key: str,
    *,
    attempt: str = "a1",
    table_id: str = "",
    point: str = NO_POINT,
) -> None:
    """Note a materialization as the assets of this project do."""
    version = f"{table_id or of.table_id}-{attempt}"
    event = dg.AssetMaterialization(
        TRANSLATOR.asset_key(stage, of),
        partition=key,
        tags={DATA_VERSION_TAG: version, POINT_IN_TIME_TAG: point},
    )
    instance.report_runless_asset_event(event)


def states(instance: dg.DagsterInstance, of: TablePlan) -> dict[str, list[State]]:
    found = partition_statuses(instance, [of], TRANSLATOR)
    return {one.partition_key: [one.states[stage] for stage in STAGES] for one in found}


def work(
    instance: dg.DagsterInstance, tables: Sequence[TablePlan], selection: Selection
) -> list[tuple[str, str, tuple[Stage, ...]]]:
    found = _work(instance, tables, selection, TRANSLATOR)
    return [(item.table.source_name, item.partition_key, item.stages) for item in found]


def batches(plan: MigrationPlan, stages: tuple[Stage, ...] = STAGES) -> list[Batch]:
    items = [Work(one, key, stages) for one in plan.tables for key in one.partition_keys]
    return Schedule(plan, items, TRANSLATOR).first()
