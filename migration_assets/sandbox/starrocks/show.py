"""SHOW, DESC and the frontend's configuration."""

from __future__ import annotations

import fnmatch
import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from migration_assets.sandbox.starrocks import information_schema
from migration_assets.sandbox.starrocks.column_types import MAX_VARCHAR
from migration_assets.sandbox.starrocks.create_table import BACKENDS
from migration_assets.sandbox.starrocks.errors import StarRocksError, unsupported
from migration_assets.sandbox.starrocks.information_schema import moment
from migration_assets.sandbox.starrocks.lexer import Reader

if TYPE_CHECKING:
    from migration_assets.sandbox.starrocks.session import Rows, Session

Table = tuple[Sequence[str], Sequence[Sequence[Any]]]


def show(session: Session, reader: Reader) -> Rows:
    """Run SHOW ...; LIKE filters by the column named first in `_SHOWS`."""
    for words, (key, run) in _SHOWS.items():
        if reader.take(*words.split()):
            columns, rows = run(session, reader)
            at = columns.index(key) if key in columns else 0
            rows = _filtered(reader, columns, rows, at)
            reader.end()
            return _rows(columns, rows)
    raise unsupported(f"SHOW {reader.rest[:100]}")


def _rows(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Rows:
    from migration_assets.sandbox.starrocks.session import text_rows

    return text_rows(columns, rows)


def _filtered(
    reader: Reader, columns: Sequence[str], rows: Sequence[Sequence[Any]], at: int
) -> Sequence[Sequence[Any]]:
    if reader.take("LIKE"):
        pattern = re.compile(like(reader.string()), re.IGNORECASE | re.DOTALL)
        return [row for row in rows if pattern.fullmatch(str(row[at]))]
    if reader.take("WHERE"):
        column = reader.name().lower()
        reader.expect("=")
        value = reader.value()
        lower = [c.lower() for c in columns]
        if column not in lower:
            raise unsupported(f"SHOW ... WHERE {column}")
        return [row for row in rows if str(row[lower.index(column)]) == value]
    return rows


def like(pattern: str) -> str:
    """The regular expression of a LIKE pattern."""
    parts = re.split(r"(\\.|%|_)", pattern)
    return "".join(
        {"%": ".*", "_": "."}.get(p, re.escape(p[1:] if p.startswith("\\") else p)) for p in parts
    )


def _from(reader: Reader) -> list[str] | None:
    return reader.dotted_name() if reader.one_of("FROM", "IN") else None


def _databases(session: Session, reader: Reader) -> Table:
    names = _from(reader)
    catalog = session.external(names[0] if names else session.catalog)
    if catalog is None:
        found = ["information_schema", *sorted(session.server.metadata.databases)]
    else:
        found = catalog.databases()
    return ["Database"], [[d] for d in found]


def _tables(session: Session, reader: Reader) -> Table:
    names = _from(reader) or ([session.database] if session.database else [])
    if not names:
        raise StarRocksError("No database selected", 1046)
    catalog = session.external(names[0] if len(names) > 1 else session.catalog)
    if catalog is None:
        found = sorted(session.server.metadata.database(names[-1]).tables)
    else:
        found = catalog.tables(names[-1])
    return [f"Tables_in_{names[-1]}"], [[t] for t in found]


def _create_table(session: Session, reader: Reader) -> Table:
    _, table = session.table(reader.dotted_name())
    return ["Table", "Create Table"], [[table.name, table.define()]]


def _alterations(session: Session, reader: Reader) -> Table:
    names = _from(reader) or ([session.database] if session.database else [])
    if not names:
        raise StarRocksError("No database selected", 1046)
    rows = []
    for table in session.server.metadata.database(names[-1]).tables.values():
        for one in table.alterations:
            is_over = time.monotonic() >= one.until
            finished = moment(one.created + max(0.0, one.until - time.monotonic()))
            rows.append(
                [one.id, table.name, moment(one.created), finished if is_over else None,
                 table.name, table.id, table.id, "1:0", 0, "FINISHED" if is_over else "RUNNING",
                 "", None if is_over else "0/1", 86400]
            )  # fmt: skip
    return _ALTERATION, rows


_ALTERATION = (
    "JobId", "TableName", "CreateTime", "FinishTime", "IndexName", "IndexId", "OriginIndexId",
    "SchemaVersion", "TransactionId", "State", "Msg", "Progress", "Timeout",
)  # fmt: skip


def _create_catalog(session: Session, reader: Reader) -> Table:
    name = reader.name()
    catalog = session.external(name)
    if catalog is None:
        raise unsupported("SHOW CREATE CATALOG default_catalog")
    lines = ",\n".join(f'"{k}"  =  "{v}"' for k, v in sorted(catalog.shown_properties.items()))
    comment = f'comment "{catalog.comment}"\n' if catalog.comment else ""
    text = f"CREATE EXTERNAL CATALOG `{name}`\n{comment}PROPERTIES ({lines}\n)"
    return ["Catalog", "Create Catalog"], [[name, text]]


def _catalogs(session: Session, _reader: Reader) -> Table:
    inner = ["default_catalog", "Internal", "An internal catalog contains this cluster's tables."]
    others = [[c.name, "Iceberg", c.comment] for c in session.server.catalogs.values()]
    return ["Catalog", "Type", "Comment"], [inner, *sorted(others)]


def _partitions(session: Session, reader: Reader) -> Table:
    names = _from(reader)
    if names is None:
        raise reader.error()
    owner, table = session.table(names)
    columns = (
        "PartitionId PartitionName VisibleVersion VisibleVersionTime State PartitionKey List "
        "DistributionKey Buckets ReplicationNum RowCount"
    )
    rows = [
        [
            p.id, p.name, p.version, moment(p.changed), "NORMAL",
            ", ".join(table.partition_columns), str([p.values]) if p.values else "",
            ", ".join(table.hash_columns) or "ALL KEY", table.buckets or 1,
            table.properties["replication_num"],
            information_schema.row_count(session, owner, table, table.condition(p)),
        ]
        for p in table.partitions.values()
    ]  # fmt: skip
    return columns.split(), rows


def _columns(session: Session, reader: Reader) -> Table:
    names = _from(reader)
    if names is None:
        raise reader.error()
    return _described(session, names)


def describe(session: Session, reader: Reader) -> Rows:
    """Run DESC table, of this cluster or of an external catalog."""
    names = reader.dotted_name()
    reader.end()
    return _rows(*_described(session, names))


def _described(session: Session, names: list[str]) -> Table:
    catalog, database, table_name = session.qualified(names)
    columns = ["Field", "Type", "Null", "Key", "Default", "Extra"]
    if catalog is not None:
        return columns, [
            [c.name, c.type.described.upper(), _yes(c.nullable), "false", None,
             "partition key" if c.partition_key else ""]
            for c in catalog.columns(database, table_name)
        ]  # fmt: skip
    _, table = session.table(names, described=True)
    return columns, [
        [c.name, c.type.described, _yes(c.nullable), str(c.name in table.keys).lower(),
         c.default, ""]
        for c in table.columns
    ]  # fmt: skip


def _yes(value: bool) -> str:  # noqa: FBT001 - it is the value shown
    return "YES" if value else "NO"


def _variables(session: Session, _reader: Reader) -> Table:
    return ["Variable_name", "Value"], session.variables.items()


def _processlist(session: Session, _reader: Reader, *, length: int | None = 100) -> Table:
    columns = "Id User Host Db Command ConnectionStartTime Time State Info IsPending Warehouse"
    rows = [
        [
            s.id, s.user, s.host, s.database or "", "Query" if s.running else "Sleep", "",
            int(time.time() - s.since), "OK", s.running[:length], "false", "default_warehouse",
        ]
        for s in session.server.sessions()
    ]  # fmt: skip
    return columns.split(), rows


def _loads(session: Session, reader: Reader) -> Table:
    names = _from(reader)
    database = names[-1] if names else session.database
    columns = "JobId Label State Progress Type ErrorMsg CreateTime LoadFinishTime"
    rows = [
        [r["JOB_ID"], r["LABEL"], r["STATE"], r["PROGRESS"], r["TYPE"], r["ERROR_MSG"],
         r["CREATE_TIME"], r["LOAD_FINISH_TIME"]]
        for r in session.server.metadata.loads
        if r["DB_NAME"] == database
    ]  # fmt: skip
    return columns.split(), rows


def _backends(_session: Session, _reader: Reader) -> Table:
    rows = [[10001 + i, "127.0.0.1", "true", "stand-in"] for i in range(BACKENDS)]
    return ["BackendId", "IP", "Alive", "Version"], rows


def _grants(session: Session, _reader: Reader) -> Table:
    who = f"'{session.user}'@'%'"  # of others than root it does not tell
    return ["UserIdentity", "Catalog", "Grants"], [[who, None, f"GRANT 'root' TO {who}"]]


def _none(_session: Session, _reader: Reader) -> Table:
    return ["Level", "Code", "Message"], []


_SHOWS: dict[str, tuple[str, Callable[[Session, Reader], Table]]] = {
    "DATABASES": ("Database", _databases),
    "SCHEMAS": ("Database", _databases),
    "TABLES": ("", _tables),
    "ALTER TABLE COLUMN": ("TableName", _alterations),
    "CREATE TABLE": ("Table", _create_table),
    "CREATE CATALOG": ("Catalog", _create_catalog),
    "CATALOGS": ("Catalog", _catalogs),
    "PARTITIONS": ("PartitionName", _partitions),
    "COLUMNS": ("Field", _columns),
    "FULL COLUMNS": ("Field", _columns),
    "VARIABLES": ("Variable_name", _variables),
    "SESSION VARIABLES": ("Variable_name", _variables),
    "PROCESSLIST": ("User", _processlist),
    "FULL PROCESSLIST": ("User", partial(_processlist, length=None)),
    "LOAD": ("Label", _loads),
    "BACKENDS": ("IP", _backends),
    "GRANTS": ("UserIdentity", _grants),
    "WARNINGS": ("Level", _none),
}


def set_config(session: Session, reader: Reader) -> None:
    """Run ADMIN SET FRONTEND CONFIG ("qe_max_connection" = "n")."""
    for key, value in reader.properties().items():
        if key != "qe_max_connection" or not value.isdigit():
            raise unsupported(f"frontend configuration {key} = {value}")
        session.server.max_connections = int(value)
    reader.end()


def show_config(session: Session, reader: Reader) -> Rows:
    """Run ADMIN SHOW FRONTEND CONFIG [LIKE pattern]."""
    values = {
        "max_varchar_length": MAX_VARCHAR,
        "qe_max_connection": session.server.max_connections,
        "run_mode": "shared_nothing",
    }
    pattern = reader.string() if reader.take("LIKE") else "%"
    reader.end()
    rows = [
        [key, "[]", value, type(value).__name__, "true", ""]
        for key, value in values.items()
        if fnmatch.fnmatch(key, pattern.replace("%", "*"))
    ]
    return _rows(["Key", "AliasNames", "Value", "Type", "IsMutable", "Comment"], rows)
