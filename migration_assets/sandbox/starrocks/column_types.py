"""StarRocks' column types: how they are written, stored in DuckDB and shown to clients.

Ranges and refusals: https://docs.starrocks.io/docs/sql-reference/data-types/
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from migration_assets.sandbox.starrocks.errors import analysis_error, unsupported
from migration_assets.sandbox.starrocks.lexer import Reader

Family = Literal[
    "boolean",
    "integer",
    "float",
    "decimal",
    "string",
    "binary",
    "date",
    "datetime",
    "null",
    "other",
]

MAX_VARCHAR = 1_048_576
STRING_LENGTH = 65_533
INTEGERS = ("TINYINT", "SMALLINT", "INT", "BIGINT", "LARGEINT")

_FAMILIES: dict[str, Family] = {
    "BOOLEAN": "boolean",
    **dict.fromkeys(INTEGERS, "integer"),
    "FLOAT": "float",
    "DOUBLE": "float",
    "DECIMAL": "decimal",
    "CHAR": "string",
    "VARCHAR": "string",
    "VARBINARY": "binary",
    "DATE": "date",
    "DATETIME": "datetime",
    "NULL_TYPE": "null",
}
_DUCKDB = {
    "INT": "INTEGER",
    "LARGEINT": "HUGEINT",
    "CHAR": "VARCHAR",
    "VARBINARY": "BLOB",
    "DATETIME": "TIMESTAMP",
    "JSON": "VARCHAR",
    "NULL_TYPE": "INTEGER",
}
_COLUMN_TYPE = {
    "BOOLEAN": "tinyint(1)",
    "TINYINT": "tinyint(4)",
    "SMALLINT": "smallint(6)",
    "INT": "int(11)",
    "BIGINT": "bigint(20)",
    "LARGEINT": "bigint(20) unsigned",
}
_ALIASES = {"INTEGER": "INT", "BINARY": "VARBINARY", "BOOL": "BOOLEAN", "NUMERIC": "DECIMAL"}
_COMPLEX = ("ARRAY", "MAP", "STRUCT", "HLL", "BITMAP", "PERCENTILE", "VARIANT")


@dataclass(frozen=True)
class ColumnType:
    """A StarRocks type.

    Attributes:
        name: upper case; `STRING` is VARCHAR(65533).
        length: bytes of CHAR, VARCHAR and VARBINARY.
        precision: digits of a DECIMAL.
        scale: digits behind its point.
    """

    name: str
    length: int = 0
    precision: int = 0
    scale: int = 0

    @property
    def family(self) -> Family:
        """The group of types that behave alike."""
        return _FAMILIES.get(self.name, "other")

    @property
    def duckdb(self) -> str:
        """The type of its column in DuckDB."""
        if self.name == "DECIMAL":
            return f"DECIMAL({self.precision},{self.scale})"
        if self.name in ("TIME", "UNKNOWN_TYPE", *_COMPLEX):
            raise unsupported(f"values of type {self.name}")
        return _DUCKDB.get(self.name, self.name)

    @property
    def described(self) -> str:
        """As DESC shows it: `varchar(10)`, `decimal(10,2)`, `int`."""
        if self.name == "DECIMAL":
            return f"decimal({self.precision},{self.scale})"
        if self.name in ("CHAR", "VARCHAR"):
            return f"{self.name.lower()}({self.length})"
        if self.name == "VARBINARY" and self.length:
            return f"varbinary({self.length})"
        return self.name.lower()

    @property
    def data_type(self) -> str:
        """As `information_schema.columns.DATA_TYPE` shows it."""
        names = {"BOOLEAN": "tinyint", "LARGEINT": "bigint unsigned"}
        return names.get(self.name, self.name.lower())

    @property
    def column_type(self) -> str:
        """As `information_schema.columns.COLUMN_TYPE` and SHOW CREATE TABLE show it."""
        if self.name == "DECIMAL":
            return f"decimal({self.precision}, {self.scale})"
        return _COLUMN_TYPE.get(self.name, self.described)

    @property
    def defined(self) -> str:
        """As SHOW CREATE TABLE shows it."""
        own = {"BOOLEAN": "boolean", "LARGEINT": "largeint(40)"}
        return own.get(self.name, self.column_type)


BOOLEAN = ColumnType("BOOLEAN")
INT = ColumnType("INT")
BIGINT = ColumnType("BIGINT")
LARGEINT = ColumnType("LARGEINT")
DOUBLE = ColumnType("DOUBLE")
DATE = ColumnType("DATE")
DATETIME = ColumnType("DATETIME")
STRING = ColumnType("VARCHAR", STRING_LENGTH)
BINARY = ColumnType("VARBINARY", MAX_VARCHAR)
NULL = ColumnType("NULL_TYPE")


def decimal(precision: int, scale: int) -> ColumnType:
    """A DECIMAL within the 38 digits that DuckDB can store."""
    return ColumnType("DECIMAL", precision=min(precision, 38), scale=scale)


def read_type(reader: Reader, column: str) -> ColumnType:
    """Read the type of a column definition.

    Args:
        reader: stands before the type.
        column: its column, for messages.

    Raises:
        StarRocksError: the type is refused by syntax, by a limit, or by this stand-in.
    """
    error = reader.error()
    word = reader.name().upper()
    word = _ALIASES.get(word, word)
    if word in _COMPLEX:
        _skip_arguments(reader)
        return ColumnType(word)
    sizes = _arguments(reader)
    if word == "STRING" and not sizes:
        return STRING
    if word == "TIME":
        raise analysis_error(f"Type:TIME of column:{column} does not support")
    if word == "DECIMAL":
        return _decimal(sizes, column)
    if word in ("CHAR", "VARCHAR", "VARBINARY") and len(sizes) <= 1:
        return _sized(word, sizes[0] if sizes else None)
    if word in ("FLOAT", "DOUBLE", "DATE", "DATETIME", "JSON", "BOOLEAN") and not sizes:
        return ColumnType(word)
    if word in INTEGERS and len(sizes) <= 1 and not reader.at("UNSIGNED"):
        return ColumnType(word)  # int(11): the width is for show
    raise error


def _arguments(reader: Reader) -> list[int]:
    sizes = []
    if reader.take("("):
        sizes.append(reader.integer())
        while reader.take(","):
            sizes.append(reader.integer())
        reader.expect(")")
    return sizes


def _skip_arguments(reader: Reader) -> None:
    depth = 0
    while reader.at("<") or reader.at(">") or (depth and not reader.at("")):
        depth += 1 if reader.at("<") else -1 if reader.at(">") else 0
        if not reader.one_of("<", ">", ",", ":", "(", ")"):
            reader.value()


def _sized(word: str, length: int | None) -> ColumnType:
    limit = 255 if word == "CHAR" else MAX_VARCHAR
    if length is None:
        length = MAX_VARCHAR if word == "VARBINARY" else 1
    if length > limit:
        raise analysis_error(f"{word.capitalize()} size must be <= {limit}: {length}")
    if length < 1:
        raise analysis_error(f"{word.capitalize()} size must be > 0: {length}")
    return ColumnType(word, length)


def _decimal(sizes: list[int], column: str) -> ColumnType:
    precision, scale = [*sizes, *((10, 0)[len(sizes) :])][:2]
    if not 1 <= precision <= 76:
        raise analysis_error(f"DECIMAL's precision should range from 1 to 76: {precision}")
    if scale > precision:
        raise analysis_error("DECIMAL's scale should be less than or equal to its precision")
    if precision > 38:
        raise unsupported(f"DECIMAL({precision},{scale}) of column {column}, above 38 digits")
    return ColumnType("DECIMAL", precision=precision, scale=scale)
