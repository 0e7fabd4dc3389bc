"""The schedules that migrate the open time window again: which tables, which partition, when."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg
import pytest

from migration_assets.choices import TableConsistency
from migration_assets.definitions import build_definitions
from migration_assets_tests.unit.histories import table
from migration_assets_tests.unit.test_windows import extended


def test_the_open_window_is_made_again_every_night(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MSSQL_HOST", "MSSQL_DATABASE", "STARROCKS_HOST", "STARROCKS_USER"):
        monkeypatch.setenv(name, "nobody")
    _, plan = extended()
    (windowed,) = plan.tables
    other = table("Other", partitions=3)
    plan = plan.model_copy(update={"tables": (windowed, other)})
    definitions = build_definitions(plan)
    dg.Definitions.validate_loadable(definitions)
    (schedule,) = [one for one in definitions.schedules or [] if one.name.endswith("_open_window")]
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    job = definitions.resolve_job_def(schedule.job_name)
    with dg.DagsterInstance.ephemeral() as instance:
        night = datetime(2024, 6, 3, 2, tzinfo=UTC)
        context = dg.build_schedule_context(
            instance,
            scheduled_execution_time=night,
            repository_def=definitions.get_repository_def(),
        )
        (wanted,) = schedule.evaluate_tick(context).run_requests or []
        assert wanted.partition_key == windowed.partition_keys[-1]
        # Its selection and partition make a run of that job.
        assert wanted.asset_selection is not None
        assert set(wanted.asset_selection) == set(job.asset_layer.selected_asset_keys)
        assert job.partitions_def is not None
        assert job.partitions_def.has_partition_key(wanted.partition_key)
        again = schedule.evaluate_tick(context).run_requests or []
        assert again[0].run_key == wanted.run_key


def test_a_table_at_a_barrier_has_none() -> None:
    _, plan = extended()
    at_barrier = [
        t.model_copy(update={"consistency": TableConsistency.BARRIER}) for t in plan.tables
    ]
    plan = plan.model_copy(update={"tables": tuple(at_barrier)})
    assert plan.tables[0].at_barrier
    names = [one.name for one in build_definitions(plan).schedules or []]
    assert names == ["maintenance_every_night"]
