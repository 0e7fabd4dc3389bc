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
13. https://learn.microsoft.com/sql/t-sql/data-types/sql-variant-transact-sql: no value of it is a
    (max) type; its styles are those of CONVERT
    (https://learn.microsoft.com/sql/t-sql/functions/cast-and-convert-transact-sql): 3 gives the 17
    digits of a float, 2 the four of money, 121 all of a date, 1 hexadecimal.
14. https://learn.microsoft.com/sql/t-sql/data-types/hierarchyid-data-type-method-reference:
    ToString and Parse are each other's inverse.
15. https://learn.microsoft.com/sql/t-sql/spatial-geometry/asbinaryzm-geometry-data-type: WKB with Z
    and M; the SRID is no part of it.
16. https://learn.microsoft.com/sql/t-sql/data-types/json-data-type: the text is SQL Server's own
    writing of the document.
17. https://learn.microsoft.com/sql/t-sql/data-types/vector-data-type: shown with eight significant
    digits (`[1.0000000e+000]`), where telling all float32 apart takes nine.
18. https://learn.microsoft.com/sql/relational-databases/clr-integration-database-objects-user-defined-types/clr-user-defined-types:
    CONVERT to varbinary gives the type's serialization.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from migration_assets.choices import Fidelity
from migration_assets.column_plan import (
    MIGRATED_AT,
    SOURCE_PARTITION,
    SOURCE_SCHEMA,
    ColumnPlan,
    TargetColumn,
)
from migration_assets.conversions import (
    DEFAULT,
    Conversions,
    Fractions,
    InvalidText,
    LongValues,
    Loss,
    Offsets,
)
from migration_assets.errors import UnsupportedError
from migration_assets.naming import bracketed
from migration_assets.plan import TablePlan

if TYPE_CHECKING:
    import pyarrow as pa

    from migration_assets.schema import Column, MssqlType

EXACT, LOSSY, REFUSED = Fidelity.EXACT, Fidelity.LOSSY, Fidelity.REFUSED
MAX_STARROCKS_BYTES = 1_048_576
LONGEST_KEPT = 262_144
"""Characters to which a text is cut that is too long for StarRocks: none has more than 4 bytes."""


@dataclass(frozen=True)
class AddedColumn:
    """A second target column of one source column.

    Attributes:
        suffix: what its name has after that of the first.
        select: T-SQL that reads it from a column `{c}`.
        iceberg, starrocks, measure: as in `TypeMapping`.
        note: what it holds.
    """

    suffix: str
    select: str
    iceberg: str
    starrocks: str
    measure: str
    note: str


@dataclass(frozen=True)
class TypeMapping:
    """One row of the table.

    Attributes:
        mssql: SQL Server's name; `(max)` and `(7)` rows go before the plain name.
        select: T-SQL that reads a column `{c}`.
        iceberg: Iceberg type, `{precision}` and `{scale}` filled in.
        starrocks: StarRocks type, `{bytes}` filled in: UTF-8 bytes of text, bytes of binary.
        measure: the kind of `fingerprint.py` that aggregates it.
        fidelity: of the row as it stands, without any choice of the user's.
        note: what is lost (lossy), why not (refused), or a limit (exact).
        source: number of the fact in the module's docstring.
        loses: what the user may choose to keep; the choice has the loss's name.
        text: length of the text that keeps everything, and the T-SQL that reads it.
        added: columns that belong to the value.
    """

    mssql: str
    select: str
    iceberg: str
    starrocks: str
    measure: str
    fidelity: Fidelity
    note: str
    source: int
    loses: tuple[Loss, ...] = ()
    text: tuple[int, str] | None = None
    added: tuple[AddedColumn, ...] = field(default=())


_CUT = "the seventh digit (100 ns) is cut off"
_OFFSET = "kept as the UTC instant, the offset itself is dropped"
LIMIT_NOTE = "a value above 1,048,576 bytes stops the load, it is never cut"
"""Note of the types whose values may be longer than StarRocks takes."""
_SHORTENED = (
    f"above 1,048,576 bytes StarRocks has the first {LONGEST_KEPT:,} characters, Iceberg all"
)
_ICEBERG_ONLY = "StarRocks' table does not have it, Iceberg's does"
_LOSS_NOTES = {Loss.FRACTIONS: _CUT, Loss.OFFSETS: _OFFSET, Loss.LONG_VALUES: LIMIT_NOTE}

_ADDED = {
    Loss.FRACTIONS: AddedColumn(
        "_100ns", "DATEPART(nanosecond, {c}) / 100 % 10", "int", "SMALLINT", "integer",
        "the seventh digit of the second",
    ),
    Loss.OFFSETS: AddedColumn(
        "_offset", "DATEPART(tzoffset, {c})", "int", "SMALLINT", "integer",
        "the offset from UTC in minutes",
    ),
}  # fmt: skip
_SRID = AddedColumn("_srid", "{c}.STSrid", "int", "INT", "integer", "its spatial reference system")
_BASE_TYPE = "CAST(SQL_VARIANT_PROPERTY({c}, 'BaseType') AS nvarchar(128))"
_VARIANT_TYPE = AddedColumn(
    "_type", _BASE_TYPE, "string", "VARCHAR(384)", "text", "the type of each value"
)
_VARIANT_TEXT = (
    f"CASE WHEN {_BASE_TYPE} IN (N'float', N'real') "
    "THEN CONVERT(nvarchar(max), CAST({c} AS float), 3) "
    f"WHEN {_BASE_TYPE} = N'datetime' "
    "THEN CONVERT(nvarchar(max), CAST({c} AS datetime2(3)), 121) "
    f"WHEN {_BASE_TYPE} = N'smalldatetime' "
    "THEN CONVERT(nvarchar(max), CAST({c} AS datetime2(0)), 121) "
    f"WHEN {_BASE_TYPE} IN (N'money', N'smallmoney') "
    "THEN CONVERT(nvarchar(max), CAST({c} AS money), 2) "
    f"WHEN {_BASE_TYPE} IN (N'binary', N'varbinary') "
    "THEN CONVERT(nvarchar(max), CAST({c} AS varbinary(8000)), 1) "
    "ELSE CONVERT(nvarchar(max), {c}) END"
)
_MOMENT = "CONVERT(varchar(27), {c}, 121)"
_MOMENT_AND_OFFSET = "CONVERT(varchar(34), {c}, 121)"
_LONG = (Loss.LONG_VALUES,)
_UTF16 = {"nchar", "nvarchar", "ntext", "sql_variant"}
_REPLACED = "surrogates without a partner are replaced by another character"

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
    TypeMapping("datetime2(7)",     "{c}",                         "timestamp",                      "DATETIME",                     "timestamp", LOSSY, _CUT, 7, loses=(Loss.FRACTIONS,), text=(27, _MOMENT)),
    TypeMapping("datetime2",        "{c}",                         "timestamp",                      "DATETIME",                     "timestamp", EXACT, "", 7),
    TypeMapping("datetimeoffset(7)", "{c}",                        "timestamptz",                    "DATETIME",                     "instant",   LOSSY, f"{_OFFSET}; {_CUT}", 8, loses=(Loss.OFFSETS, Loss.FRACTIONS), text=(34, _MOMENT_AND_OFFSET)),
    TypeMapping("datetimeoffset",   "{c}",                         "timestamptz",                    "DATETIME",                     "instant",   LOSSY, _OFFSET, 8, loses=(Loss.OFFSETS,), text=(34, _MOMENT_AND_OFFSET)),
    TypeMapping("char",             "{c}",                         "string",                         "VARCHAR({bytes})",             "text",      EXACT, "", 9),
    TypeMapping("varchar(max)",     "{c}",                         "string",                         "VARCHAR(1048576)",             "text",      EXACT, LIMIT_NOTE, 9, loses=_LONG),
    TypeMapping("varchar",          "{c}",                         "string",                         "VARCHAR({bytes})",             "text",      EXACT, "", 9),
    TypeMapping("nchar",            "{c}",                         "string",                         "VARCHAR({bytes})",             "text",      EXACT, "", 9),
    TypeMapping("nvarchar(max)",    "{c}",                         "string",                         "VARCHAR(1048576)",             "text",      EXACT, LIMIT_NOTE, 9, loses=_LONG),
    TypeMapping("nvarchar",         "{c}",                         "string",                         "VARCHAR({bytes})",             "text",      EXACT, "", 9),
    TypeMapping("text",             "CONVERT(varchar(max), {c})",  "string",                         "VARCHAR(1048576)",             "text",      EXACT, LIMIT_NOTE, 9, loses=_LONG),
    TypeMapping("ntext",            "CONVERT(nvarchar(max), {c})", "string",                         "VARCHAR(1048576)",             "text",      EXACT, LIMIT_NOTE, 9, loses=_LONG),
    TypeMapping("xml",              "CONVERT(nvarchar(max), {c})", "string",                         "VARCHAR(1048576)",             "text",      EXACT, LIMIT_NOTE, 9, loses=_LONG),
    TypeMapping("binary",           "{c}",                         "binary",                         "VARBINARY({bytes})",           "binary",    EXACT, "", 10),
    TypeMapping("varbinary(max)",   "{c}",                         "binary",                         "VARBINARY(1048576)",           "binary",    EXACT, LIMIT_NOTE, 10, loses=_LONG),
    TypeMapping("varbinary",        "{c}",                         "binary",                         "VARBINARY({bytes})",           "binary",    EXACT, "", 10),
    TypeMapping("image",            "CONVERT(varbinary(max), {c})", "binary",                        "VARBINARY(1048576)",           "binary",    EXACT, LIMIT_NOTE, 10, loses=_LONG),
    TypeMapping("timestamp",        "CONVERT(binary(8), {c})",     "binary",                         "VARBINARY(8)",                 "binary",    EXACT, "rowversion: the eight bytes as they are", 12),
    TypeMapping("uniqueidentifier", "{c}",                         "string",                         "VARCHAR(36)",                  "uuid",      EXACT, "kept as upper-case text", 11),
    TypeMapping("sql_variant",      _VARIANT_TEXT,                 "string",                         "VARCHAR(24000)",               "text",      EXACT, "kept as text, its type in a column beside", 13, added=(_VARIANT_TYPE,)),
    TypeMapping("hierarchyid",      "{c}.ToString()",              "string",                         "VARCHAR(12000)",               "text",      EXACT, "kept as its path: /1/2.1/", 14),
    TypeMapping("geometry",         "{c}.AsBinaryZM()",            "binary",                         "VARBINARY(1048576)",           "binary",    EXACT, "kept as WKB with Z and M, its SRID in a column beside", 15, loses=_LONG, added=(_SRID,)),
    TypeMapping("geography",        "{c}.AsBinaryZM()",            "binary",                         "VARBINARY(1048576)",           "binary",    EXACT, "kept as WKB with Z and M, its SRID in a column beside", 15, loses=_LONG, added=(_SRID,)),
    TypeMapping("json",             "CONVERT(nvarchar(max), {c})", "string",                         "VARCHAR(1048576)",             "text",      EXACT, "kept as its text", 16, loses=_LONG),
    TypeMapping("vector",           "CONVERT(nvarchar(max), {c})", "string",                         "VARCHAR(1048576)",             "text",      LOSSY, "kept as SQL Server's text, which has eight significant digits of each number", 17),
    TypeMapping("clr",              "CONVERT(varbinary(max), {c})", "binary",                        "VARBINARY(1048576)",           "binary",    EXACT, "kept as the bytes that its assembly can read", 18, loses=_LONG),
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
        raise UnsupportedError(f"Type {named} has no mapping.", code="MA-PL-011")
    return row


def map_column(
    column: Column, *, name: str, field_id: int, conversions: Conversions = DEFAULT
) -> ColumnPlan:
    """Plan one source column; what belongs beside it is `map_added`'s.

    Args:
        column: as introspected.
        name: its name in Iceberg and StarRocks.
        field_id: its Iceberg field id.
        conversions: what the user chose for it.

    Raises:
        UnsupportedError: the type is refused or unknown; the message gives the reason.
    """
    row = _row(column)
    parameters = {
        "precision": column.type.precision,
        "scale": column.type.scale,
        "bytes": _target_bytes(column.type),
    }
    planned = _planned(
        column, name, field_id, _selected(row, column.type), row.iceberg.format(**parameters),
        row.starrocks.format(**parameters), row.measure,
    )  # fmt: skip
    if row.text is not None and _wants_text(row, conversions):
        length, select = row.text
        return _planned(
            column, name, field_id, select, "string", f"VARCHAR({length})", "text"
        ).model_copy(update={"note": "kept as text"})
    kept = {added.note for added in added_columns(column, conversions)}
    lost = tuple(loss for loss in row.loses if loss not in _ADDED or _ADDED[loss].note not in kept)
    is_lossy = row.fidelity is LOSSY and (bool(lost) or not row.loses)
    notes = [] if row.loses and row.fidelity is LOSSY else [row.note]
    update: dict[str, Any] = {"loses": lost}
    if row.mssql.partition("(")[0] in _UTF16:
        update["utf16"] = conversions.invalid_text is InvalidText.STOP
        if not update["utf16"]:
            is_lossy = True
            notes.append(_REPLACED)
    if Loss.LONG_VALUES in lost:
        notes = [note for note in notes if note != LIMIT_NOTE]
        match conversions.long_values:
            case LongValues.ICEBERG:
                update |= {"starrocks_type": "", "loses": ()}
                notes.append(_ICEBERG_ONLY)
            case LongValues.CUT if row.iceberg == "string":
                update["cut"] = True
                is_lossy = True
                notes.append(_SHORTENED)
            case _:
                notes.append(LIMIT_NOTE)
    else:
        notes += [_LOSS_NOTES[loss] for loss in lost]
    update["fidelity"] = LOSSY if is_lossy else EXACT
    update["note"] = "; ".join(filter(None, notes))
    return planned.model_copy(update=update)


def added_columns(column: Column, conversions: Conversions = DEFAULT) -> tuple[AddedColumn, ...]:
    """What a source column needs beside its value: in the order in which it follows.

    Raises:
        UnsupportedError: the type is refused or unknown.
    """
    row = _row(column)
    if row.text is not None and _wants_text(row, conversions):
        return row.added
    wanted = {
        Loss.FRACTIONS: conversions.fractions is Fractions.COLUMN,
        Loss.OFFSETS: conversions.offsets is Offsets.COLUMN,
    }
    return (*row.added, *(_ADDED[loss] for loss in row.loses if wanted.get(loss)))


def map_added(column: Column, added: AddedColumn, *, name: str, field_id: int) -> ColumnPlan:
    """Plan a column that stands beside another one."""
    planned = _planned(
        column, name, field_id, added.select, added.iceberg, added.starrocks, added.measure
    )
    return planned.model_copy(update={"note": added.note, "added": True})


def _selected(row: TypeMapping, mssql_type: MssqlType) -> str:
    """T-SQL that reads a column; text of double-byte code pages as nvarchar.

    mssql-python's Arrow reader garbled such a text (code page 936) beside a (max) column, without
    an error; what Unicode the server makes of it is in no doubt.
    """
    is_text = mssql_type.name in {"char", "varchar", "text"}
    if not is_text or not (mssql_type.collation or "").startswith(_DOUBLE_BYTE):
        return row.select
    length = mssql_type.length
    width = "max" if length is None or length > _MOST_UNITS else length
    return f"CONVERT(nvarchar({width}), {row.select})"


_DOUBLE_BYTE = ("Chinese_", "Japanese_", "Korean_")
"""Beginnings of collations with more than one byte to a character, apart from those of UTF-8."""
_MOST_UNITS = 4000
"""Longest nvarchar that is not (max)."""


def _row(column: Column) -> TypeMapping:
    remedy = "List it under exclude_columns in migration.yaml to migrate the table without it."
    if column.refusal is not None:
        raise UnsupportedError(
            f"Column {column.name}: {column.refusal}.", code="MA-PL-011", next_step=remedy
        )
    try:
        row = type_mapping(column.type)
    except UnsupportedError as error:
        raise UnsupportedError(
            f"Column {column.name}: {error.found}", code="MA-PL-011", next_step=remedy
        ) from None
    if row.fidelity is REFUSED:
        declared = column.type.user_type or column.type.declaration
        raise UnsupportedError(
            f"Column {column.name} of type {declared} is refused: {row.note}.",
            code="MA-PL-011",
            next_step=remedy,
        )
    return row


def _wants_text(row: TypeMapping, conversions: Conversions) -> bool:
    wanted = {
        Loss.FRACTIONS: conversions.fractions is Fractions.TEXT,
        Loss.OFFSETS: conversions.offsets is Offsets.TEXT,
    }
    return any(wanted.get(loss) for loss in row.loses)


def _planned(  # noqa: PLR0917 - the cells of a row, in the table's order
    column: Column,
    name: str,
    field_id: int,
    select: str,
    iceberg: str,
    starrocks: str,
    measure: str,
) -> ColumnPlan:
    return ColumnPlan(
        name=name,
        field_id=field_id,
        iceberg_type=iceberg,
        starrocks_type=starrocks,
        nullable=column.nullable,
        source_name=column.name,
        mssql_type=column.type.declaration,
        collation=column.type.collation,
        select_expression=select.replace("{c}", bracketed(column.name)),
        measure=measure,
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
        raise UnsupportedError(
            f"Iceberg type {iceberg_type} has no Arrow type here.", code="MA-PL-012"
        ) from None


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
