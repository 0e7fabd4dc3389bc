"""Maintenance as a Dagster job: what it refuses, what it does, and one table's failure."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from migration_assets.assets import maintenance
from migration_assets.assets.maintenance import (
    MAINTENANCE_JOB,
    MAINTENANCE_OP,
    MaintenanceConfig,
    PyIcebergEngine,
    Upkeep,
    maintain_table,
)
from migration_assets.assets.receipt_store import ReceiptStore
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.definitions import build_definitions
from migration_assets.errors import ConfigurationError
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.output_files import local_path
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.receipts import CommitReceipt, LoadReceipt, Receipt
from migration_assets_tests.unit.iceberg_tables import (
    commit_all,
    compact,
    expected_rows,
    extract,
    iceberg_table,
    planned_table,
    stored_rows,
)

TRANSLATOR = MigrationTranslator()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"engine": "trino"}, "no engine 'trino'"),
        ({"until": "mssql"}, "until is 'mssql'"),
        ({"compact": True}, "pyiceberg cannot compact"),
        ({"orphan_age_hours": 23}, "no_extraction_is_running"),
        ({"orphan_age_hours": -1}, "orphan_age_hours 0"),
        ({"target_file_mb": 0}, "at least 1"),
        (
            {"engine": "spark", "orphan_age_hours": 23, "no_extraction_is_running": True},
            "Use engine pyiceberg",
        ),
    ],
)
def test_what_no_run_can_do_is_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        MaintenanceConfig(**given).check()


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"engine": "spark", "compact": True},
        {"orphan_age_hours": 24},
        {"orphan_age_hours": 0, "remove_orphans": False},
        {"orphan_age_hours": 0, "no_extraction_is_running": True},
    ],
)
def test_what_a_run_can_do_is_not(given: dict[str, Any]) -> None:
    MaintenanceConfig(**given).check()


def path_of(stage: Stage, table: TablePlan) -> list[str]:
    return list(TRANSLATOR.asset_key(stage, table).path)


def save(lake: Lake, table: TablePlan, stage: Stage, *receipts: Receipt) -> None:
    for receipt in receipts:
        ReceiptStore(lake, table.source_database).save(path_of(stage, table), receipt)


def committed(lake: Lake, table: TablePlan, key: str) -> CommitReceipt:
    store = ReceiptStore(lake, table.source_database)
    return store.load(CommitReceipt, path_of(Stage.ICEBERG, table), key)


def migrate(
    lake: Lake, table: TablePlan, number: int, *, load: bool = True, rows: int = 10
) -> CommitReceipt:
    """Extract and commit a partition, with all receipts; and load it, as far as receipts tell."""
    made = extract(lake, table, number, rows=rows)
    save(lake, table, Stage.MSSQL, made)
    (receipt,) = commit_all(lake, table, [made])
    save(lake, table, Stage.ICEBERG, receipt)
    if load:
        plain = receipt.model_dump(include=set(LoadReceipt.model_fields) - {"fingerprint"})
        save(lake, table, Stage.STARROCKS, LoadReceipt(**plain, fingerprint=None))
    return receipt


def maintain(lake: Lake, table: TablePlan, **given: Any) -> Upkeep:
    config = MaintenanceConfig(**given)
    config.check()
    done = maintain_table(PyIcebergEngine(lake), lake, table, config, translator=TRANSLATOR)
    assert not done.error
    return done


def listed(lake: Lake, table: TablePlan) -> set[int]:
    return {snapshot.snapshot_id for snapshot in iceberg_table(lake, table).snapshots()}


@pytest.fixture
def nothing_is_young(monkeypatch: pytest.MonkeyPatch) -> None:
    """Expiry of all but the newest snapshot, whatever its age."""
    from datetime import timedelta

    from migration_assets.iceberg import maintenance as rules

    monkeypatch.setattr(rules, "SNAPSHOTS_KEPT", 1)
    monkeypatch.setattr(rules, "SNAPSHOT_AGE", timedelta(seconds=-1))


@pytest.mark.usefixtures("nothing_is_young")
class TestExpiry:
    def test_what_a_load_waits_for_stays_and_all_after_it(
        self, lake: Lake, table: TablePlan
    ) -> None:
        first = migrate(lake, table, 0)
        waiting = migrate(lake, table, 1, load=False)
        later = [migrate(lake, table, number).snapshot_id for number in (2, 3)]
        done = maintain(lake, table)
        assert (done.snapshots_expired, done.snapshots_left, done.snapshots_needed) == (1, 3, 1)
        assert listed(lake, table) == {waiting.snapshot_id, *later}
        assert first.snapshot_id not in listed(lake, table)

    def test_a_load_of_an_earlier_attempt_does_not_count(
        self, lake: Lake, table: TablePlan
    ) -> None:
        migrate(lake, table, 0)
        again = migrate(lake, table, 0, load=False)
        migrate(lake, table, 1)
        maintain(lake, table)
        assert again.snapshot_id in listed(lake, table)

    def test_when_all_is_loaded_only_the_newest_stays(self, lake: Lake, table: TablePlan) -> None:
        for number in range(4):
            last = migrate(lake, table, number)
        assert maintain(lake, table).snapshots_expired == 3
        assert listed(lake, table) == {last.snapshot_id}

    def test_where_nothing_is_loaded_commits_keep_none(self, lake: Lake, table: TablePlan) -> None:
        for number in range(4):
            migrate(lake, table, number, load=False)
        assert maintain(lake, table).snapshots_expired == 0
        assert maintain(lake, table, until="iceberg").snapshots_expired == 3

    def test_a_commit_that_was_killed_before_its_receipt_keeps_its_snapshot(
        self, lake: Lake, table: TablePlan
    ) -> None:
        migrate(lake, table, 0)
        made = extract(lake, table, 1)
        save(lake, table, Stage.MSSQL, made)
        (lost,) = commit_all(lake, table, [made])
        migrate(lake, table, 2)
        maintain(lake, table, until="iceberg")
        assert lost.snapshot_id in listed(lake, table)
        compact(lake, table, 1)
        assert commit_all(lake, table, [made])[0].snapshot_id == lost.snapshot_id

    def test_can_be_left_out(self, lake: Lake, table: TablePlan) -> None:
        migrate(lake, table, 0)
        migrate(lake, table, 1)
        assert maintain(lake, table, expire=False).snapshots_expired == 0
        assert len(listed(lake, table)) == 2


@pytest.mark.usefixtures("nothing_is_young")
def test_a_load_after_compaction_and_expiry_finds_its_rows(lake: Lake, table: TablePlan) -> None:
    """The receipt names the new files, so no snapshot from before is missed."""
    from migration_assets.iceberg.partitions import snapshot_holding

    before = migrate(lake, table, 0, load=False)
    compact(lake, table, 0)
    current = iceberg_table(lake, table).current_snapshot().snapshot_id
    done = maintain(lake, table)
    assert (done.receipts_renewed, done.snapshots_expired) == (1, 1)
    receipt = committed(lake, table, "p000")
    assert (receipt.attempt, receipt.rows) == (before.attempt, before.rows)
    assert receipt.snapshot_id == current == snapshot_holding(lake, table, receipt)
    assert receipt.files != before.files
    assert maintain(lake, table).receipts_renewed == 0


def test_a_newer_receipt_is_not_replaced(
    lake: Lake, table: TablePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from migration_assets.iceberg import maintenance as rules

    migrate(lake, table, 0)
    compact(lake, table, 0)
    real = rules.renewed_receipts

    def renewed_receipts(*arguments: Any) -> Any:
        found = real(*arguments)
        migrate(lake, table, 0, rows=3)
        return found

    monkeypatch.setattr(rules, "renewed_receipts", renewed_receipts)
    maintain(lake, table, expire=False)
    assert committed(lake, table, "p000").rows == 3


class TestOrphans:
    def make_old(self, lake: Lake) -> None:
        for path in local_path(lake.settings.warehouse).rglob("*"):
            os.utime(path, (1_000_000, 1_000_000))

    def test_files_of_stored_receipts_stay_those_of_a_killed_extraction_go(
        self, lake: Lake, table: TablePlan
    ) -> None:
        migrate(lake, table, 0)
        waiting = extract(lake, table, 1)
        save(lake, table, Stage.MSSQL, waiting)
        killed = extract(lake, table, 2)
        self.make_old(lake)
        assert maintain(lake, table).files_removed == 1
        assert not lake.store.exists(killed.files[0].path)
        commit_all(lake, table, [waiting])
        assert stored_rows(lake, table) == expected_rows(table, (0, 10), (1, 10))

    def test_young_ones_stay(self, lake: Lake, table: TablePlan) -> None:
        killed = extract(lake, table, 2)
        assert maintain(lake, table, orphan_age_hours=24).files_removed == 0
        forced = {"orphan_age_hours": 0, "no_extraction_is_running": True}
        (path,) = local_path(lake.settings.warehouse).rglob("*.parquet")
        just_now = datetime.now(UTC).timestamp() - 2
        os.utime(path, (just_now, just_now))
        assert maintain(lake, table, **forced).files_removed == 1
        assert not lake.store.exists(killed.files[0].path)

    def test_a_corrupt_receipt_stops_the_removal(self, lake: Lake, table: TablePlan) -> None:
        migrate(lake, table, 0)
        killed = extract(lake, table, 2)
        uri = ReceiptStore(lake, table.source_database)._uri(path_of(Stage.MSSQL, table), "gone")
        lake.store.write(uri, b"{}")
        self.make_old(lake)
        engine = PyIcebergEngine(lake)
        config = MaintenanceConfig()
        done = maintain_table(engine, lake, table, config, translator=TRANSLATOR)
        assert "gone is corrupt" in done.error
        assert lake.store.exists(killed.files[0].path)


# -- as a job --------------------------------------------------------------------------------------


@dataclass
class JobRun:
    """How a run of the job ended, and what the instance keeps of it."""

    success: bool
    events: list[dg.DagsterEvent]

    @property
    def observed(self) -> dict[str, dict[str, Any]]:
        """Metadata of each observation by asset, in order."""
        seen = [
            event.asset_observation_data.asset_observation
            for event in self.events
            if event.event_type_value == "ASSET_OBSERVATION"
        ]
        return {
            one.asset_key.to_user_string(): {n: v.value for n, v in one.metadata.items()}
            for one in seen
        }

    @property
    def cause(self) -> str:
        """Why its step failed."""
        (failed,) = (e for e in self.events if e.event_type_value == "STEP_FAILURE")
        found = failed.step_failure_data.user_failure_data
        assert found is not None
        return found.description or ""


@pytest.fixture
def run_job(lake: Lake, monkeypatch: pytest.MonkeyPatch, table: TablePlan) -> Any:
    """Runs the job over two tables, in the lake of the test."""
    other = planned_table(lake.settings.warehouse, "orders_2")
    plan = MigrationPlan(server="db1", database="shop", tables=(table, other))
    monkeypatch.setenv("ICEBERG_CATALOG_TYPE", "sql")
    monkeypatch.setenv("S3_WAREHOUSE_PATH", str(local_path(lake.settings.warehouse)))
    monkeypatch.delenv("S3_BUCKET", raising=False)

    instance = dg.DagsterInstance.ephemeral()

    def run(**config: Any) -> JobRun:
        job = build_definitions(plan).resolve_job_def(MAINTENANCE_JOB)
        given = {"ops": {MAINTENANCE_OP: {"config": config}}}
        result = job.execute_in_process(given, raise_on_error=False, instance=instance)
        entries = [entry.dagster_event for entry in instance.all_logs(result.run_id)]
        return JobRun(result.success, [event for event in entries if event is not None])

    return run


def test_each_table_is_observed(run_job: Any, lake: Lake, table: TablePlan) -> None:
    migrate(lake, table, 0, load=False)
    result = run_job()
    assert result.success
    found = result.observed
    assert list(found) == ["iceberg/shop_dbo/orders", "iceberg/shop_dbo/orders_2"]
    assert found["iceberg/shop_dbo/orders"] == {
        "table": "dbo.orders",
        "snapshots expired": 0,
        "snapshots left": 1,
        "snapshots awaited by loads": 1,
        "files compacted": 0,
        "files after compaction": 0,
        "files removed": 0,
    }


def test_only_selected_tables_are_touched(run_job: Any) -> None:
    assert list(run_job(tables=["dbo.orders_2"]).observed) == ["iceberg/shop_dbo/orders_2"]


def test_a_table_that_fails_stops_no_other_and_fails_the_job(
    run_job: Any, lake: Lake, table: TablePlan
) -> None:
    from pyiceberg.schema import Schema

    lake.catalog.create_namespace(table.namespace)
    lake.catalog.create_table((table.namespace, table.iceberg_table), Schema())
    result = run_job()
    assert not result.success
    found = result.observed
    assert "is not ours" in found["iceberg/shop_dbo/orders"]["error"]
    assert "error" not in found["iceberg/shop_dbo/orders_2"]
    assert "Maintenance of 1 of 2 tables failed. dbo.orders: " in result.cause


def test_a_wrong_configuration_fails_before_anything_is_done(run_job: Any) -> None:
    result = run_job(orphan_age_hours=1)
    assert not result.success
    assert result.observed == {}
    assert "orphan_age_hours is 1" in result.cause


def test_spark_refuses_a_local_catalog_and_is_stopped(
    run_job: Any, lake: Lake, table: TablePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    from migration_assets.spark import resource

    migrate(lake, table, 0)
    ended: list[object] = []
    session = object()
    monkeypatch.setattr(resource, "start_session", lambda *_: session)
    monkeypatch.setattr(resource, "stop_session", ended.append)
    result = run_job(engine="spark", expire=False, remove_orphans=False, compact=True)
    assert not result.success
    error = result.observed["iceberg/shop_dbo/orders"]["error"]
    assert "Spark cannot open the Iceberg catalog of ICEBERG_CATALOG_TYPE=sql" in error
    assert ended == [session]


def test_the_schedule_is_off_until_somebody_wants_it() -> None:
    plan = MigrationPlan(server="db1", database="shop", tables=())
    (schedule,) = build_definitions(plan).schedules or []
    assert isinstance(schedule, dg.ScheduleDefinition)
    assert schedule.job_name == MAINTENANCE_JOB
    assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
    assert maintenance.MaintenanceConfig().engine == "pyiceberg"
