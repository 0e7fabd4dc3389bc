"""The plan becomes Dagster definitions: without a server, a secret or a heavy import."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from migration_assets.assets.translator import STAGES, MigrationTranslator, Stage
from migration_assets.choices import VerificationLevel
from migration_assets.definitions import JOB_WITHOUT_PLAN, build_definitions, load_definitions
from migration_assets.errors import PlanError
from migration_assets.jobs import class_job_name, job_of, table_job_names
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets_tests.unit.tables import INT, decimal, nvarchar, table_plan

HEAVY = ("pyarrow", "pyiceberg", "boto3", "pymssql", "pymysql", "mssql_python", "pyspark", "numpy",
         "sqlalchemy", "duckdb", "moto")  # fmt: skip
MEASURE = """
import json, sys, time
import dagster
before = set(sys.modules)
reached = []
sys.addaudithook(lambda event, args: reached.append(str(args[1])) if event == "socket.connect" else None)
started = time.process_time()
from migration_assets.definitions import defs
repository = defs.get_repository_def()
print(json.dumps({
    "seconds": time.process_time() - started,
    "assets": len(repository.asset_graph.get_all_asset_keys()),
    "jobs": len(repository.job_names),
    "reached": reached,
    "modules": sorted({name.partition(".")[0] for name in set(sys.modules) - before}),
}))
"""


def named(
    schema: str,
    name: str,
    *,
    target: str = "",
    cuts: tuple[str, ...] = (),
    isolated: bool = False,
    verification: VerificationLevel = VerificationLevel.FULL,
) -> TablePlan:
    table = table_plan(
        [("id", INT), ("name", nvarchar(20)), ("price", decimal(9, 2))], key=["id"], cuts=cuts,
        name=target or name.lower(),
    )  # fmt: skip
    return table.model_copy(
        update={
            "source_schema": schema,
            "source_name": name,
            "namespace": schema.lower(),
            "location": f"s3://lake/warehouse/{schema.lower()}/{target or name.lower()}",
            "starrocks_database": schema.lower(),
            "isolated": isolated,
            "verification": verification,
        }
    )


def plan_of(*tables: TablePlan) -> MigrationPlan:
    return MigrationPlan(server="server", database="shop", tables=tables)


def specs(definitions: dg.Definitions) -> dict[str, dg.AssetSpec]:
    """Asset specs by key, in flow order."""
    found = definitions.resolve_all_asset_specs()
    found = sorted(found, key=lambda spec: STAGES.index(Stage(spec.key.path[-3])))
    return {spec.key.to_user_string(): spec for spec in found}


@pytest.fixture
def no_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a plan would be."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIGRATION_PLAN", raising=False)
    return tmp_path / "migration_plan.json"


def test_342_tables_load_without_a_server_a_secret_or_a_heavy_import(tmp_path: Path) -> None:
    cuts = {0: (), 1: tuple(str(n) for n in range(1, 8)), 2: tuple(str(n) for n in range(1, 16))}
    tables = [named(f"schema{n % 7}", f"Table{n}", cuts=cuts[n % 3]) for n in range(342)]
    (tmp_path / "migration_plan.json").write_text(plan_of(*tables).to_json(), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], cwd=tmp_path, capture_output=True, text=True, timeout=120,
        check=True, env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["assets"] == 3 * 342
    assert found["jobs"] == 3 + 342 + 2 + 1  # classes, tables, the two below, Dagster's own
    assert not set(found["modules"]) & set(HEAVY)
    assert found["reached"] == []
    # Of CPU time, since the machine may be busy; benchmarks/overhead.py measures it for real.
    assert found["seconds"] < 5, found


def test_each_table_has_three_assets_that_follow_each_other() -> None:
    found = specs(build_definitions(plan_of(named("Sales", "Orders"))))
    assert list(found) == ["mssql/Sales/Orders", "iceberg/sales/orders", "starrocks/sales/orders"]
    upstream = [[dep.asset_key.to_user_string() for dep in spec.deps] for spec in found.values()]
    assert upstream == [[], ["mssql/Sales/Orders"], ["iceberg/sales/orders"]]


def test_an_asset_says_what_it_is() -> None:
    table = named("Sales", "Orders", cuts=("10",))
    found = specs(build_definitions(plan_of(table)))
    mssql, iceberg, starrocks = found.values()
    assert {spec.group_name for spec in found.values()} == {"Sales"}
    assert {spec.code_version for spec in found.values()} == {table.table_id}
    assert [set(spec.kinds) for spec in found.values()] == [
        {"sqlserver", "parquet"}, {"iceberg"}, {"starrocks"},
    ]  # fmt: skip
    assert mssql.metadata["dagster/table_name"] == "shop.Sales.Orders"
    assert iceberg.metadata["dagster/uri"] == table.location
    columns = starrocks.metadata["dagster/column_schema"].columns
    assert [(column.name, column.type) for column in columns] == [
        ("id", "INT"), ("name", "VARCHAR(60)"), ("price", "DECIMAL(9,2)"),
        ("migrated_at", "DATETIME"), ("source_schema", "VARCHAR(384)"), ("source_partition", "INT"),
    ]  # fmt: skip
    lineage = iceberg.metadata["dagster/column_lineage"].deps_by_column["price"]
    assert lineage == [dg.TableColumnDep(mssql.key, "price")]


def test_a_partition_is_a_key_range_and_equal_keys_are_one_definition() -> None:
    two, three = named("dbo", "a", cuts=("1",)), named("dbo", "b", cuts=("1", "2"))
    found = specs(build_definitions(plan_of(two, three, named("dbo", "c", cuts=("5",)))))
    keys = {
        name: spec.partitions_def.get_partition_keys()
        for name, spec in found.items()
        if spec.partitions_def
    }
    assert keys["mssql/dbo/a"] == ["p000", "p001"]
    assert keys["starrocks/dbo/b"] == ["p000", "p001", "p002"]
    assert found["mssql/dbo/a"].partitions_def is found["starrocks/dbo/c"].partitions_def


def test_an_isolated_table_has_keys_of_its_own() -> None:
    table = named("dbo", "big", isolated=True)
    (keys,) = {
        spec.partitions_def.get_partition_keys()[0]
        for spec in specs(
            build_definitions(
                plan_of(
                    table,
                )
            )
        ).values()
        if spec.partitions_def
    }
    assert keys == "dbo-big-p000"
    assert job_of(table, plan_of(table)) == "migrate__dbo__big"


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        (VerificationLevel.FULL, {("mssql", "row_count"), ("mssql", "fingerprint"),
                                  ("iceberg", "row_count"),
                                  ("starrocks", "row_count"), ("starrocks", "fingerprint")}),
        (VerificationLevel.COUNT, {("mssql", "row_count"), ("iceberg", "row_count"),
                                   ("starrocks", "row_count")}),
        (VerificationLevel.NONE, set()),
    ],
)  # fmt: skip
def test_checks_follow_the_level_and_are_partitioned(
    level: VerificationLevel, expected: set[tuple[str, str]]
) -> None:
    definitions = build_definitions(plan_of(named("dbo", "t", verification=level)))
    found = [spec for asset in definitions.assets or [] for spec in asset.check_specs]  # type: ignore[union-attr]
    assert {(spec.asset_key.path[0], spec.name) for spec in found} == expected
    assert all(spec.partitions_def is not None for spec in found)


def test_each_system_has_a_pool_and_a_priority_that_grows_downstream() -> None:
    definitions = build_definitions(plan_of(named("dbo", "t")))
    ops = [asset.op for asset in definitions.assets or []]  # type: ignore[union-attr]
    assert [op.pool for op in ops] == ["mssql", "iceberg", "starrocks"]
    assert [int(op.tags["dagster/priority"]) for op in ops] == [0, 1, 2]
    # A policy would start a step again that somebody terminates: `failures` requests retries.
    assert all(op.retry_policy is None for op in ops)


def test_there_is_a_job_per_class_and_per_table_and_two_more() -> None:
    plan = plan_of(named("dbo", "a"), named("dbo", "b", cuts=("1",)), named("dbo", "c"))
    names = {job.name for job in build_definitions(plan).get_repository_def().get_all_jobs()}
    own = {name for name in names if not name.startswith("__")}
    classes = {"migrate_p001", "migrate_p002"}
    assert own == classes | {
        "migrate__dbo__a",
        "migrate__dbo__b",
        "migrate__dbo__c",
        "validate",
        "maintenance",
    }
    fewer = build_definitions(plan, table_jobs=False).get_repository_def()
    assert {
        job.name for job in fewer.get_all_jobs() if not job.name.startswith("__")
    } == classes | {"validate", "maintenance"}


def test_a_class_job_has_all_assets_of_its_tables_and_their_partitions() -> None:
    tables = [named("dbo", "a"), named("dbo", "b"), named("dbo", "c", cuts=("1",))]
    definitions = build_definitions(plan_of(*tables))
    job = definitions.resolve_job_def(class_job_name(("p000",)))
    found = {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
    assert found == {f"{stage}/dbo/{name}" for stage in Stage for name in "ab"}
    assert job.partitions_def is not None
    assert job.partitions_def.get_partition_keys() == ["p000"]


def test_job_names_that_would_meet_get_a_number() -> None:
    plan = plan_of(named("dbo", "a b", target="a_b"), named("dbo", "a-b", target="a_b_1"))
    assert set(table_job_names(plan).values()) == {"migrate__dbo__a_b", "migrate__dbo__a_b_2"}


@pytest.mark.parametrize(
    ("schema", "name", "target"),
    [
        ("dbo", "Order Details", "order_details"),
        ("dbo", "select", "select"),
        ("dbo", "注文", "t_1a2b3c"),
        ("dbo", "a/b[c]'d\"e", "a_b_c_d_e"),
        ("dbo", "*", "t_9f"),
        ("dbo", "Ünïcode", "unicode"),
    ],
)
def test_any_name_gives_keys_that_dagster_takes(schema: str, name: str, target: str) -> None:
    definitions = build_definitions(plan_of(named(schema, name, target=target)))
    repository = definitions.get_repository_def()  # resolves jobs and checks: refuses bad names
    keys = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    safe = name.replace("_", "").isascii() and name.replace("_", "").isalnum()
    assert keys == {
        f"mssql/{schema}/{name if safe else target}",
        f"iceberg/{schema}/{target}",
        f"starrocks/{schema}/{target}",
    }


def test_a_schema_that_dagster_cannot_name_is_made_legal() -> None:
    table = named("my schema", "t").model_copy(
        update={"namespace": "my_schema", "starrocks_database": "my_schema"}
    )
    found = specs(build_definitions(plan_of(table)))
    assert list(found) == ["mssql/my_schema/t", "iceberg/my_schema/t", "starrocks/my_schema/t"]
    assert {spec.group_name for spec in found.values()} == {"my_schema"}


def test_a_translator_of_one_s_own_is_asked() -> None:
    class Prefixed(MigrationTranslator):
        def asset_key(self, stage: Stage, table: TablePlan) -> dg.AssetKey:
            return super().asset_key(stage, table).with_prefix("shop")

    found = specs(build_definitions(plan_of(named("dbo", "t")), translator=Prefixed()))
    assert list(found) == [f"shop/{stage}/dbo/t" for stage in STAGES]


def test_resources_name_variables_and_hold_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSSQL_PASSWORD", "pa55-w0rd")
    resources = build_definitions(plan_of(named("dbo", "t"))).resources or {}
    assert set(resources) == {"mssql", "lake", "starrocks", "receipts"}
    assert "pa55-w0rd" not in repr(resources)


def test_no_plan_is_a_location_without_assets_that_says_what_to_run(
    no_plan: Path,
) -> None:
    found = load_definitions()
    assert not list(found.assets or [])
    said = str(found.metadata["next step"].value)
    assert said == (
        f"There is no plan at {no_plan.name}: run `migration-assets plan`, then reload."
    )
    repository = found.get_repository_def()
    assert not repository.asset_graph.get_all_asset_keys()
    # The UI shows a job's name and description; of a location's metadata it shows nothing.
    (job,) = repository.get_all_jobs()
    assert (job.name, job.description) == (JOB_WITHOUT_PLAN, said)
    assert [node.definition.description for node in job.nodes] == [said]


def test_the_job_without_a_plan_fails_with_what_to_run(no_plan: Path) -> None:
    job = load_definitions().resolve_job_def(JOB_WITHOUT_PLAN)
    with dg.DagsterInstance.ephemeral() as instance:
        ended = job.execute_in_process(instance=instance, raise_on_error=False)
    (failed,) = [event for event in ended.all_events if event.is_step_failure]
    assert not ended.success
    assert failed.step_failure_data.user_failure_data is not None
    assert failed.step_failure_data.user_failure_data.description == (
        f"MA-PL-001: There is no plan at {no_plan.name}: run `migration-assets plan`, then reload."
    )


def test_with_a_plan_that_job_is_gone(no_plan: Path) -> None:
    no_plan.write_text(plan_of(named("dbo", "t")).to_json(), encoding="utf-8")
    assert JOB_WITHOUT_PLAN not in load_definitions().get_repository_def().job_names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not valid JSON"),
        ("[]", "is not a migration plan"),
        ('{"version": 99}', "format version 99, this release reads version 1"),
        ('{"version": 1, "server": "s"}', "is corrupt at"),
    ],
)
def test_a_plan_that_cannot_be_read_is_a_load_error(no_plan: Path, text: str, said: str) -> None:
    no_plan.write_text(text, encoding="utf-8")
    with pytest.raises(PlanError, match=said) as raised:
        load_definitions()
    assert "migration-assets plan" in raised.value.next_step


def test_a_plan_changed_by_hand_is_a_load_error(no_plan: Path) -> None:
    text = plan_of(named("dbo", "t")).to_json()
    no_plan.write_text(text.replace('"shop"', '"shops"'), encoding="utf-8")
    with pytest.raises(PlanError, match="changed by hand"):
        load_definitions()
