"""Choices of the user where a conversion would lose something, and what the plan says of them."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from migration_assets.arrow_fingerprint import ArrowFingerprint
from migration_assets.choices import Fidelity, VerificationLevel
from migration_assets.column_plan import ColumnPlan
from migration_assets.errors import ConfigurationError
from migration_assets.fingerprint import CUT, starrocks_query, tsql_query
from migration_assets.losses import table_losses
from migration_assets.mssql.affected import affected_statements
from migration_assets.plan import TablePlan
from migration_assets.rules import Rules
from migration_assets.rules_file import load_rules
from migration_assets.schema import Column, MssqlType
from migration_assets.starrocks.ddl import create_table_sql
from migration_assets.starrocks.dml import insert_overwrite_sql
from migration_assets.type_mapping import LONGEST_KEPT, MAX_STARROCKS_BYTES, arrow_schema
from migration_assets_tests.unit.source_tables import ID, only, source

MOMENT = MssqlType("datetime2", 8, 27, 7)
SIX = MssqlType("datetime2", 8, 26, 6)
OFFSET = MssqlType("datetimeoffset", 10, 34, 7)
SHORT_OFFSET = MssqlType("datetimeoffset", 9, 30, 3)
LONG = MssqlType("nvarchar", -1, 0, 0, "Latin1_General_CI_AS")
BLOB = MssqlType("varbinary", -1)
INSTANT = ("[c]", "timestamptz", "DATETIME")
TEXT_27 = ("CONVERT(varchar(27), [c], 121)", "string", "VARCHAR(27)")
TEXT_34 = ("CONVERT(varchar(34), [c], 121)", "string", "VARCHAR(34)")
DIGIT = ("c_100ns", "DATEPART(nanosecond, [c]) / 100 % 10", "int", "SMALLINT")
MINUTES = ("c_offset", "DATEPART(tzoffset, [c])", "int", "SMALLINT")


def table_of(kind: MssqlType, **rules: Any) -> TablePlan:
    return only(source("t", ID, Column("c", kind)), rules={"defaults": rules})


def added(table: TablePlan) -> list[tuple[str, str, str, str]]:
    return [
        (c.name, c.select_expression, c.iceberg_type, c.starrocks_type)
        for c in table.columns
        if c.added
    ]


def column_of(table: TablePlan) -> ColumnPlan:
    return table.by_source["c"]


@pytest.mark.parametrize(
    ("kind", "rules", "wanted", "beside", "kept"),
    [
        (MOMENT, {}, ("[c]", "timestamp", "DATETIME"), [], "lossy"),
        (MOMENT, {"fractions": "column"}, ("[c]", "timestamp", "DATETIME"), [DIGIT], "exact"),
        (MOMENT, {"fractions": "text"}, TEXT_27, [], "exact"),
        (MOMENT, {"offsets": "text"}, ("[c]", "timestamp", "DATETIME"), [], "lossy"),
        (SIX, {"fractions": "text"}, ("[c]", "timestamp", "DATETIME"), [], "exact"),
        (OFFSET, {}, INSTANT, [], "lossy"),
        (OFFSET, {"fractions": "column"}, INSTANT, [DIGIT], "lossy"),
        (OFFSET, {"offsets": "column"}, INSTANT, [MINUTES], "lossy"),
        (
            OFFSET,
            {"fractions": "column", "offsets": "column"},
            INSTANT,
            [MINUTES, DIGIT],
            "exact",
        ),
        (OFFSET, {"fractions": "text"}, TEXT_34, [], "exact"),
        (OFFSET, {"offsets": "text", "fractions": "column"}, TEXT_34, [], "exact"),
        (SHORT_OFFSET, {"fractions": "text"}, INSTANT, [], "lossy"),
        (SHORT_OFFSET, {"offsets": "column"}, INSTANT, [MINUTES], "exact"),
        (SHORT_OFFSET, {"offsets": "text"}, TEXT_34, [], "exact"),
    ],
    ids=str,
)
def test_what_a_choice_makes_of_a_moment(
    kind: MssqlType, rules: dict[str, str], wanted: Any, beside: Any, kept: str
) -> None:
    table = table_of(kind, **rules)
    column = column_of(table)
    assert (column.select_expression, column.iceberg_type, column.starrocks_type) == wanted
    assert added(table) == beside
    assert column.fidelity.value == kept
    assert bool(table_losses(table)) == (kept == "lossy")
    assert [c.field_id for c in table.target_columns] == list(range(1, len(table.columns) + 4))


def test_long_values_stop_the_load_unless_something_else_is_chosen() -> None:
    column = column_of(table_of(LONG))
    assert (column.fidelity, column.starrocks_type) == (Fidelity.EXACT, "VARCHAR(1048576)")
    assert "stops the load" in column.note


def test_long_texts_are_cut_in_starrocks_alone() -> None:
    table = table_of(LONG, long_values="cut")
    assert column_of(table).fidelity is Fidelity.LOSSY
    sql = insert_overwrite_sql(
        table, catalog="lake", source_partition=0, snapshot_id=2**40, label="l"
    )
    assert (
        "CAST(CASE WHEN length(`c`) > 1048576 THEN left(`c`, 262144) ELSE `c` END AS "
        "VARCHAR(1048576))" in sql
    )
    assert "left(" not in tsql_query(table, VerificationLevel.FULL).expressions


def test_long_binaries_are_never_cut() -> None:
    column = column_of(table_of(BLOB, long_values="cut"))
    assert (column.cut, column.fidelity) == (False, Fidelity.EXACT)
    assert "stops the load" in column.note
    (loss,) = table_losses(table_of(BLOB))
    assert loss.remedy == "long_values: iceberg"


@pytest.mark.parametrize("kind", [LONG, BLOB], ids=["text", "binary"])
def test_a_column_can_be_left_to_iceberg(kind: MssqlType) -> None:
    table = table_of(kind, long_values="iceberg")
    assert column_of(table).iceberg_type in {"string", "binary"}
    assert "c" in arrow_schema(table).names
    assert "c" not in [column.name for column in table.starrocks_columns]
    assert "`c`" not in create_table_sql(table, 1)
    assert "`c`" not in insert_overwrite_sql(
        table, catalog="lake", source_partition=0, snapshot_id=2**40, label="l"
    )
    assert not any("`c`" in e for e in starrocks_query(table, VerificationLevel.FULL).expressions)
    (loss,) = table_losses(table)
    assert "StarRocks' table does not have it" in loss.sentence


def test_the_fingerprint_of_a_cut_text_is_that_of_its_beginning() -> None:
    table = table_of(LONG, long_values="cut")
    longest = "é" * (MAX_STARROCKS_BYTES // 2)
    values = ["short", longest, longest + "x", None, "\U0001f600" * 300_000]
    arrays = [pa.array(range(5), pa.int32()), pa.array(values, pa.large_string())]
    measured = ArrowFingerprint(table, VerificationLevel.FULL)
    measured.update(pa.RecordBatch.from_arrays(arrays, names=["id", "c"]))
    found = measured.result().values
    kept = 5 + MAX_STARROCKS_BYTES + 2 * LONGEST_KEPT + 4 * LONGEST_KEPT
    assert (found["c.bytes"], found[f"c.{CUT}"]) == (kept, 2)
    units = 5 + len(longest) + len(longest) + 1 + 2 * 300_000
    assert found["c.utf16"] == units


def test_a_column_s_own_choice_goes_before_its_table_s() -> None:
    rules = Rules.model_validate(
        {
            "defaults": {"fractions": "text"},
            "tables": {
                "dbo.*": {"columns": {"A": {"fractions": "column"}, "B": {"offsets": "text"}}},
                "dbo.t": {"fractions": "cut", "columns": {"b": {"fractions": "column"}}},
            },
        }
    )
    wishes = rules.for_table("dbo.t")
    assert wishes.conversions("a").fractions == "column"
    assert wishes.conversions("b").model_dump() == {
        "fractions": "column",
        "offsets": "text",
        "long_values": "stop",
        "invalid_text": "stop",
    }
    assert wishes.conversions("c").fractions == "cut"
    assert rules.for_table("hr.t").conversions("a").fractions == "text"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("defaults: {fractions: round}", "defaults.fractions is 'round'"),
        ("tables: {dbo.t: {columns: {c: {fraction: cut}}}}", "did you mean fractions?"),
        ("tables: {dbo.t: {columns: [c]}}", "tables.dbo.t.columns is"),
    ],
)
def test_a_wrong_choice_is_refused(tmp_path: Any, text: str, message: str) -> None:
    path = tmp_path / "migration.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as raised:
        load_rules(path)
    assert message in str(raised.value)


def test_a_choice_about_no_column_is_a_warning() -> None:
    rules = {"tables": {"dbo.t": {"columns": {"ghost": {"offsets": "text"}}}}}
    table = only(source("t", ID), rules=rules)
    assert table.warnings == ("columns: there is no column ghost.",)


def test_added_names_give_way_to_the_source_s_own() -> None:
    spatial = MssqlType("geometry", -1)
    table = only(source("t", ID, Column("g", spatial), Column("g_srid", MssqlType("int", 4))))
    names = {(c.source_name, c.added): c.name for c in table.columns}
    assert names["g_srid", False] == "g_srid"
    assert names["g", True].startswith("g_srid_")


def test_columns_that_lose_the_same_stand_together() -> None:
    columns = [ID, Column("Made", MOMENT), Column("Body", LONG), Column("Seen", MOMENT)]
    table = only(source("t", *columns, Column("Old", MssqlType("ntext", 16))))
    moments, long = table_losses(table)
    assert (moments.columns, moments.mssql_types) == (("Made", "Seen"), ("datetime2(7)",))
    assert moments.remedy == "fractions: column or text"
    assert (long.columns, long.mssql_types) == (("Body", "Old"), ("nvarchar(max)", "ntext"))
    assert moments.affected is None


def test_what_is_counted_is_what_is_lost() -> None:
    columns = [ID, Column("Made", MOMENT), Column("At", OFFSET), Column("Body", LONG)]
    table = only(source("t", *columns, Column("Blob", BLOB)))
    ((names, sql),) = affected_statements(table)
    assert names == ("made", "at", "body", "blob")
    assert sql == (
        "SELECT COUNT_BIG(CASE WHEN DATEPART(nanosecond, [Made]) / 100 % 10 <> 0 THEN 1 END), "
        "COUNT_BIG(CASE WHEN DATEPART(tzoffset, [At]) <> 0 "
        "OR DATEPART(nanosecond, [At]) / 100 % 10 <> 0 THEN 1 END), "
        "COUNT_BIG(CASE WHEN DATALENGTH(CAST([Body] AS nvarchar(max))) > 699050 THEN 1 END), "
        "COUNT_BIG(CASE WHEN DATALENGTH([Blob]) > 1048576 THEN 1 END) FROM [dbo].[t]"
    )
    assert affected_statements(only(source("t", ID))) == ()
