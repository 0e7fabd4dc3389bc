"""What Dagster's records prove of a table, and the JSON document of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import jsonschema
import pytest

from migration_assets.assets.build import DATA_VERSION_TAG
from migration_assets.assets.checks import Verdict
from migration_assets.assets.translator import STAGES, Stage
from migration_assets.choices import Fidelity
from migration_assets.errors import ConfigurationError
from migration_assets.evidence import model
from migration_assets.inventory import Inventory, Kind, LeftBehind
from migration_assets.operations.report import Files, report_run, write_report
from migration_assets.operations.results import MigrationResult, TableResult
from migration_assets.plan import MigrationPlan, SkippedTable, TablePlan
from migration_assets_tests.unit.histories import TRANSLATOR, instance, table

__all__ = ["instance"]  # a fixture

SCHEMA = Path(__file__).parents[2] / "docs" / "report.schema.json"


def made(
    instance: dg.DagsterInstance, of: TablePlan, stage: Stage, key: str, rows: int, **said: Any
) -> None:
    """Note a materialization and its checks as the assets of this project do."""
    asset_key = TRANSLATOR.asset_key(stage, of)
    event = dg.AssetMaterialization(
        asset_key,
        partition=key,
        metadata={"dagster/partition_row_count": rows, "seconds": 0.5, "retries": 0, **said},
        tags={DATA_VERSION_TAG: f"{of.table_id}-a1"},
    )
    instance.report_runless_asset_event(event)
    sides = {
        Stage.MSSQL: {"mssql": rows, "extracted": rows},
        Stage.ICEBERG: {"extracted": rows, "iceberg": rows},
        Stage.STARROCKS: {"iceberg": rows, "starrocks": rows},
    }
    verdicts = [Verdict("row_count", counts=sides[stage])]
    if stage is not Stage.ICEBERG:
        numbers = {"columns": 1, "aggregates": 3}
        verdicts.append(Verdict("fingerprint", counts=numbers, columns=("id",)))
    for verdict in verdicts:
        result = verdict.as_result(asset_key)
        instance.report_runless_asset_event(
            dg.AssetCheckEvaluation(
                asset_key=asset_key,
                check_name=verdict.check,
                passed=result.passed,
                metadata=result.metadata,
                description=result.description,
                severity=result.severity,
                partition=key,
            )
        )


def compared(instance: dg.DagsterInstance, of: TablePlan, rows: int, difference: str = "") -> None:
    metadata = {"table": of.full_name, "difference": difference, "level": "count",
                **{stage.value: rows for stage in STAGES}}  # fmt: skip
    key = TRANSLATOR.asset_key(Stage.STARROCKS, of)
    instance.report_runless_asset_event(dg.AssetObservation(key, metadata=metadata))


@pytest.fixture
def plan() -> MigrationPlan:
    one = table("a", rows=30, partitions=2)
    column = one.columns[0].model_copy(
        update={"fidelity": Fidelity.LOSSY, "note": "a digit is cut off"}
    )
    one = one.model_copy(update={"columns": (column, *one.columns[1:]), "left_out": ("Secret",)})
    skipped = SkippedTable(source_schema="dbo", source_name="Import", reason="it has no columns")
    return MigrationPlan(
        server="SQL1", database="shop", tables=(one, table("b")), skipped=(skipped,)
    )


def written(
    plan: MigrationPlan, instance: dg.DagsterInstance, folder: Path, **given: Any
) -> dict[str, Any]:
    files = Files(json=folder / "report.json", html=folder / "report.html")
    chosen = given.pop("tables", plan.tables)
    write_report(plan, chosen, instance, files, **given)
    found: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    jsonschema.validate(found, json.loads(SCHEMA.read_text(encoding="utf-8")))
    return found


def test_the_committed_schema_is_that_of_the_code() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == model.schema_text(), (
        "python -m migration_assets.evidence.model"
    )


def test_the_schema_refuses_what_is_not_a_report(
    plan: MigrationPlan, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    found = written(plan, instance, tmp_path)
    found["tables"][0]["rows"]["mssql"] = "many"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(found, json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_rows_checks_and_losses_of_what_was_made(
    plan: MigrationPlan, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    one = plan.tables[0]
    for key, rows in {"p000": 10, "p001": 20}.items():
        for stage in STAGES:
            made(instance, one, stage, key, rows, **{"snapshot id": "77"})
    compared(instance, one, 30)
    found = written(plan, instance, tmp_path)
    assert (found["schema_version"], found["plan_id"], found["success"]) == (2, plan.plan_id, False)
    a, b = found["tables"]
    assert (a["table"], a["status"], a["done"], a["valid"]) == ("dbo.a", "done", 2, True)
    assert a["rows"] == {"mssql": 30, "iceberg": 30, "starrocks": 30}
    assert a["fingerprint_columns"] == ["id"]
    assert (a["checks"], a["checks_passed"], a["attempts"]) == (10, 10, 6)
    assert a["seconds_by_stage"] == {"mssql": 1.0, "iceberg": 1.0, "starrocks": 1.0}
    assert [loss["what"] for loss in a["losses"]] == ["a digit is cut off"]
    assert a["left_out_columns"] == ["Secret"]
    assert [p["rows"]["starrocks"] for p in a["by_partition"]] == [10, 20]
    assert a["by_partition"][0]["snapshot_id"] == "77"
    assert a["by_partition"][1]["range"]
    assert (b["status"], b["valid"], b["rows"]["mssql"], b["attempts"]) == ("failed", None, None, 0)
    assert found["totals"]["tables_done"] == 1
    assert [(o["name"], o["reason"]) for o in found["not_migrated"]] == [
        ("dbo.Import", "it has no columns")
    ]


def test_a_comparison_before_the_newest_partition_proves_nothing(
    plan: MigrationPlan, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    one = plan.tables[1]
    compared(instance, one, 5)
    for stage in STAGES:
        made(instance, one, stage, "p000", 5)
    (found,) = written(plan, instance, tmp_path, tables=[one])["tables"]
    assert found["valid"] is None
    assert "compare again" in found["note"]
    compared(instance, one, 5, "p000 rows: expected 5, found 4")
    found = written(plan, instance, tmp_path, tables=[one])
    assert found["tables"][0]["valid"] is False
    assert not found["success"]


def test_an_evaluation_of_validate_counts_and_hides_no_number(
    plan: MigrationPlan, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """It says no numbers: those of the evaluation before it stay."""
    one = plan.tables[1]
    for stage in STAGES:
        made(instance, one, stage, "p000", 5)
    key = TRANSLATOR.asset_key(Stage.STARROCKS, one)
    evaluation = dg.AssetCheckEvaluation(
        asset_key=key, check_name="row_count", passed=False, metadata={}, partition="p000",
        description="validate: differs",
    )  # fmt: skip
    event = dg.DagsterEvent(
        dg.DagsterEventType.ASSET_CHECK_EVALUATION.value, "validate", event_specific_data=evaluation
    )
    instance.report_dagster_event(event, run_id="validation-1")
    (found,) = written(plan, instance, tmp_path, tables=[one])["tables"]
    (partition,) = found["by_partition"]
    assert partition["rows"]["starrocks"] == 5
    outcomes = {c["check"]: c["outcome"] for c in partition["stages"][2]["checks"]}
    assert outcomes == {"row_count": "failed", "fingerprint": "passed"}
    assert (found["status"], partition["state"]) == ("failed", "check failed")


def test_the_report_of_a_run_is_about_what_was_selected(
    plan: MigrationPlan, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    one = plan.tables[0]
    for stage in STAGES:
        made(instance, one, stage, "p001", 20)
    of_table = TableResult("dbo.a", 1, done=1, valid=True, note="Was it truncated?")
    result = MigrationResult(
        plan.plan_id, [of_table], [], 2.04, plan=plan, partition_keys=("p001",)
    )
    found = written(plan, instance, tmp_path, tables=[one], result=result)
    (a,) = found["tables"]
    assert (a["partitions"], a["done"], a["status"], a["note"]) == (
        1,
        1,
        "done",
        "Was it truncated?",
    )
    assert found["success"] is True
    assert found["run"] == {"tables": 1, "seconds": 2.0, "interrupted": False, "until": "starrocks"}
    assert [one["name"] for one in found["not_migrated"]] == ["dbo.Import", "dbo.b"]


def test_what_stays_behind_is_there_by_name(
    plan: MigrationPlan, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    inventory = Inventory({Kind.VIEW: (LeftBehind("sales", "v"),), Kind.JOB: ()})
    found = written(plan, instance, tmp_path, inventory=inventory)["not_migrated"]
    assert found[-1]["names"] == ["sales.v"]
    assert found[-1]["count"] == 1
    assert "sales.v" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_no_table_is_a_report_too(
    plan: MigrationPlan, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    found = written(plan, instance, tmp_path, tables=[])
    assert (found["tables"], found["success"]) == ([], False)


def test_a_report_that_cannot_be_written_leaves_the_old_one(
    plan: MigrationPlan, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="there is no folder"):
        Files(json=tmp_path / "nowhere" / "report.json").check()
    (tmp_path / "report.json").mkdir()
    with pytest.raises(ConfigurationError, match="cannot be written"):
        write_report(plan, plan.tables, instance, Files(json=tmp_path / "report.json"))
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_a_result_without_a_plan_is_not_reported(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without its plan"):
        report_run(MigrationResult("p", [], [], 0.0), Files(json=tmp_path / "report.json"))
