"""THE TABLE: what every SQL Server type becomes in Arrow, Iceberg and StarRocks.

A type's name occurs in this module only. A type without a row is an error, and "decided no"
(`REFUSED`) is a row too. Facts, by number in the column `source`:

1. https://learn.microsoft.com/sql/t-sql/data-types/data-types-transact-sql
2. https://learn.microsoft.com/sql/t-sql/data-types/int-bigint-smallint-and-tinyint-transact-sql:
   tinyint is 0 to 255, StarRocks' TINYINT -128 to 127.
3. https://learn.microsoft.com/sql/t-sql/data-types/money-and-smallmoney-transact-sql
4. https://learn.microsoft.com/sql/t-sql/data-types/float-and-real-transact-sql
5. https://learn.microsoft.com/sql/t-sql/data-types/time-transact-sql; StarRocks has no TIME column
   and reads Iceberg's time without fractions, so the exact text is kept.
6. https://learn.microsoft.com/sql/t-sql/data-types/datetime-transact-sql: steps of 1/300 s, shown
   as .000, .003 and .007, which is what datetime2(3) holds.
7. https://learn.microsoft.com/sql/t-sql/data-types/datetime2-transact-sql: steps of 100 ns; Iceberg
   and StarRocks have microseconds.
8. https://learn.microsoft.com/sql/t-sql/data-types/datetimeoffset-transact-sql
9. https://docs.starrocks.io/docs/sql-reference/data-types/string-type/VARCHAR/: lengths are bytes,
   1,048,576 at most. One UTF-16 unit, or one byte of a code page, is at most 3 bytes of UTF-8.
10. https://docs.starrocks.io/docs/sql-reference/data-types/string-type/BINARY/
11. https://learn.microsoft.com/sql/t-sql/data-types/uniqueidentifier-transact-sql; Iceberg's uuid
    is read by StarRocks as bytes or not at all, depending on its version, so the text is kept.
12. https://learn.microsoft.com/sql/t-sql/data-types/rowversion-transact-sql
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from migration_assets.errors import UnsupportedError
from migration_assets.plan import (
    MIGRATED_AT,
    SOURCE_PARTITION,
    SOURCE_SCHEMA,
    ColumnPlan,
    Fidelity,
    TablePlan,
    TargetColumn,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from migration_assets.schema import Column, MssqlType

EXACT, LOSSY, REFUSED = Fidelity.EXACT, Fidelity.LOSSY, Fidelity.REFUSED
MAX_STARROCKS_BYTES = 1_048_576


@dataclass(frozen=True)
class TypeMapping:
    """One row of the table.

    Attributes:
        mssql: SQL Server's name; `(max)` and `(7)` rows go before the plain name.
        select: T-SQL that reads a column `{c}`.
        iceberg: Iceberg type, `{precision}` and `{scale}` filled in.
        starrocks: StarRocks type, `{bytes}` filled in: UTF-8 bytes of text, bytes of binary.
        measure: the kind of `fingerprint.py` that aggregates it.
        note: what is lost (lossy), why not (refused), or a limit (exact).
        source: number of the fact in the module's docstring.
    """

    mssql: str
    select: str
    iceberg: str
    starrocks: str
    measure: str
    fidelity: Fidelity
    note: str
    source: int


_CUT = "the seventh digit (100 ns) is cut off"
_OFFSET = "kept as the UTC instant, the offset itself is dropped"
LIMIT_NOTE = "a value above 1,048,576 bytes stops the load, it is never cut"
"""Note of the types whose values may be longer than StarRocks takes."""
_NOT_YET = "it has no mapping yet"

# fmt: off
TYPE_MAPPINGS: tuple[TypeMapping, ...] = (
    TypeMapping("bit",              "{c}",                         "boolean",                        "BOOLEAN",                      "boolean",   EXACT, "", 1),
    TypeMapping("tinyint",          "{c}",                         "int",                            "SMALLINT",                     "integer",   EXACT, "", 2),
    TypeMapping("smallint",         "{c}",                         "int",                            "SMALLINT",                     "integer",   EXACT, "", 2),
    TypeMapping("int",              "{c}",                         "int",                            "INT",                          "integer",   EXACT, "", 2),
    TypeMapping("bigint",           "{c}",                         "long",                           "BIGINT",                       "bigint",    EXACT, "", 2),
    TypeMapping("decimal",          "{c}",                         "decimal({precision}, {scale})",  "DECIMAL({precision},{scale})", "decimal",   EXACT, "", 1),
    TypeMapping("numeric",          "{c}",                         "decimal({precision}, {scale})",  "DECIMAL({precision},{scale})", "decimal",   EXACT, "", 1),
    TypeMapping("money",            "{c}",                         "decimal(19, 4)",                 "DECIMAL(19,4)",                "decimal",   EXACT, "", 3),
    TypeMapping("smallmoney",       "{c}",                         "decimal(10, 4)",                 "DECIMAL(10,4)",                "decimal",   EXACT, "", 3),
    TypeMapping("real",             "{c}",                         "float",                          "FLOAT",                        "float",     EXACT, "", 4),
    TypeMapping("float",            "{c}",                         "double",                         "DOUBLE",                       "float",     EXACT, "", 4),
    TypeMapping("date",             "{c}",                         "date",                           "DATE",                         "date",      EXACT, "", 1),
    TypeMapping("time",             "CONVERT(varchar(16), {c})",   "string",                         "VARCHAR(16)",                  "time",      EXACT, "kept as text with its own number of digits", 5),
    TypeMapping("datetime",         "CAST({c} AS datetime2(3))",   "timestamp",                      "DATETIME",                     "timestamp", EXACT, "", 6),
    TypeMapping("smalldatetime",    "CAST({c} AS datetime2(0))",   "timestamp",                      "DATETIME",                     "timestamp", EXACT, "", 1),
    TypeMapping("datetime2(7)",     "{c}",                         "timestamp",                      "DATETIME",                     "timestamp", LOSSY, _CUT, 7),
    TypeMapping("datetime2",        "{c}",                         "timestamp",                      "DATETIME",                     "timestamp", EXACT, "", 7),
    TypeMapping("datetimeoffset(7)", "{c}",                        "timestamptz",                    "DATETIME",                     "instant",   LOSSY, f"{_OFFSET}; {_CUT}", 8),
    TypeMapping("datetimeoffset",   "{c}",                         "timestamptz",                    "DATETIME",                     "instant",   LOSSY, _OFFSET, 8),
    TypeMapping("char",             "{c}",                         "string",                         "VARCHAR({bytes})",             "text",      EXACT, "", 9),
    TypeMapping("varchar(max)",     "{c}",                         "string",                         "VARCHAR(1048576)",             "text",      EXACT, LIMIT_NOTE, 9),
    TypeMapping("varchar",          "{c}",                         "string",                         "VARCHAR({bytes})",             "text",      EXACT, "", 9),
    TypeMapping("nchar",            "{c}",                         "string",                         "VARCHAR({bytes})",             "text",      EXACT, "", 9),
    TypeMapping("nvarchar(max)",    "{c}",                         "string",                         "VARCHAR(1048576)",             "text",      EXACT, LIMIT_NOTE, 9),
    TypeMapping("nvarchar",         "{c}",                         "string",                         "VARCHAR({bytes})",             "text",      EXACT, "", 9),
    TypeMapping("text",             "CONVERT(varchar(max), {c})",  "string",                         "VARCHAR(1048576)",             "text",      EXACT, LIMIT_NOTE, 9),
    TypeMapping("ntext",            "CONVERT(nvarchar(max), {c})", "string",                         "VARCHAR(1048576)",             "text",      EXACT, LIMIT_NOTE, 9),
    TypeMapping("xml",              "CONVERT(nvarchar(max), {c})", "string",                         "VARCHAR(1048576)",             "text",      EXACT, LIMIT_NOTE, 9),
    TypeMapping("binary",           "{c}",                         "binary",                         "VARBINARY({bytes})",           "binary",    EXACT, "", 10),
    TypeMapping("varbinary(max)",   "{c}",                         "binary",                         "VARBINARY(1048576)",           "binary",    EXACT, LIMIT_NOTE, 10),
    TypeMapping("varbinary",        "{c}",                         "binary",                         "VARBINARY({bytes})",           "binary",    EXACT, "", 10),
    TypeMapping("image",            "CONVERT(varbinary(max), {c})", "binary",                        "VARBINARY(1048576)",           "binary",    EXACT, LIMIT_NOTE, 10),
    TypeMapping("timestamp",        "CONVERT(binary(8), {c})",     "binary",                         "VARBINARY(8)",                 "binary",    EXACT, "rowversion: the eight bytes as they are", 12),
    TypeMapping("uniqueidentifier", "{c}",                         "string",                         "VARCHAR(36)",                  "uuid",      EXACT, "kept as upper-case text", 11),
    TypeMapping("sql_variant",      "",                            "",                               "",                             "",          REFUSED, _NOT_YET, 1),
    TypeMapping("hierarchyid",      "",                            "",                               "",                             "",          REFUSED, _NOT_YET, 1),
    TypeMapping("geometry",         "",                            "",                               "",                             "",          REFUSED, _NOT_YET, 1),
    TypeMapping("geography",        "",                            "",                               "",                             "",          REFUSED, _NOT_YET, 1),
    TypeMapping("json",             "",                            "",                               "",                             "",          REFUSED, _NOT_YET, 1),
    TypeMapping("vector",           "",                            "",                               "",                             "",          REFUSED, _NOT_YET, 1),
    TypeMapping("cursor",           "",                            "",                               "",                             "",          REFUSED, "it is not the type of a column", 1),
    TypeMapping("table",            "",                            "",                               "",                             "",          REFUSED, "it is not the type of a column", 1),
)
# fmt: on


def _index(rows: tuple[TypeMapping, ...]) -> dict[str, TypeMapping]:
    index = {row.mssql: row for row in rows}
    if len(index) != len(rows):
        raise AssertionError("a type has two rows in TYPE_MAPPINGS")
    return index


_BY_NAME = _index(TYPE_MAPPINGS)


def type_mapping(mssql_type: MssqlType) -> TypeMapping:
    """Return the row of a type; the row of its declaration goes before that of its name.

    Raises:
        UnsupportedError: the type has no row.
    """
    row = _BY_NAME.get(mssql_type.declaration) or _BY_NAME.get(mssql_type.name)
    if row is None:
        named = mssql_type.user_type or mssql_type.name
        raise UnsupportedError(f"Type {named} has no mapping.")
    return row


def map_column(column: Column, *, name: str, field_id: int) -> ColumnPlan:
    """Plan one source column.

    Args:
        column: as introspected.
        name: its name in Iceberg and StarRocks.
        field_id: its Iceberg field id.

    Raises:
        UnsupportedError: the type is refused or unknown; the message gives the reason.
    """
    remedy = "List it under exclude_columns in migration.yaml to migrate the table without it."
    if column.refusal is not None:
        raise UnsupportedError(f"Column {column.name}: {column.refusal}.", next_step=remedy)
    declared = column.type.user_type or column.type.declaration
    try:
        row = type_mapping(column.type)
    except UnsupportedError as error:
        raise UnsupportedError(f"Column {column.name}: {error.found}", next_step=remedy) from None
    if row.fidelity is REFUSED:
        raise UnsupportedError(
            f"Column {column.name} of type {declared} is refused: {row.note}.", next_step=remedy
        )
    parameters = {
        "precision": column.type.precision,
        "scale": column.type.scale,
        "bytes": _target_bytes(column.type),
    }
    return ColumnPlan(
        name=name,
        field_id=field_id,
        iceberg_type=row.iceberg.format(**parameters),
        starrocks_type=row.starrocks.format(**parameters),
        nullable=column.nullable,
        source_name=column.name,
        mssql_type=column.type.declaration,
        collation=column.type.collation,
        select_expression=row.select.replace("{c}", f"[{column.name.replace(']', ']]')}]"),
        measure=row.measure,
        fidelity=row.fidelity,
        note=row.note,
    )


def _target_bytes(mssql_type: MssqlType) -> int:
    """Bytes that a value may need in StarRocks; see facts 9 and 10."""
    length = mssql_type.length
    if length is None:
        return MAX_STARROCKS_BYTES
    is_text = mssql_type.name not in {"binary", "varbinary"}
    return min(3 * length if is_text else length, MAX_STARROCKS_BYTES)


def audit_columns(first_field_id: int) -> tuple[TargetColumn, ...]:
    """The columns appended to every target table; their field ids start at the one given."""
    rows = (
        (MIGRATED_AT, "timestamptz", "DATETIME"),
        (SOURCE_SCHEMA, "string", "VARCHAR(384)"),
        (SOURCE_PARTITION, "int", "INT"),
    )
    return tuple(
        TargetColumn(
            name=name,
            field_id=first_field_id + position,
            iceberg_type=iceberg_type,
            starrocks_type=starrocks_type,
            nullable=False,
        )
        for position, (name, iceberg_type, starrocks_type) in enumerate(rows)
    )


def arrow_type(iceberg_type: str) -> pa.DataType:
    """Return the Arrow type in which the values of an Iceberg type are written to Parquet.

    Raises:
        UnsupportedError: not one of the Iceberg types that `TYPE_MAPPINGS` uses.
    """
    import pyarrow as pa

    decimal = re.fullmatch(r"decimal\((\d+), ?(\d+)\)", iceberg_type)
    if decimal is not None:
        return pa.decimal128(int(decimal[1]), int(decimal[2]))
    types = {
        "boolean": pa.bool_(),
        "int": pa.int32(),
        "long": pa.int64(),
        "float": pa.float32(),
        "double": pa.float64(),
        "date": pa.date32(),
        "timestamp": pa.timestamp("us"),
        "timestamptz": pa.timestamp("us", tz="UTC"),
        # 64-bit offsets: a batch of (max) values may exceed 2 GiB, and drivers deliver them so.
        "string": pa.large_string(),
        "binary": pa.large_binary(),
    }
    try:
        return types[iceberg_type]
    except KeyError:
        raise UnsupportedError(f"Iceberg type {iceberg_type} has no Arrow type here.") from None


def arrow_schema(table: TablePlan) -> pa.Schema:
    """Return the schema of the table's data files: all target columns in order, with field ids.

    Parquet files carry the ids (`PARQUET:field_id`), so Iceberg reads them by id, not by name
    (https://iceberg.apache.org/spec/#column-projection).
    """
    import pyarrow as pa

    return pa.schema(
        [
            pa.field(
                column.name,
                arrow_type(column.iceberg_type),
                nullable=column.nullable,
                metadata={"PARQUET:field_id": str(column.field_id)},
            )
            for column in table.target_columns
        ]
    )
