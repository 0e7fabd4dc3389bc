"""The plan as a file: saved, read, refused when it is not what it says; and its ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from migration_assets.choices import Engine, Fidelity, OnExisting, VerificationLevel
from migration_assets.column_plan import ColumnPlan, TargetColumn
from migration_assets.errors import PlanError
from migration_assets.frozen_model import content_hash
from migration_assets.key_range import KeyRange
from migration_assets.plan import PLAN_VERSION, MigrationPlan, SkippedTable, TablePlan

ID = ColumnPlan(
    name="id",
    field_id=1,
    iceberg_type="int",
    starrocks_type="INT",
    nullable=False,
    source_name="Id",
    mssql_type="int",
    select_expression="[Id]",
    measure="integer",
)
AUDIT = TargetColumn(name="source_partition", field_id=2, iceberg_type="int", starrocks_type="INT")
TABLE = TablePlan(
    source_server="SQL1",
    source_database="shop",
    source_schema="dbo",
    source_name="Orders",
    rows=20,
    columns=(ID,),
    audit_columns=(AUDIT,),
    primary_key=("Id",),
    key_ranges=(
        KeyRange(source_partition=0, column="Id", upper="10"),
        KeyRange(source_partition=1, column="Id", lower="10"),
    ),
    namespace="dbo",
    iceberg_table="orders",
    location="s3://lake/dbo/orders",
    starrocks_database="dbo",
    starrocks_table="orders",
    sort_key=("id",),
)
PLAN = MigrationPlan(
    server="SQL1",
    database="shop",
    tables=(TABLE,),
    skipped=(SkippedTable(source_schema="dbo", source_name="Größe", reason="it is a view"),),
)


def changed(**values: Any) -> TablePlan:
    """A new table: `model_copy` would take the cached ids along."""
    return TablePlan(
        **{**{name: getattr(TABLE, name) for name in TablePlan.model_fields}, **values}
    )


def test_a_saved_plan_is_read_back_whole(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text(PLAN.to_json(), encoding="utf-8")
    loaded = MigrationPlan.load(path)
    assert loaded == PLAN
    assert loaded.plan_id == PLAN.plan_id
    assert "Größe" in path.read_text(encoding="utf-8")


def test_a_missing_plan_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"no plan at .*none\.json.*migration-assets plan"):
        MigrationPlan.load(tmp_path / "none.json")


def test_an_unreadable_plan_is_named(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot be read"):
        MigrationPlan.load(tmp_path)
    binary = tmp_path / "plan.json"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PlanError, match=r"plan\.json cannot be read"):
        MigrationPlan.load(binary)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not valid JSON"),
        (PLAN.to_json()[:-20], "is not valid JSON"),
        ("[]", "is not a migration plan"),
        ('{"tables": []}', "is not a migration plan"),
    ],
)
def test_what_is_no_plan_is_refused(text: str, message: str) -> None:
    with pytest.raises(PlanError, match=f"^MA-PL-003: plan.json {message}"):
        MigrationPlan.from_json(text, origin="plan.json")


def test_another_version_is_refused_before_anything_else_is_looked_at() -> None:
    text = json.dumps({"version": PLAN_VERSION + 1, "whatever": 1})
    with pytest.raises(PlanError, match=f"version {PLAN_VERSION + 1}, .* reads version"):
        MigrationPlan.from_json(text, origin="plan.json")


def edited(change: Any) -> str:
    body = json.loads(PLAN.to_json())
    change(body)
    return json.dumps(body)


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda body: body["tables"][0].pop("location"), r"tables\.0\.location"),
        (lambda body: body["tables"][0].update(engine="hadoop"), r"tables\.0\.engine"),
        (lambda body: body["tables"][0].update(extra=1), r"tables\.0\.extra"),
        (lambda body: body.pop("server"), "server"),
    ],
)
def test_a_damaged_plan_names_the_place(change: Any, where: str) -> None:
    with pytest.raises(PlanError, match=f"corrupt at {where}"):
        MigrationPlan.from_json(edited(change), origin="plan.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda body: body["tables"][0].update(rows=21),
        lambda body: body["tables"][0]["key_ranges"][0].update(upper="11"),
        lambda body: body.update(notes=["x"]),
        lambda body: body.update(plan_id="0" * 16),
        lambda body: body.pop("plan_id"),
    ],
)
def test_a_plan_changed_by_hand_is_refused(change: Any) -> None:
    with pytest.raises(PlanError, match="changed by hand"):
        MigrationPlan.from_json(edited(change), origin="plan.json")


def test_layout_and_order_of_keys_are_no_change() -> None:
    text = json.dumps(json.loads(PLAN.to_json()), sort_keys=True, indent=4)
    assert MigrationPlan.from_json(text, origin="plan.json") == PLAN


@pytest.mark.parametrize(
    "values",
    [
        {"source_server": "SQL2"},
        {"source_database": "other"},
        {"source_schema": "x"},
        {"source_name": "x"},
        {"columns": (ID.model_copy(update={"select_expression": "CAST([Id] AS int)"}),)},
        {"columns": (ID.model_copy(update={"mssql_type": "bigint"}),)},
        {"columns": (ID.model_copy(update={"field_id": 9}),)},
        {"columns": (ID.model_copy(update={"nullable": True}),)},
        {"columns": (ID.model_copy(update={"starrocks_type": "BIGINT"}),)},
        {"audit_columns": ()},
        {"namespace": "x"},
        {"iceberg_table": "x"},
        {"location": "s3://x/y"},
        {"starrocks_database": "x"},
        {"starrocks_table": "x"},
        {"sort_key": ("source_partition",)},
        {"key_ranges": (KeyRange(source_partition=0),)},
    ],
)
def test_the_table_id_changes_with_what_partitions_hold(values: dict[str, Any]) -> None:
    assert changed(**values).table_id != TABLE.table_id


@pytest.mark.parametrize(
    "values",
    [
        {"rows": 99},
        {"bytes": 99},
        {"warnings": ("w",)},
        {"engine": Engine.SPARK},
        {"verification": VerificationLevel.NONE},
        {"on_existing": OnExisting.REPLACE},
        {"isolated": True},
        {"columns": (ID.model_copy(update={"note": "n", "fidelity": Fidelity.LOSSY}),)},
    ],
)
def test_the_table_id_stays_with_what_only_describes(values: dict[str, Any]) -> None:
    other = changed(**values)
    assert other.table_id == TABLE.table_id
    plan = MigrationPlan(server="SQL1", database="shop", tables=(other,), skipped=PLAN.skipped)
    assert plan.plan_id != PLAN.plan_id


def test_partition_keys_and_their_ranges() -> None:
    assert TABLE.partition_keys == ("p000", "p001")
    assert TABLE.key_range("p001") is TABLE.key_ranges[1]
    isolated = changed(isolated=True)
    assert isolated.partition_keys == (
        f"{TABLE.namespace}-orders-p000",
        f"{TABLE.namespace}-orders-p001",
    )
    assert isolated.key_range(isolated.partition_keys[0]) is TABLE.key_ranges[0]
    with pytest.raises(
        PlanError, match=r"dbo\.Orders has no partition 'p002': it has p000 to p001"
    ):
        TABLE.key_range("p002")


def test_tables_are_found_by_their_full_name() -> None:
    assert PLAN.table("dbo.Orders") is TABLE
    with pytest.raises(PlanError, match=r"no table dbo\.orders.*status"):
        PLAN.table("dbo.orders")


def test_a_content_hash_sees_values_and_not_the_order_of_keys() -> None:
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    assert content_hash({"a": 1}) != content_hash({"a": "1"})
    assert len(content_hash([])) == 16
