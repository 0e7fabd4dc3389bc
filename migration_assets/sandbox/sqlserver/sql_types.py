"""SQL Server's types as one table of data, and `SqlType`, one declared type.

Ids, lengths and precisions are those of `sys.types`:
https://learn.microsoft.com/sql/relational-databases/system-catalog-views/sys-types-transact-sql
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported

Family = Literal[
    "bit", "integer", "decimal", "money", "float", "string", "binary", "date", "time", "datetime",
    "offset", "guid", "null", "variant", "hierarchy", "spatial", "json", "vector", "clr",
]  # fmt: skip

EXTENDED: frozenset[Family] = frozenset(
    {"variant", "hierarchy", "spatial", "json", "vector", "clr"}
)
"""Families that have expressions of their own and no format on the wire here."""

DEFAULT_COLLATION = "SQL_Latin1_General_CP1_CI_AS"
MAX = -1
"""Length of a `(max)` type."""


@dataclass(frozen=True)
class TypeInfo:
    """One row of the type table.

    Attributes:
        name: SQL Server's name.
        system_type_id: `sys.types.system_type_id`.
        rank: place in the data type precedence, higher wins.
        family: how values behave.
        duckdb: storage; `{p}` and `{s}` stand for precision and scale.
        token: TDS type byte of nullable values.
        fixed_token: TDS type byte of NOT NULL values without a length, where one exists.
        max_length: bytes, as in `sys.types`.
        precision: as in `sys.types`.
        scale: as in `sys.types`.
        unicode: strings in UTF-16.
        padded: fixed length strings and binaries.
        large: text, ntext, image.
        user_type_id: `sys.types.user_type_id` where it is not the same as `system_type_id`.
    """

    name: str
    system_type_id: int
    rank: int
    family: Family
    duckdb: str
    token: int
    fixed_token: int = 0
    max_length: int = 0
    precision: int = 0
    scale: int = 0
    unicode: bool = False
    padded: bool = False
    large: bool = False
    user_type_id: int = 0


_OFFSET_STORAGE = 'STRUCT("utc" TIMESTAMP, "off" SMALLINT)'
_TICKS = {
    "time": "BIGINT",
    "datetime2": "BIGINT",
    "datetimeoffset": 'STRUCT("utc" BIGINT, "off" SMALLINT)',
}
"""Storage of the types with seven digits: 100 ns since midnight or since 0001-01-01, which DuckDB's
own types either cut to microseconds or cannot hold before 1677."""
_SPATIAL_STORAGE = 'STRUCT("srid" INTEGER, "wkb" BLOB)'
_VARIANT_STORAGE = (
    'STRUCT("base" VARCHAR, "precision" INTEGER, "scale" INTEGER, "bytes" INTEGER, '
    '"collation" VARCHAR, "text" VARCHAR)'
)
_SCALED = frozenset(_TICKS)

TYPES: dict[str, TypeInfo] = {
    row.name: row
    for row in [
        TypeInfo("bit", 104, 11, "bit", "BOOLEAN", 0x68, 0x32, 1, 1),
        TypeInfo("tinyint", 48, 12, "integer", "UTINYINT", 0x26, 0x30, 1, 3),
        TypeInfo("smallint", 52, 13, "integer", "SMALLINT", 0x26, 0x34, 2, 5),
        TypeInfo("int", 56, 14, "integer", "INTEGER", 0x26, 0x38, 4, 10),
        TypeInfo("bigint", 127, 15, "integer", "BIGINT", 0x26, 0x7F, 8, 19),
        TypeInfo("decimal", 106, 18, "decimal", "DECIMAL({p},{s})", 0x6A, 0, 17, 38, 38),
        TypeInfo("numeric", 108, 18, "decimal", "DECIMAL({p},{s})", 0x6C, 0, 17, 38, 38),
        TypeInfo("smallmoney", 122, 16, "money", "DECIMAL(10,4)", 0x6E, 0x7A, 4, 10, 4),
        TypeInfo("money", 60, 17, "money", "DECIMAL(19,4)", 0x6E, 0x3C, 8, 19, 4),
        TypeInfo("real", 59, 19, "float", "FLOAT", 0x6D, 0x3B, 4, 24),
        TypeInfo("float", 62, 20, "float", "DOUBLE", 0x6D, 0x3E, 8, 53),
        TypeInfo("date", 40, 22, "date", "DATE", 0x28, 0, 3, 10),
        TypeInfo("time", 41, 21, "time", "TIME", 0x29, 0, 5, 16, 7),
        TypeInfo("smalldatetime", 58, 23, "datetime", "TIMESTAMP", 0x6F, 0x3A, 4, 16),
        TypeInfo("datetime", 61, 24, "datetime", "TIMESTAMP", 0x6F, 0x3D, 8, 23, 3),
        TypeInfo("datetime2", 42, 25, "datetime", "TIMESTAMP", 0x2A, 0, 8, 27, 7),
        TypeInfo("datetimeoffset", 43, 26, "offset", _OFFSET_STORAGE, 0x2B, 0, 10, 34, 7),
        TypeInfo("char", 175, 3, "string", "VARCHAR", 0xAF, 0, 8000, padded=True),
        TypeInfo("varchar", 167, 4, "string", "VARCHAR", 0xA7, 0, 8000),
        TypeInfo("text", 35, 9, "string", "VARCHAR", 0x23, 0, 16, large=True),
        TypeInfo("nchar", 239, 5, "string", "VARCHAR", 0xEF, 0, 8000, unicode=True, padded=True),
        TypeInfo("nvarchar", 231, 6, "string", "VARCHAR", 0xE7, 0, 8000, unicode=True),
        TypeInfo("ntext", 99, 10, "string", "VARCHAR", 0x63, 0, 16, unicode=True, large=True),
        TypeInfo("xml", 241, 27, "string", "VARCHAR", 0xF1, 0, -1, unicode=True),
        TypeInfo("binary", 173, 1, "binary", "BLOB", 0xAD, 0, 8000, padded=True),
        TypeInfo("varbinary", 165, 2, "binary", "BLOB", 0xA5, 0, 8000),
        TypeInfo("image", 34, 8, "binary", "BLOB", 0x22, 0, 16, large=True),
        TypeInfo("timestamp", 189, 7, "binary", "BLOB", 0xAD, 0, 8, padded=True),
        TypeInfo("uniqueidentifier", 36, 7, "guid", "UUID", 0x24, 0, 16),
        TypeInfo("sql_variant", 98, 28, "variant", _VARIANT_STORAGE, 0, 0, 8016),
        # Their values have a text or OGC form here, not SQL Server's own bytes.
        TypeInfo("hierarchyid", 240, 30, "hierarchy", "VARCHAR", 0, 0, 892, user_type_id=128),
        TypeInfo("geometry", 240, 30, "spatial", _SPATIAL_STORAGE, 0, 0, -1, user_type_id=129),
        TypeInfo("geography", 240, 30, "spatial", _SPATIAL_STORAGE, 0, 0, -1, user_type_id=130),
        TypeInfo("json", 244, 29, "json", "VARCHAR", 0, 0, -1),
        TypeInfo("vector", 255, 29, "vector", "BLOB", 0, 0, 8000),
        # A CLR type of the user's; its own name is in `Database.types`.
        TypeInfo("clr", 240, 30, "clr", "BLOB", 0, 0, -1),
        # The type of a bare NULL; goes out as int, like SQL Server's.
        TypeInfo("null", 0, 0, "null", "INTEGER", 0x26, 0, 4, 10),
    ]
}

_SYNONYMS = {
    "rowversion": "timestamp", "integer": "int", "dec": "decimal", "character": "char",
    "national character": "nchar", "double precision": "float", "double": "float",
}  # fmt: skip

_REFUSED = {"cursor"}
_LONGEST_VECTOR = 1998


@dataclass(frozen=True)
class SqlType:
    """A declared type such as `decimal(10,2)` or `nvarchar(max)`.

    Attributes:
        name: a key of `TYPES`.
        length: declared length in the type's own units (UTF-16 units, bytes); `MAX` for (max).
        precision: of decimals, 53 or 24 for float and real, else 0.
        scale: of decimals, digits of fractional seconds.
        collation: of strings.
        user_type: `user_type_id` of the alias or CLR type that the column was declared with.
    """

    name: str
    length: int = 0
    precision: int = 0
    scale: int = 0
    collation: str = ""
    user_type: int = 0

    @property
    def info(self) -> TypeInfo:
        """The row of the type table."""
        return TYPES[self.name]

    @property
    def family(self) -> Family:
        """How values behave."""
        return self.info.family

    @property
    def ticks(self) -> bool:
        """Whether values are kept in 100 ns: time(7), datetime2(7) and datetimeoffset(7)."""
        return self.scale == 7 and self.name in _SCALED

    @property
    def user_type_id(self) -> int:
        """`sys.columns.user_type_id`."""
        return self.user_type or self.info.user_type_id or self.info.system_type_id

    @property
    def duckdb(self) -> str:
        """Storage type in DuckDB."""
        if self.ticks:
            return _TICKS[self.name]
        return self.info.duckdb.format(p=self.precision, s=self.scale)

    @property
    def max_length(self) -> int:
        """`sys.columns.max_length`: bytes, -1 for (max)."""
        if self.name in {"decimal", "numeric"}:
            return decimal_bytes(self.precision)
        if self.name == "vector":
            return 8 + 4 * self.length
        if self.name in _SCALED:
            return (
                time_bytes(self.scale) + {"time": 0, "datetime2": 3, "datetimeoffset": 5}[self.name]
            )
        if self.family in {"string", "binary"} and self.length:
            if self.length == MAX or self.info.large or self.name == "timestamp":
                return self.info.max_length if self.length != MAX else MAX
            return self.length * (2 if self.info.unicode else 1)
        return self.info.max_length

    @property
    def catalog_precision(self) -> int:
        """`sys.columns.precision`."""
        if self.name in {"decimal", "numeric"}:
            return self.precision
        if self.name in _SCALED:
            base = {"time": 8, "datetime2": 19, "datetimeoffset": 26}[self.name]
            return base + (self.scale + 1 if self.scale else 0)
        return self.info.precision

    @property
    def catalog_scale(self) -> int:
        """`sys.columns.scale`."""
        if self.name in {"decimal", "numeric", *_SCALED}:
            return self.scale
        return self.info.scale

    @property
    def declaration(self) -> str:
        """T-SQL text of the type."""
        if self.name in {"decimal", "numeric"}:
            return f"{self.name}({self.precision},{self.scale})"
        if self.name in _SCALED:
            return f"{self.name}({self.scale})"
        if self.name in {"char", "varchar", "nchar", "nvarchar", "binary", "varbinary"}:
            return f"{self.name}({'max' if self.length == MAX else self.length})"
        if self.name == "vector":
            return f"vector({self.length})"
        return "CLR type" if self.name == "clr" else self.name

    def collated(self, collation: str) -> SqlType:
        """The same type in another collation."""
        return replace(self, collation=collation)


def decimal_bytes(precision: int) -> int:
    """Bytes of a decimal on the wire and on disk, its sign byte included."""
    return 5 if precision <= 9 else 9 if precision <= 19 else 13 if precision <= 28 else 17


def time_bytes(scale: int) -> int:
    """Bytes of the time part of time(n), datetime2(n), datetimeoffset(n)."""
    return 3 if scale <= 2 else 4 if scale <= 4 else 5


def declared(name: str, args: list[int], *, cast: bool = False) -> SqlType:
    """Make a type from its name and arguments, with T-SQL's defaults.

    Args:
        name: as written, any case.
        args: its arguments; `MAX` for max.
        cast: it is the target of a CAST or CONVERT, where strings default to 30 instead of 1.

    Raises:
        SqlServerError: 2715 for an unknown type, 50001 for one the stand-in refuses.
    """
    key = name.lower()
    key = _SYNONYMS.get(key, key)
    if key == "sysname":
        return SqlType("nvarchar", 128, collation=DEFAULT_COLLATION)
    if key in _REFUSED:
        raise unsupported(f"data type {name}")
    if key not in TYPES or key in {"null", "clr"}:
        raise SqlServerError(2715, f"Cannot find data type {name}.")
    info = TYPES[key]
    if info.family == "string":
        length = args[0] if args else (MAX if key == "xml" or info.large else 30 if cast else 1)
        if length > (4000 if info.unicode else 8000) or length == 0:
            raise SqlServerError(
                131, f"The size ({length}) given to the type '{key}' exceeds the maximum allowed."
            )
        return SqlType(key, length, collation="" if key == "xml" else DEFAULT_COLLATION)
    if info.family == "binary":
        default = 8 if key == "timestamp" else MAX if info.large else 30 if cast else 1
        return SqlType(key, args[0] if args else default)
    if info.family == "decimal":
        precision = args[0] if args else 18
        scale = args[1] if len(args) > 1 else 0
        if not 1 <= precision <= 38 or scale > precision:
            raise SqlServerError(1007, f"The number '{precision}' is out of the range for numeric.")
        return SqlType(key, precision=precision, scale=scale)
    if key == "float" and args and args[0] <= 24:
        return SqlType("real", precision=24)
    if key in _SCALED:
        scale = args[0] if args else 7
        if not 0 <= scale <= 7:
            raise SqlServerError(1002, f"Line 1: Specified scale {scale} is invalid.", 15)
        return SqlType(key, scale=scale)
    if key == "vector":
        if len(args) != 1 or not 1 <= args[0] <= _LONGEST_VECTOR:
            raise unsupported(
                f"vector of other than one dimension count from 1 to {_LONGEST_VECTOR}"
            )
        return SqlType(key, args[0])
    return SqlType(key, precision=info.precision, scale=info.scale)


BIT = declared("bit", [])
TINYINT = declared("tinyint", [])
SMALLINT = declared("smallint", [])
INT = declared("int", [])
BIGINT = declared("bigint", [])
FLOAT = declared("float", [])
DATE = declared("date", [])
DATETIME = declared("datetime", [])
GUID = declared("uniqueidentifier", [])
SYSNAME = declared("sysname", [])
NULL = SqlType("null")


def decimal(precision: int, scale: int) -> SqlType:
    """A decimal, its precision cut to 38 the way SQL Server cuts results of arithmetic."""
    if precision > 38:
        scale = max(min(scale, 6), scale - (precision - 38)) if scale > 6 else scale
        precision = 38
    return SqlType("decimal", precision=precision, scale=min(scale, precision))


def varchar(length: int) -> SqlType:
    """Varchar of the default collation; longer than 8000 is (max)."""
    return SqlType("varchar", length if 0 < length <= 8000 else MAX, collation=DEFAULT_COLLATION)


def nvarchar(length: int) -> SqlType:
    """Nvarchar of the default collation; longer than 4000 is (max)."""
    return SqlType("nvarchar", length if 0 < length <= 4000 else MAX, collation=DEFAULT_COLLATION)


def varbinary(length: int) -> SqlType:
    """Varbinary; longer than 8000 is (max)."""
    return SqlType("varbinary", length if 0 < length <= 8000 else MAX)


_INTEGER_DIGITS = {"bit": 1, "tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}


def as_decimal(kind: SqlType) -> SqlType:
    """The decimal that holds every value of an integer, money or decimal type."""
    if kind.name in _INTEGER_DIGITS:
        return decimal(_INTEGER_DIGITS[kind.name], 0)
    if kind.family == "money":
        return decimal(kind.info.precision, 4)
    return kind


def common(kinds: list[SqlType]) -> SqlType:
    """Type of CASE, COALESCE, UNION and comparisons: the highest in precedence, wide enough."""
    known = [kind for kind in kinds if kind.family != "null"]
    if not known:
        return NULL
    top = max(known, key=lambda kind: kind.info.rank)
    if top.family == "decimal":
        parts = [as_decimal(kind) for kind in known if kind.family != "string"]
        scale = max(part.scale for part in parts)
        return decimal(max(part.precision - part.scale for part in parts) + scale, scale)
    if top.family in {"string", "binary"} and not top.info.large and top.name != "xml":
        same = [kind for kind in known if kind.family == top.family]
        lengths = [kind.length for kind in same]
        longest = MAX if MAX in lengths else max(lengths)
        name = top.name
        if len(set(lengths)) > 1:
            name = {"char": "varchar", "nchar": "nvarchar", "binary": "varbinary"}.get(name, name)
        return replace(top, name=name, length=longest)
    if top.name in _SCALED:
        scales = [kind.scale for kind in known if kind.family in {"time", "datetime", "offset"}]
        return replace(top, scale=max(scales))
    return top
