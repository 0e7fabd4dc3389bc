"""The tables of `information_schema` that the stand-in fills."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from migration_assets.sandbox.starrocks.column_types import BIGINT, STRING
from migration_assets.sandbox.starrocks.errors import StarRocksError, unsupported
from migration_assets.sandbox.starrocks.expressions import name
from migration_assets.sandbox.starrocks.insert import FilteredError, Job
from migration_assets.sandbox.starrocks.select import OutputColumn
from migration_assets.sandbox.starrocks.tables import Column, Database, Table

if TYPE_CHECKING:
    from migration_assets.sandbox.starrocks.session import Session

Row = dict[str, Any]


def moment(seconds: float) -> str:
    """A time as StarRocks prints it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def read(session: Session, table: str) -> tuple[list[OutputColumn], list[list[Any]]]:
    """The columns and rows of `information_schema.<table>`."""
    if table not in _TABLES:
        raise unsupported(f"information_schema.{table}")
    columns, rows = _TABLES[table]
    found = [
        OutputColumn(c.rstrip("#"), BIGINT if c.endswith("#") else STRING) for c in columns.split()
    ]
    with session.server.metadata.lock:
        return found, [[row.get(c.name) for c in found] for row in rows(session)]


def row_count(session: Session, database: Database, table: Table, condition: str = "true") -> int:
    """How many rows a table or a partition has."""
    stored = f"{name(database.storage)}.{name(table.storage)}"
    found = session.cursor.execute(f"SELECT count(*) FROM {stored} WHERE {condition}").fetchall()
    return int(found[0][0])


def _all(session: Session) -> Iterator[tuple[Database, Table]]:
    for database in session.server.metadata.databases.values():
        for table in database.tables.values():
            yield database, table


def _schemata(session: Session) -> Iterator[Row]:
    for database in ("information_schema", *sorted(session.server.metadata.databases)):
        yield {
            "CATALOG_NAME": "def",
            "SCHEMA_NAME": database,
            "DEFAULT_CHARACTER_SET_NAME": "utf8",
            "DEFAULT_COLLATION_NAME": "utf8_general_ci",
        }


def _tables(session: Session) -> Iterator[Row]:
    # One query for all tables: the product asks often. StarRocks' own numbers lag behind as well.
    sizes = session.cursor.execute(
        "SELECT schema_name, table_name, estimated_size FROM duckdb_tables()"
    ).fetchall()
    rows = {(schema, table): size for schema, table, size in sizes}
    for database, table in _all(session):
        yield {
            "TABLE_CATALOG": "def",
            "TABLE_SCHEMA": database.name,
            "TABLE_NAME": table.name,
            "TABLE_TYPE": "BASE TABLE",
            "ENGINE": "StarRocks",
            "TABLE_ROWS": rows.get((database.storage, table.storage)),
            "CREATE_TIME": moment(table.created),
            "TABLE_COLLATION": "utf8_general_ci",
            "TABLE_COMMENT": table.comment,
        }


def column_key(table: Table, column: Column) -> str:
    """`PRI`, `DUP`, `UNI` or nothing."""
    own = {"PRIMARY": "PRI", "DUPLICATE": "DUP", "UNIQUE": "UNI"}
    return own[table.model] if column.name in table.keys else ""


def _columns(session: Session) -> Iterator[Row]:
    for database, table in _all(session):
        for position, column in enumerate(table.columns, 1):
            kind = column.type
            text = kind.family == "string"
            yield {
                "TABLE_CATALOG": "def",
                "TABLE_SCHEMA": database.name,
                "TABLE_NAME": table.name,
                "COLUMN_NAME": column.name,
                "ORDINAL_POSITION": position,
                "COLUMN_DEFAULT": column.default,
                "IS_NULLABLE": "YES" if column.nullable else "NO",
                "DATA_TYPE": kind.data_type,
                "CHARACTER_MAXIMUM_LENGTH": kind.length if text else None,
                "CHARACTER_OCTET_LENGTH": kind.length if text else None,
                "NUMERIC_PRECISION": kind.precision if kind.name == "DECIMAL" else None,
                "NUMERIC_SCALE": kind.scale if kind.name == "DECIMAL" else None,
                "COLUMN_TYPE": kind.column_type,
                "COLUMN_KEY": column_key(table, column),
                "COLUMN_COMMENT": column.comment,
                "COLUMN_SIZE": kind.length or None,
            }


def _tables_config(session: Session) -> Iterator[Row]:
    models = {"PRIMARY": "PRIMARY_KEYS", "DUPLICATE": "DUP_KEYS", "UNIQUE": "UNIQUE_KEYS"}
    for database, table in _all(session):
        yield {
            "TABLE_SCHEMA": database.name,
            "TABLE_NAME": table.name,
            "TABLE_ENGINE": "OLAP",
            "TABLE_MODEL": models[table.model],
            "PRIMARY_KEY": _names(table.keys) if table.model == "PRIMARY" else "",
            "PARTITION_KEY": _names(table.partition_columns),
            "DISTRIBUTE_KEY": _names(table.hash_columns),
            "DISTRIBUTE_TYPE": "HASH" if table.hash_columns else "RANDOM",
            "DISTRIBUTE_BUCKET": table.buckets,
            "SORT_KEY": _names(table.sort_columns or table.keys),
            "PROPERTIES": json.dumps(table.properties),
            "TABLE_ID": table.id,
        }


