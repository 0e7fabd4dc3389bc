"""Upkeep of tables by pyiceberg, over the real stand-ins: what may go goes, and the rest stays."""

from __future__ import annotations

from collections.abc import Iterator

import dagster as dg
import pytest

from migration_assets.assets.maintenance import PyIcebergEngine
from migration_assets.assets.translator import Stage
from migration_assets.receipts import CommitReceipt, ExtractReceipt
from migration_assets.sandbox.control import Fault
from migration_assets_tests.sandbox.bench import Bench, running
from migration_assets_tests.sandbox.project import Result, kill, wait_until
from migration_assets_tests.sandbox.upkeep import (
    data_files,
    lake_of,
    maintain_now,
    path_of,
    receipts_of,
    snapshots,
    table_of,
)

JOB = "dagster job execute -m migration_assets.definitions -j maintenance"


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with running(tmp_path_factory.mktemp("maintenance")) as made:
        yield made


def execute(bench: Bench, config: str) -> Result:
    """Run the job with Dagster's own command, its configuration in a file."""
    path = bench.project.folder / "maintenance.yaml"
    path.write_text(f"ops: {{maintain_tables: {{config: {config}}}}}\n", encoding="utf-8")
    return bench.project.shell(f'eval "$(migration-assets env)"\n{JOB} -c {path}')


def test_expiry_keeps_what_a_load_waits_for(bench: Bench) -> None:
    ranged, project = ("--tables", "dbo.Ranged"), bench.project
    project.run("run", *ranged).ok()
    project.run("run", *ranged, "--partitions", "p002", "--until", "iceberg").ok()
    project.run("run", *ranged, "--partitions", "p005").ok()
    table = table_of(project, "dbo.Ranged")
    before = snapshots(project, table)
    with lake_of(project) as lake:
        store = receipts_of(lake, table)
        waiting = store.load(CommitReceipt, path_of(Stage.ICEBERG, table), "p002").snapshot_id
        done = maintain_now(PyIcebergEngine(lake), lake, table)
        needed_from = before.index(waiting)
        assert needed_from > 0
        assert done.snapshots_expired == needed_from
        assert snapshots(project, table) == before[needed_from:]
        project.run("run", "--failed", *ranged).ok()
        bench.assert_arrived("Ranged")
        assert maintain_now(PyIcebergEngine(lake), lake, table).snapshots_left == 1
    # What was replaced is an orphan now; the rest is whole, and can be loaded once more.
    assert execute(
        bench,
        "{tables: [dbo.Ranged], orphan_age_hours: 0, no_extraction_is_running: true}",
    ).ok()
    with lake_of(project) as lake:
        stored = {file.uri for file in lake.store.list(f"{table.location}/data/")}
    assert stored == data_files(project, table)
    project.run("run", "--from", "starrocks", *ranged).ok()
    bench.assert_arrived("Ranged")


def test_orphans_of_a_killed_extraction_go_and_files_of_receipts_stay(bench: Bench) -> None:
    project = bench.project
    project.run("run", "--until", "mssql", "--tables", "dbo.Loaded").ok()
    receipt = "PUT /lake/warehouse/.migration/receipts/shop/mssql/dbo/Fine/p000.json"
    # Refused, not delayed: a delayed one may still be stored after the client is dead.
    bench.aws.arm(Fault("unavailable", match=receipt))
    process = project.start_run("--tables", "dbo.Fine")
    wait_until(lambda: bench.logs["aws"].matching(receipt) or process.poll() is not None, receipt)
    assert process.poll() is None, (project.folder / "output").read_text()
    kill(process)
    bench.disarm()
    killed, waiting = table_of(project, "dbo.Fine"), table_of(project, "dbo.Loaded")
    with lake_of(project) as lake:
        (orphan,) = lake.store.list(f"{killed.location}/")
        path = path_of(Stage.MSSQL, waiting)
        (kept,) = receipts_of(lake, waiting).load(ExtractReceipt, path, "p000").files
        words = "tables: [dbo.Fine, dbo.Loaded]"
        # The defaults leave alone what is that young, and so does anything below a day.
        execute(bench, f"{{{words}}}").ok()
        refused = execute(bench, f"{{{words}, orphan_age_hours: 0}}")
        assert refused.code != 0
        assert "no_extraction_is_running" in refused.err + refused.out
        assert lake.store.exists(orphan.uri)
        execute(bench, f"{{{words}, orphan_age_hours: 0, no_extraction_is_running: true}}").ok()
        assert not lake.store.exists(orphan.uri)
        assert lake.store.exists(kept.path)
    reads = bench.reads()
    project.run("run", "--failed", "--tables", "dbo.Fine", "--tables", "dbo.Loaded").ok()
    bench.assert_arrived("Fine", "Loaded")
    assert bench.reads() - reads == {"Fine": 1}


def test_the_command_says_what_it_did_and_the_ui_shows_it(bench: Bench) -> None:
    bench.project.run("run", "--tables", "dbo.Altered", "--until", "iceberg").ok()
    done = bench.project.run("maintain", "--tables", "dbo.Altered").ok()
    assert "dbo.Altered: nothing to do (1 snapshots, 1 awaited by loads)" in done.out
    with bench.project.instance() as instance:
        key = dg.AssetKey(["iceberg", "dbo", "altered"])
        (record,) = instance.fetch_observations(key, limit=5).records
        observation = record.asset_observation
        assert observation is not None
        assert observation.metadata["snapshots left"].value == 1
        run = instance.get_run_by_id(record.run_id)
        assert run is not None
        assert run.job_name == "maintenance"


def test_a_table_of_somebody_else_fails_alone_and_the_command_with_it(bench: Bench) -> None:
    project = bench.project
    project.run("run", "--tables", "dbo.Swapped", "--until", "iceberg").ok()
    with lake_of(project) as lake:
        table = table_of(project, "dbo.Swapped")
        found = lake.catalog.load_table((table.namespace, table.iceberg_table))
        with found.transaction() as transaction:
            transaction.remove_properties("migration.table-id")
    words = ("--tables", "dbo.Swapped", "--tables", "dbo.Replaced")
    done = project.run("maintain", *words)
    assert done.code == 1
    assert "dbo.Replaced: nothing to do" in done.out
    assert "was there before and is not ours" in done.out
    assert project.run("maintain", "--compact", "--engine", "pyiceberg").code == 2
