"""CREATE TABLE: reads it strictly in StarRocks' clause order and applies the analyser's rules.

Grammar: https://docs.starrocks.io/docs/sql-reference/sql-statements/table_bucket_part_index/CREATE_TABLE/
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from migration_assets.sandbox.starrocks.column_types import read_type
from migration_assets.sandbox.starrocks.errors import StarRocksError, analysis_error, unsupported
from migration_assets.sandbox.starrocks.lexer import Reader
from migration_assets.sandbox.starrocks.tables import Column, Partition, Table

MAX_COLUMNS = 10_000
BACKENDS = 3  # the stand-in claims three, so that the default replication_num works

_NAME_LIMIT = 1024
_RESERVED = ("__op", "__row", "___count___")
_PROPERTIES = {
    "bloom_filter_columns", "bucket_size", "colocate_with", "compression", "datacache.enable",
    "enable_persistent_index", "fast_schema_evolution", "in_memory", "partition_live_number",
    "persistent_index_type", "replicated_storage", "replication_num", "storage_medium",
    "storage_volume", "write_quorum",
}  # fmt: skip
_KEY_REFUSED = ("FLOAT", "DOUBLE", "JSON")
_FIRST_REFUSED = ("FLOAT", "DOUBLE", "JSON", "ARRAY", "MAP", "STRUCT")
_PRIMARY_ALLOWED = (
    "BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "LARGEINT", "VARCHAR", "DATE", "DATETIME",
)  # fmt: skip


@dataclass
class Definition:
    """A CREATE TABLE statement as it was read."""

    name: list[str]
    if_not_exists: bool = False
    columns: list[Column] = field(default_factory=list)
    explicit_null: set[str] = field(default_factory=set)
    model: str = ""
    keys: list[str] = field(default_factory=list)
    comment: str = ""
    partition_columns: list[str] = field(default_factory=list)
    partitions: list[Partition] | None = None
    distribution: str = ""
    hash_columns: list[str] = field(default_factory=list)
    buckets: int = 0
    sort_columns: list[str] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)


def read_definition(reader: Reader) -> Definition:
    """Read what follows CREATE TABLE."""
    exists = reader.take("IF", "NOT", "EXISTS")
    read = Definition(reader.dotted_name(), exists)
    if reader.at("LIKE") or reader.at("AS"):
        raise unsupported("CREATE TABLE ... LIKE and CREATE TABLE ... AS SELECT")
    reader.expect("(")
    while True:
        if reader.at("INDEX"):
            raise unsupported("indexes")
        read_column(reader, read)
        if not reader.take(","):
            break
    reader.expect(")")
    if reader.take("ENGINE"):
        reader.expect("=")
        if reader.name().upper() != "OLAP":
            raise unsupported("other engines than OLAP")
    read.model = reader.one_of("DUPLICATE", "PRIMARY", "UNIQUE", "AGGREGATE")
    if read.model:
        reader.expect("KEY")
        read.keys = reader.names()
    if reader.take("COMMENT"):
        read.comment = reader.string()
    _partitioning(reader, read)
    _distribution(reader, read)
    if reader.take("ORDER", "BY"):
        read.sort_columns = reader.names()
    if reader.at("ROLLUP"):
        raise unsupported("rollups")
    if reader.take("PROPERTIES"):
        read.properties = reader.properties()
    reader.end()
    return read


def read_column(reader: Reader, read: Definition) -> None:
    """Read one column definition and append it."""
    column = reader.name()
    column_type = read_type(reader, column)
    if reader.at("AUTO_INCREMENT") or reader.at("AS"):
        raise unsupported("AUTO_INCREMENT and generated columns")
    nullable = True
    if reader.take("NOT", "NULL"):
        nullable = False
    elif reader.take("NULL"):
        read.explicit_null.add(column.lower())
    default = None
    if reader.take("DEFAULT") and not reader.take("NULL"):
        if reader.next.kind == "word":
            raise unsupported(f"DEFAULT {reader.next.text}")
        default = reader.value()
    comment = reader.string() if reader.take("COMMENT") else ""
    read.columns.append(Column(column, column_type, nullable, default, comment))


def _partitioning(reader: Reader, read: Definition) -> None:
    if not reader.take("PARTITION", "BY"):
        return
    if reader.at("RANGE") or (reader.at("(", ahead=1) and not reader.at("LIST")):
        raise unsupported("PARTITION BY RANGE or by a function")
    listed = reader.take("LIST")
    read.partition_columns = reader.names()
    if not reader.take("("):
        if listed:
            raise reader.error()
        return
    read.partitions = []
    while reader.take("PARTITION"):
        partition = reader.name()
        reader.expect("VALUES", "IN", "(")
        values: list[str | None] = [reader.string()]
        while reader.take(","):
            values.append(reader.string())
        reader.expect(")")
        read.partitions.append(Partition(partition, values))
        reader.take(",")
    reader.expect(")")


def _distribution(reader: Reader, read: Definition) -> None:
    if not reader.take("DISTRIBUTED", "BY"):
        return
    read.distribution = reader.one_of("HASH", "RANDOM")
    if read.distribution == "HASH":
        read.hash_columns = reader.names()
    elif not read.distribution:
        raise reader.error()
    if reader.take("BUCKETS"):
        read.buckets = reader.integer()


def check_names(columns: list[Column]) -> None:
    """Refuse column names that StarRocks refuses, and duplicates (case does not matter)."""
    seen = set()
    for column in columns:
        text = column.name
        reserved = text in _RESERVED or text.startswith("__generated_partition_column_")
        if not text or len(text) > _NAME_LIMIT or "*" in text or reserved:
            raise analysis_error(f"Incorrect column name '{text}'", 1166)
        if text.lower() in seen:
            raise analysis_error(f"Duplicate column name '{text}'", 1060)
        seen.add(text.lower())


def check_table_name(table: str) -> None:
    """Refuse a table name that StarRocks refuses."""
    if not 1 <= len(table) <= _NAME_LIMIT or "\0" in table:
        raise analysis_error(f"Incorrect table name '{table}'", 1103)


def check_database_name(database: str) -> None:
    """Refuse a database name that StarRocks refuses: ASCII, no space or dot, no leading digit."""
    if not re.fullmatch(r"[a-zA-Z][\w\-~!@#$%^&<>=+]{0,255}", database, re.ASCII):
        raise analysis_error(f"Incorrect database name '{database}'", 1102)


def define_table(read: Definition, storage: str) -> Table:
    """Apply the analyser's rules and complete the definition.

    Raises:
        StarRocksError: with StarRocks' text, as far as it was seen on a real frontend.
    """
    check_table_name(read.name[-1])
    check_names(read.columns)
    if len(read.columns) > MAX_COLUMNS:
        raise analysis_error("Too many columns", 1117)
    columns = {c.name.lower(): c for c in read.columns}
    model, keys = _keys(read, columns)
    _check_partitions(read, columns, model, keys)
    _check_distribution(read, columns, model, keys)
    _check_properties(read.properties)
    for column in read.sort_columns:
        _known(columns, column)
    for defined in read.columns:
        defined.type.duckdb  # noqa: B018 - raises for types that cannot be stored
    if model == "PRIMARY":
        read.columns = [
            Column(c.name, c.type, c.nullable and c.name.lower() not in keys, c.default, c.comment)
            for c in read.columns
        ]
    hashed = read.hash_columns or (list(read.keys) if model == "PRIMARY" else [])
    return Table(
        name=read.name[-1],
        storage=storage,
        columns=read.columns,
        model=model,  # type: ignore[arg-type] # AGGREGATE was refused
        keys=[columns[k].name for k in keys],
        comment=read.comment,
        partition_columns=[columns[c.lower()].name for c in read.partition_columns],
        automatic=read.partitions is None and bool(read.partition_columns),
        hash_columns=hashed,
        buckets=read.buckets,
        sort_columns=read.sort_columns,
        properties={"compression": "LZ4", "replication_num": str(BACKENDS)} | read.properties,
        partitions={p.name: p for p in _partitions(read)},
    )


def _partitions(read: Definition) -> list[Partition]:
    if not read.partition_columns:
        return [Partition(read.name[-1], [])]
    return read.partitions or []


def _known(columns: dict[str, Column], column: str) -> Column:
    found = columns.get(column.lower())
    if found is None:
        raise analysis_error(f"Column {column} does not exist in table")
    return found


def _keys(read: Definition, columns: dict[str, Column]) -> tuple[str, list[str]]:
    if read.model == "AGGREGATE":
        raise unsupported("AGGREGATE KEY tables")
    first = read.columns[0].type
    if not read.model:
        if first.name in _FIRST_REFUSED:
            raise analysis_error(f"Data type of first column cannot be {first.name}")
        keys = []
        for column in read.columns[:3]:
            if column.type.name in (*_FIRST_REFUSED, "VARBINARY"):
                break
            keys.append(column.name.lower())
        return "DUPLICATE", keys
    keys = [_known(columns, key).name.lower() for key in read.keys]
    if keys != [c.name.lower() for c in read.columns[: len(keys)]]:
        raise analysis_error(
            "Key columns must be the first few columns of the schema and the order of the key "
            "columns must be consistent with the order of the schema"
        )
    for key in keys:
        _check_key(read, columns[key])
    return read.model, keys


def _check_key(read: Definition, column: Column) -> None:
    if read.model == "PRIMARY":
        if column.type.name not in _PRIMARY_ALLOWED:
            described = column.type.described
            raise analysis_error(
                f"primary key column[{column.name}] type not supported: {described}"
            )
        if column.name.lower() in read.explicit_null:
            raise analysis_error(f"primary key column[{column.name}] cannot be nullable")
    elif column.type.name in _KEY_REFUSED or column.type.family == "other":
        name, described = column.name, column.type.described
        raise analysis_error(f"Invalid data type of key column '{name}': '{described}'")


def _check_partitions(
    read: Definition, columns: dict[str, Column], model: str, keys: list[str]
) -> None:
    for column in read.partition_columns:
        found = _known(columns, column)
        if found.type.family in ("float", "decimal", "binary", "other"):
            raise analysis_error(
                f"Invalid partition column '{column}': type {found.type.described} not supported"
            )
        if model in ("PRIMARY", "UNIQUE") and column.lower() not in keys:
            raise analysis_error("The partition column must be part of the primary key")
    if read.partitions is not None and len(read.partition_columns) != 1:
        raise unsupported("LIST partitions by several columns")


def _check_distribution(
    read: Definition, columns: dict[str, Column], model: str, keys: list[str]
) -> None:
    if model == "PRIMARY" and read.distribution == "RANDOM":
        raise analysis_error("PRIMARY KEY must use hash distribution")
    if model == "UNIQUE" and read.distribution != "HASH":
        raise analysis_error("UNIQUE KEY must use hash distribution")
    for column in read.hash_columns:
        found = _known(columns, column)
        if found.type.name in _KEY_REFUSED or found.type.family == "other":
            described = found.type.described
            raise analysis_error(f"{described} column can not be distribution column: {column}")
        if model == "PRIMARY" and column.lower() not in keys:
            raise analysis_error(f"Distribution column[{column}] is not key column")
    if read.distribution and not 0 <= read.buckets <= 1024:
        raise analysis_error(f"Number of bucket must be less than 1024: {read.buckets}")


def _check_properties(properties: dict[str, str]) -> None:
    unknown = {k: v for k, v in properties.items() if k not in _PROPERTIES}
    if unknown:
        text = ", ".join(f"{k}={v}" for k, v in unknown.items())
        raise StarRocksError(f"Unknown properties: {{{text}}}")
    copies = properties.get("replication_num", str(BACKENDS))
    if not copies.isdigit() or int(copies) < 1:
        raise StarRocksError(f"Replication num should larger than 0. (suggested 3): {copies}")
    if int(copies) > BACKENDS:
        raise StarRocksError(
            "Table replication num should be less than of equal to the number of available BE "
            "nodes. You can change this default by setting the replication_num table properties. "
            f"Current alive backend is [{BACKENDS}]."
        )