def _names(names: list[str]) -> str:
    return ", ".join(f"`{n}`" for n in names)


def _partitions(session: Session) -> Iterator[Row]:
    for database, table in _all(session):
        for partition in table.partitions.values():
            yield {
                "DB_NAME": database.name,
                "TABLE_NAME": table.name,
                "PARTITION_NAME": partition.name,
                "PARTITION_ID": partition.id,
                "VISIBLE_VERSION": partition.version,
                "VISIBLE_VERSION_TIME": moment(partition.changed),
                "PARTITION_KEY": ", ".join(table.partition_columns),
                "PARTITION_VALUE": str(tuple(partition.values)) if partition.values else "",
                "DISTRIBUTION_KEY": ", ".join(table.hash_columns),
                "BUCKETS": table.buckets or 1,
                "REPLICATION_NUM": int(table.properties["replication_num"]),
                "ROW_COUNT": row_count(session, database, table, table.condition(partition)),
            }


def load_row(
    job: Job, loaded: int, problem: StarRocksError | None, started: float, user: str
) -> Row:
    """The line of `information_schema.loads` for one INSERT."""
    return {
        "JOB_ID": job.id,
        "LABEL": job.label,
        "DB_NAME": job.database.name,
        "TABLE_NAME": job.table.name,
        "USER": user,
        "STATE": "CANCELLED" if problem else "FINISHED",
        "PROGRESS": "ETL:100%; LOAD:100%",
        "TYPE": "INSERT",
        "SINK_ROWS": loaded,
        "CREATE_TIME": moment(started),
        "LOAD_START_TIME": moment(started),
        "LOAD_FINISH_TIME": moment(time.time()),
        "ERROR_MSG": problem.message if problem else None,
        "TRACKING_LOG": "\n".join(getattr(problem, "reasons", [])),
        "TRACKING_SQL": _tracking(job) if isinstance(problem, FilteredError) else None,
    }


def _tracking(job: Job) -> str:
    return f"select tracking_log from information_schema.load_tracking_logs where job_id={job.id}"


def _loads(session: Session) -> Iterator[Row]:
    for row in session.server.metadata.loads:
        late = float(str(row.get("VISIBLE_AT") or 0)) > time.time()
        yield {**row, "STATE": "PREPARED"} if late else row


def _tracking_logs(session: Session) -> Iterator[Row]:
    for row in session.server.metadata.loads:
        if row["TRACKING_LOG"]:
            yield {**row, "DATABASE_NAME": row["DB_NAME"]}


# A column whose name ends in # is BIGINT, the others are text.
_TABLES: dict[str, tuple[str, Callable[[Session], Iterator[Row]]]] = {
    "schemata": (
        "CATALOG_NAME SCHEMA_NAME DEFAULT_CHARACTER_SET_NAME DEFAULT_COLLATION_NAME SQL_PATH",
        _schemata,
    ),
    "tables": (
        "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME TABLE_TYPE ENGINE VERSION# ROW_FORMAT TABLE_ROWS# "
        "AVG_ROW_LENGTH# DATA_LENGTH# CREATE_TIME UPDATE_TIME TABLE_COLLATION TABLE_COMMENT",
        _tables,
    ),
    "columns": (
        "TABLE_CATALOG TABLE_SCHEMA TABLE_NAME COLUMN_NAME ORDINAL_POSITION# COLUMN_DEFAULT "
        "IS_NULLABLE DATA_TYPE CHARACTER_MAXIMUM_LENGTH# CHARACTER_OCTET_LENGTH# "
        "NUMERIC_PRECISION# NUMERIC_SCALE# DATETIME_PRECISION# CHARACTER_SET_NAME COLLATION_NAME "
        "COLUMN_TYPE COLUMN_KEY EXTRA PRIVILEGES COLUMN_COMMENT COLUMN_SIZE# DECIMAL_DIGITS#",
        _columns,
    ),
    "tables_config": (
        "TABLE_SCHEMA TABLE_NAME TABLE_ENGINE TABLE_MODEL PRIMARY_KEY PARTITION_KEY "
        "DISTRIBUTE_KEY DISTRIBUTE_TYPE DISTRIBUTE_BUCKET# SORT_KEY PROPERTIES TABLE_ID#",
        _tables_config,
    ),
    "partitions_meta": (
        "DB_NAME TABLE_NAME PARTITION_NAME PARTITION_ID# VISIBLE_VERSION# VISIBLE_VERSION_TIME "
        "PARTITION_KEY PARTITION_VALUE DISTRIBUTION_KEY BUCKETS# REPLICATION_NUM# ROW_COUNT#",
        _partitions,
    ),
    "loads": (
        "JOB_ID# LABEL DB_NAME TABLE_NAME USER STATE PROGRESS TYPE SINK_ROWS# CREATE_TIME "
        "LOAD_START_TIME LOAD_FINISH_TIME ERROR_MSG TRACKING_SQL",
        _loads,
    ),
    "load_tracking_logs": ("JOB_ID# LABEL DATABASE_NAME TRACKING_LOG TYPE", _tracking_logs),
}

__all__ = ["column_key", "load_row", "moment", "read", "row_count"]
