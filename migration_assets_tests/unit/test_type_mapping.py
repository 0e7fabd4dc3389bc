"""The table of types: complete, consistent with Arrow and Iceberg, and clear where it refuses."""

from __future__ import annotations

import re

import pyarrow as pa
import pytest

from migration_assets.choices import Fidelity
from migration_assets.column_plan import AUDIT_COLUMNS, ColumnPlan
from migration_assets.errors import UnsupportedError
from migration_assets.fingerprint import starrocks_kind, tsql_kind
from migration_assets.schema import Column, MssqlType
from migration_assets.type_mapping import (
    TYPE_MAPPINGS,
    TypeMapping,
    arrow_schema,
    arrow_type,
    audit_columns,
    map_column,
    type_mapping,
)
from migration_assets.type_report import type_table
from migration_assets_tests.unit.tables import table_plan

LATIN = "SQL_Latin1_General_CP1_CI_AS"

# `SELECT name FROM sys.types WHERE is_user_defined = 0`, SQL Server 2022; then what 2025 adds
# (https://learn.microsoft.com/sql/t-sql/data-types/data-types-transact-sql).
# `sysname` is left out: introspection calls it nvarchar, its system type.
SYSTEM_TYPES = (
    "image", "text", "uniqueidentifier", "date", "time", "datetime2", "datetimeoffset", "tinyint",
    "smallint", "int", "smalldatetime", "real", "money", "datetime", "float", "sql_variant",
    "ntext", "bit", "decimal", "numeric", "smallmoney", "bigint", "hierarchyid", "geometry",
    "geography", "varbinary", "varchar", "binary", "char", "timestamp", "nvarchar", "nchar", "xml",
    "json", "vector",
)  # fmt: skip

# name, max_length, precision, scale as sys.columns says; then select, Iceberg, StarRocks.
MAPPED = [
    ("bit", 1, 1, 0, "[c]", "boolean", "BOOLEAN"),
    ("tinyint", 1, 3, 0, "[c]", "int", "SMALLINT"),
    ("smallint", 2, 5, 0, "[c]", "int", "SMALLINT"),
    ("int", 4, 10, 0, "[c]", "int", "INT"),
    ("bigint", 8, 19, 0, "[c]", "long", "BIGINT"),
    ("decimal", 5, 9, 2, "[c]", "decimal(9, 2)", "DECIMAL(9,2)"),
    ("decimal", 17, 38, 38, "[c]", "decimal(38, 38)", "DECIMAL(38,38)"),
    ("numeric", 9, 18, 0, "[c]", "decimal(18, 0)", "DECIMAL(18,0)"),
    ("money", 8, 19, 4, "[c]", "decimal(19, 4)", "DECIMAL(19,4)"),
    ("smallmoney", 4, 10, 4, "[c]", "decimal(10, 4)", "DECIMAL(10,4)"),
    ("real", 4, 24, 0, "[c]", "float", "FLOAT"),
    ("float", 8, 53, 0, "[c]", "double", "DOUBLE"),
    ("date", 3, 10, 0, "[c]", "date", "DATE"),
    ("time", 5, 16, 7, "CONVERT(varchar(16), [c])", "string", "VARCHAR(16)"),
    ("datetime", 8, 23, 3, "CAST([c] AS datetime2(3))", "timestamp", "DATETIME"),
    ("smalldatetime", 4, 16, 0, "CAST([c] AS datetime2(0))", "timestamp", "DATETIME"),
    ("datetime2", 8, 27, 7, "[c]", "timestamp", "DATETIME"),
    ("datetime2", 6, 19, 0, "[c]", "timestamp", "DATETIME"),
    ("datetimeoffset", 10, 34, 7, "[c]", "timestamptz", "DATETIME"),
    ("datetimeoffset", 9, 30, 3, "[c]", "timestamptz", "DATETIME"),
    ("char", 10, 0, 0, "[c]", "string", "VARCHAR(30)"),
    ("varchar", 8000, 0, 0, "[c]", "string", "VARCHAR(24000)"),
    ("varchar", -1, 0, 0, "[c]", "string", "VARCHAR(1048576)"),
    ("nchar", 20, 0, 0, "[c]", "string", "VARCHAR(30)"),
    ("nvarchar", 8000, 0, 0, "[c]", "string", "VARCHAR(12000)"),
    ("nvarchar", -1, 0, 0, "[c]", "string", "VARCHAR(1048576)"),
    ("text", 16, 0, 0, "CONVERT(varchar(max), [c])", "string", "VARCHAR(1048576)"),
    ("ntext", 16, 0, 0, "CONVERT(nvarchar(max), [c])", "string", "VARCHAR(1048576)"),
    ("xml", -1, 0, 0, "CONVERT(nvarchar(max), [c])", "string", "VARCHAR(1048576)"),
    ("binary", 16, 0, 0, "[c]", "binary", "VARBINARY(16)"),
    ("varbinary", 8000, 0, 0, "[c]", "binary", "VARBINARY(8000)"),
    ("varbinary", -1, 0, 0, "[c]", "binary", "VARBINARY(1048576)"),
    ("image", 16, 0, 0, "CONVERT(varbinary(max), [c])", "binary", "VARBINARY(1048576)"),
    ("timestamp", 8, 0, 0, "CONVERT(binary(8), [c])", "binary", "VARBINARY(8)"),
    ("uniqueidentifier", 16, 0, 0, "[c]", "string", "VARCHAR(36)"),
    ("hierarchyid", 892, 0, 0, "[c].ToString()", "string", "VARCHAR(12000)"),
    ("geometry", -1, 0, 0, "[c].AsBinaryZM()", "binary", "VARBINARY(1048576)"),
    ("geography", -1, 0, 0, "[c].AsBinaryZM()", "binary", "VARBINARY(1048576)"),
    ("json", -1, 0, 0, "CONVERT(nvarchar(max), [c])", "string", "VARCHAR(1048576)"),
    ("vector", 20, 0, 0, "CONVERT(nvarchar(max), [c])", "string", "VARCHAR(1048576)"),
    ("clr", -1, 0, 0, "CONVERT(varbinary(max), [c])", "binary", "VARBINARY(1048576)"),
]  # fmt: skip
REFUSED = ["cursor", "table"]
SEVERAL = ["sql_variant"]
"""Types whose select expression is looked at on its own."""
KEPT = [row for row in TYPE_MAPPINGS if row.fidelity is not Fidelity.REFUSED]


