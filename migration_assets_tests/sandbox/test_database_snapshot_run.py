"""Points in time through the commands: a bank migrated in several runs, while money moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from migration_assets.mssql.client import SqlServer
from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox import bank, sources
from migration_assets_tests.sandbox.project import (
    Project,
    Result,
    iceberg_catalog,
    starrocks_rows,
)

RULES = "consistency: {}\ntables: {{dbo.accounts: {{partitions: 8}}}}\n"
FIRST, REST = "p000,p001,p002,p003", "p004,p005,p006,p007"


@dataclass
class Bank:
    """Stand-ins with the bank, and a project."""

    sandbox: Sandbox
    project: Project
    client: SqlServer

    def plan(self, consistency: str) -> Result:
        (self.project.folder / "migration.yaml").write_text(RULES.format(consistency))
        return self.project.run("plan").ok()

    def move_money(self) -> None:
        """From the second half of the accounts to the first."""
        for n in range(3):
            bank.transfer(self.client.query, bank.ACCOUNTS - 1 - n, n, 10)

    def total(self) -> int:
        query = "SELECT SUM(balance) FROM dbo.accounts"
        return int(starrocks_rows(self.project.settings, query)[0][0])

    def metadata(self, partition_key: str) -> dict[str, Any]:
        with self.project.instance() as instance:
            records = instance.fetch_materializations(
                dg.AssetRecordsFilter(
                    dg.AssetKey(["mssql", "dbo", "accounts"]), asset_partitions=[partition_key]
                ),
                limit=1,
            ).records
        materialization = records[0].asset_materialization
        assert materialization is not None
        return {name: value.value for name, value in materialization.metadata.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bank]:
    folder: Path = tmp_path_factory.mktemp("bank")
    (folder / "tables.sql").write_text(bank.SCRIPT, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    with Sandbox(scale=None, extra_arguments=words) as sandbox, sources.client(sandbox) as client:
        project = Project(folder, sandbox.settings)
        try:
            project.run("doctor", "--fix").ok()
            yield Bank(sandbox, project, client)
        finally:
            project.close()


@pytest.fixture(scope="module")
def without(made: Bank) -> tuple[int, Result]:
    """The total after two runs without one point in time, and what `validate` says."""
    made.plan("none")
    made.project.run("run", "--partitions", FIRST, "--until", "mssql").ok()
    made.move_money()
    made.project.run("run", "--partitions", REST, "--until", "mssql").ok()
    made.project.run("run", "--from", "iceberg")
    return made.total(), made.project.run("validate", "--level", "full")


@pytest.fixture(scope="module")
def within(made: Bank, without: tuple[int, Result]) -> dict[str, Any]:
    """The same from a database snapshot, and what it left."""
    assert without
    made.plan("database_snapshot")
    shown_before = made.project.run("snapshot", "show")
    refused = made.project.run("run", "--partitions", FIRST, "--until", "mssql")
    first = made.project.run("snapshot", "create", "--yes")
    made.project.run("run", "--partitions", FIRST, "--until", "mssql").ok()
    made.move_money()
    rest = made.project.run("run", "--partitions", REST, "--until", "mssql")
    made.project.run("run", "--from", "iceberg").ok()
    return {
        "before": shown_before, "refused": refused, "create": first, "rest": rest,
        "show": made.project.run("snapshot", "show"), "total": made.total(),
    }  # fmt: skip


def test_two_runs_without_one_point_in_time_lose_money(without: tuple[int, Result]) -> None:
    total, validated = without
    assert total == bank.TOTAL - 30
    assert validated.code == 1
    said = " ".join(validated.out.split())
    assert "the source moved after it was extracted" in said, said
    assert "balance.sum went from" in said


def test_all_runs_from_a_database_snapshot_show_one_state(within: dict[str, Any]) -> None:
    assert within["total"] == bank.TOTAL
    within["rest"].ok()


def test_none_is_made_while_partitions_of_another_state_are_there(within: dict[str, Any]) -> None:
    assert within["before"].code == 1
    assert within["refused"].code == 2, str(within["refused"])
    assert "4 partitions (dbo.accounts p004, dbo.accounts p005," in within["refused"].err
    assert "Made shop_migration" in within["create"].ok().out
    assert "shop_migration, made " in within["show"].ok().out


def test_it_stands_in_dagster_s_metadata_and_iceberg_s_properties(
    made: Bank, within: dict[str, Any]
) -> None:
    assert within
    metadata = made.metadata("p000")
    assert metadata["read consistency"] == "database snapshot"
    assert metadata["database snapshot"] == "shop_migration"
    table = iceberg_catalog(made.project.settings).load_table(("dbo", "accounts"))
    summary = table.snapshots()[-1].summary
    assert summary is not None
    said = summary.additional_properties
    assert said["migration.source.consistency"] == "database snapshot"
    assert said["migration.source.database-snapshot"] == "shop_migration"
    created = said["migration.source.database-snapshot-created"]
    assert created == metadata["database snapshot created"]


def test_validate_compares_with_the_snapshot_and_says_when_it_is_gone(
    made: Bank, within: dict[str, Any]
) -> None:
    assert within
    made.project.run("validate").ok()
    assert "Dropped shop_migration" in made.project.run("snapshot", "drop").ok().out
    gone = made.project.run("validate")
    assert gone.code == 1
    assert "migration-assets snapshot create" in gone.err


def test_a_run_over_everything_makes_a_new_one_by_itself(
    made: Bank, within: dict[str, Any]
) -> None:
    assert within
    made.project.run("snapshot", "drop").ok()
    refused = made.project.run("run", "--failed", "--until", "mssql")
    assert refused.code == 2, str(refused)
    made.project.run("run", "--until", "mssql").ok()
    assert "shop_migration, made " in made.project.run("snapshot", "show").ok().out


# -- a barrier, of the one table -------------------------------------------------------------------

BARRIER = "tables: {dbo.accounts: {partitions: 8, consistency: barrier}}\n"


EXTRACTS = ("mssql", "dbo", "accounts")
KEYS = f"{FIRST},{REST}".split(",")


@pytest.fixture(scope="module")
def at_barrier(made: Bank) -> dict[str, Any]:
    """A run in which a partition fails for good, and one in which it fails for now.

    Money moves from the last accounts to the first as soon as the barrier lets it.
    """
    control, project = made.sandbox.control("sqlserver"), made.project
    project.settings = {**project.settings, "MSSQL_POOL_SIZE": "4"}
    (project.folder / "migration.yaml").write_text(BARRIER)
    project.run("plan", "--yes").ok()
    ranges = project.table("dbo.accounts")["key_ranges"]
    low = rf"AS \[balance\] FROM .*>= {ranges[6]['lower']} "
    moves = (
        f"UPDATE shop.dbo.accounts SET balance = balance + CASE WHEN id < 3 THEN 10 ELSE -10 END "
        f"WHERE id < 3 OR id >= {bank.ACCOUNTS - 3}"
    )
    moving = Fault("then", match="^ROLLBACK TRANSACTION", sql=moves)
    is_new = not (project.folder / ".dagster").exists()
    before = {} if is_new else project.materializations(*EXTRACTS)
    control.arm(moving, Fault("error", match=low, number=8134, message="Divided by zero.", times=1))
    failed = project.run("run", "--until", "mssql")
    between = project.materializations(*EXTRACTS)
    control.arm(moving, Fault("error", match=low, number=3966, message="No row version.", times=1))
    again = project.run("run", "--failed", "--until", "iceberg")
    control.arm()
    moved = made.client.query("SELECT balance FROM dbo.accounts WHERE id = 0")
    after = project.materializations(*EXTRACTS)
    return {"failed": failed, "again": again, "counts": (before, between, after), "moved": moved}


def test_a_partition_that_fails_takes_all_of_its_barrier_with_it(
    made: Bank, at_barrier: dict[str, Any]
) -> None:
    failed = at_barrier["failed"]
    assert failed.code == 1, str(failed)
    said = " ".join((failed.out + failed.err).split())
    assert "Divided by zero" in said
    assert "migration-assets run --failed --tables dbo.accounts" in said
    assert "--partitions" not in said
    before, between, after = at_barrier["counts"]
    assert between == before
    assert after == {key: before.get(key, 0) + 1 for key in KEYS}


def test_partitions_at_a_barrier_show_one_state_while_money_moves(
    made: Bank, at_barrier: dict[str, Any]
) -> None:
    at_barrier["again"].ok()
    metadata = [made.metadata(key) for key in KEYS]
    assert {one["read consistency"] for one in metadata} == {"barrier"}
    (point,) = {one["barrier"] for one in metadata}
    table = iceberg_catalog(made.project.settings).load_table(("dbo", "accounts"))
    balances = {row["id"]: row["balance"] for row in table.scan().to_arrow().to_pylist()}
    assert sum(balances.values()) == bank.TOTAL
    assert at_barrier["moved"] == [(balances[0] + 10,)]
    summary = table.snapshots()[-1].summary
    assert summary is not None
    assert summary.additional_properties["migration.source.barrier"] == point