def mapped(name: str, length: int = 0, precision: int = 0, scale: int = 0) -> ColumnPlan:
    kind = MssqlType(name, length, precision, scale, LATIN)
    return map_column(Column("c", kind), name="c", field_id=1)


@pytest.mark.parametrize("name", SYSTEM_TYPES)
def test_every_system_type_has_a_row(name: str) -> None:
    assert type_mapping(MssqlType(name)).mssql == name


def test_every_system_type_is_looked_at_here() -> None:
    looked_at = {row[0] for row in MAPPED} | set(SEVERAL)
    # Not in sys.types by this name: a CLR type has the name that its database gave it.
    assert looked_at == {*SYSTEM_TYPES, "clr"}
    assert {row.mssql.partition("(")[0] for row in TYPE_MAPPINGS} == {*looked_at, *REFUSED}


@pytest.mark.parametrize("row", MAPPED, ids=str)
def test_what_a_type_becomes(row: tuple[str, int, int, int, str, str, str]) -> None:
    column = mapped(*row[:4])
    assert (column.select_expression, column.iceberg_type, column.starrocks_type) == row[4:]


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_type_says_so_and_how_to_go_on(name: str) -> None:
    with pytest.raises(
        UnsupportedError, match=rf"Column c of type {name} is refused: .+"
    ) as raised:
        mapped(name)
    assert "exclude_columns" in raised.value.next_step


def test_a_type_nobody_knows_is_refused_and_never_guessed() -> None:
    with pytest.raises(UnsupportedError, match=r"Column c: Type hologram has no mapping"):
        mapped("hologram")
    alias = Column("c", MssqlType("type 99", user_type="Point"))
    with pytest.raises(UnsupportedError, match="Type Point has no mapping"):
        map_column(alias, name="c", field_id=1)


def test_a_column_that_introspection_refused_stays_refused() -> None:
    column = Column("c", MssqlType("int"), refusal="it is encrypted")
    with pytest.raises(UnsupportedError, match="Column c: it is encrypted"):
        map_column(column, name="c", field_id=1)


@pytest.mark.parametrize(
    ("name", "length", "collation", "select"),
    [
        ("varchar", 20, "Chinese_PRC_CI_AS", "CONVERT(nvarchar(20), [c])"),
        ("char", 8000, "Japanese_XJIS_100_CI_AS", "CONVERT(nvarchar(max), [c])"),
        ("varchar", -1, "Korean_Wansung_CI_AS", "CONVERT(nvarchar(max), [c])"),
        ("text", 16, "Chinese_PRC_CI_AS", "CONVERT(nvarchar(max), CONVERT(varchar(max), [c]))"),
        ("nvarchar", 40, "Chinese_PRC_CI_AS", "[c]"),
        ("varchar", 20, "Polish_CI_AS", "[c]"),
        ("varchar", 20, None, "[c]"),
    ],
)
def test_text_of_double_byte_code_pages_is_read_as_unicode(
    name: str, length: int, collation: str | None, select: str
) -> None:
    column = Column("c", MssqlType(name, length, collation=collation))
    assert map_column(column, name="c", field_id=1).select_expression == select


def test_an_alias_type_is_mapped_as_its_system_type() -> None:
    column = Column("c", MssqlType("nvarchar", 40, collation=LATIN, user_type="PersonName"))
    assert map_column(column, name="c", field_id=1).starrocks_type == "VARCHAR(60)"


def test_the_row_of_a_declaration_goes_before_that_of_its_name() -> None:
    assert mapped("datetime2", 8, 27, 7).fidelity is Fidelity.LOSSY
    assert mapped("datetime2", 8, 26, 6).fidelity is Fidelity.EXACT


@pytest.mark.parametrize("row", TYPE_MAPPINGS, ids=lambda row: row.mssql)
def test_what_is_not_exact_has_a_note_and_every_row_a_source(row: TypeMapping) -> None:
    import migration_assets.type_mapping as module

    assert row.note or row.fidelity is Fidelity.EXACT
    assert module.__doc__ is not None
    assert re.search(rf"^{row.source}\. https://", module.__doc__, re.MULTILINE)


@pytest.mark.parametrize("row", KEPT, ids=lambda row: row.mssql)
def test_templates_hold_what_they_need_and_nothing_else(row: TypeMapping) -> None:
    assert "{c}" in row.select
    assert not re.search(r"[{}]", row.select.replace("{c}", ""))
    for text in (row.iceberg, row.starrocks):
        filled = text.format(precision=18, scale=4, bytes=30)
        assert not re.search(r"[{}]", filled)
    assert ("{precision}" in row.iceberg) == ("{precision}" in row.starrocks)


@pytest.mark.parametrize("row", KEPT, ids=lambda row: row.mssql)
def test_every_row_can_be_measured_by_all_sides(row: TypeMapping) -> None:
    name = row.mssql.partition("(")[0]
    column = mapped(name, 16, 18, 4 if name in {"decimal", "numeric", "time"} else 0)
    assert (
        tsql_kind(column).sums.keys() == starrocks_kind(column).sums.keys() or row.measure == "text"
    )
    assert (
        tsql_kind(column).numbers.keys() == starrocks_kind(column).numbers.keys()
        or row.measure == "text"
    )


def test_a_name_is_quoted_where_it_is_read() -> None:
    column = map_column(Column("a]b", MssqlType("time", scale=0)), name="a_b", field_id=1)
    assert column.select_expression == "CONVERT(varchar(16), [a]]b])"
    braces = map_column(Column("{c}", MssqlType("int")), name="c", field_id=1)
    assert braces.select_expression == "[{c}]"


def test_the_audit_columns_follow_and_are_not_null() -> None:
    columns = audit_columns(7)
    assert tuple(column.name for column in columns) == AUDIT_COLUMNS
    assert [column.field_id for column in columns] == [7, 8, 9]
    assert not any(column.nullable for column in columns)


def test_the_arrow_schema_is_iceberg_s_apart_from_large_offsets() -> None:
    """pyiceberg compares a file's schema with the table's: types, field ids, order."""
    from pyiceberg.io.pyarrow import schema_to_pyarrow

    from migration_assets.iceberg.schema import iceberg_schema

    kinds = [
        (f"c{n}", MssqlType(name, length, precision, scale, LATIN))
        for n, (name, length, precision, scale, *_) in enumerate(MAPPED)
    ]
    table = table_plan(kinds)
    ours, theirs = arrow_schema(table), schema_to_pyarrow(iceberg_schema(table))
    assert ours.names == theirs.names
    for mine, iceberg in zip(ours, theirs, strict=True):
        small = {pa.large_string(): pa.string(), pa.large_binary(): pa.binary()}
        assert small.get(mine.type, mine.type) == small.get(iceberg.type, iceberg.type), mine.name
        assert mine.metadata[b"PARQUET:field_id"] == iceberg.metadata[b"PARQUET:field_id"]


def test_an_iceberg_type_that_no_row_uses_has_no_arrow_type() -> None:
    with pytest.raises(UnsupportedError, match="uuid"):
        arrow_type("uuid")


def test_the_report_has_every_row_once() -> None:
    lines = type_table().splitlines()[2:]
    names = [name for line in lines for name in line.split("|")[1].strip().split(", ")]
    assert len(names) == len(TYPE_MAPPINGS)
    assert len(set(names)) == len(names)
    assert all(line.count("|") == 7 for line in lines)
