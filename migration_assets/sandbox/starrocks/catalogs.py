"""External Iceberg catalogs, read through pyiceberg with StarRocks' stale metadata.

StarRocks keeps an external table's metadata until REFRESH EXTERNAL TABLE, or for about a minute:
a new snapshot is not seen before, and a table that was dropped still resolves.
"""

from __future__ import annotations

import itertools
import threading
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from migration_assets.sandbox.starrocks.column_types import ColumnType
from migration_assets.sandbox.starrocks.errors import (
    StarRocksError,
    analysis_error,
    unknown_table,
    unsupported,
)
from migration_assets.sandbox.starrocks.functions import Typed
from migration_assets.sandbox.starrocks.select import Filter, OutputColumn, Source
from migration_assets.sandbox.starrocks.variables import in_zone

if TYPE_CHECKING:
    import pyarrow as pa
    from pyiceberg.catalog import Catalog
    from pyiceberg.expressions import BooleanExpression
    from pyiceberg.table import Table as IcebergTable

CACHE_SECONDS = 60.0
SMALLEST_SNAPSHOT_ID = 2_147_483_648
_SECRETS = ("access_key", "secret_key", "session_token", "credential", "token", "password")
_UNREADABLE = {
    "uuid": "StarRocks 4.1 cannot read it (starrocks#70479), write string",
    "time": "StarRocks drops the fraction of a second, write string",
}
_names = itertools.count(1)


@dataclass
class Cached:
    """An external table as it was when its metadata was read."""

    table: IcebergTable
    read_at: float


@dataclass
class ExternalSource(Source):
    """A reference to an external table; `load` reads the rows that the query needs.

    Attributes:
        table: the cached Iceberg table.
        snapshot_id: the snapshot to read; None when the table has none.
    """

    table: IcebergTable | None = None
    snapshot_id: int | None = None
    unreadable: dict[str, str] = field(default_factory=dict)

    def read(self, column: str) -> Typed:
        """Read a column; refuses what StarRocks 4.1 itself cannot read faithfully."""
        if column in self.unreadable:
            raise unsupported(self.unreadable[column])
        return super().read(column)

    def load(self) -> pa.Table:
        """Read the used columns of the rows that pass the pushed-down filters."""
        from pyiceberg.io.pyarrow import ArrowScan

        table = self.table
        assert table is not None  # noqa: S101 - set by whoever makes one
        schema = table.metadata.schema()
        by_name = {f.name.lower(): f.name for f in schema.fields}
        whole = {f.name.lower() for f in schema.fields if str(f.field_type) in ("int", "long")}
        row_filter = _row_filter([f for f in self.filters if f[0] in whole], by_name)
        wanted = [by_name[c] for c in self.columns if c in self.used] or [schema.fields[0].name]
        projected = schema.select(*wanted)  # the current schema, whatever the snapshot's was
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pyiceberg warns about its own configuration
            tasks = (
                list(table.scan(row_filter, snapshot_id=self.snapshot_id).plan_files())
                if self.snapshot_id is not None
                else []
            )
            scan = ArrowScan(table.metadata, table.io, projected, row_filter, limit=self.limit)
            try:
                return scan.to_table(tasks)
            except (OSError, ValueError) as error:  # pyarrow's errors are of these
                raise _unreadable_file(error) from error


def _unreadable_file(error: Exception) -> StarRocksError:
    """What a backend says of a data file that is gone or damaged."""
    text = str(error).splitlines()[0]
    if isinstance(error, FileNotFoundError):
        return StarRocksError(f"File does not exist: {text}")
    if "Parquet magic bytes" in text or "file size is" in text:
        return StarRocksError("Parquet file magic not matched")
    return StarRocksError(f"Corruption: (stand-in) {text}")


@dataclass
class ExternalCatalog:
    """An external catalog: its properties, and what is cached of its tables."""

    name: str
    properties: dict[str, str]
    comment: str = ""
    _cache: dict[tuple[str, str], Cached] = field(default_factory=dict)
    _client: Catalog | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def client(self) -> Catalog:
        """The pyiceberg catalog, made at first use: CREATE CATALOG checks no connection."""
        with self._lock:
            if self._client is None:
                from pyiceberg.catalog import load_catalog

                self._client = load_catalog(self.name, **_pyiceberg_properties(self.properties))
            return self._client

    @property
    def shown_properties(self) -> dict[str, str]:
        """The properties as SHOW CREATE CATALOG prints them, secrets masked."""
        return {k: _masked(v) if k.endswith(_SECRETS) else v for k, v in self.properties.items()}

    def databases(self) -> list[str]:
        """The names of the namespaces."""
        return sorted(".".join(n) for n in self.client.list_namespaces())

    def tables(self, database: str) -> list[str]:
        """The names of the tables of one namespace."""
        return sorted(table[-1] for table in self.client.list_tables(database))

    def table(self, database: str, table: str) -> IcebergTable:
        """The table's cached metadata; read when it is missing or a minute old."""
        key = (database.lower(), table.lower())
        cached = self._cache.get(key)
        if cached is None or time.monotonic() - cached.read_at > CACHE_SECONDS:
            cached = self._read(key)
        return cached.table

    def refresh(self, database: str, table: str) -> None:
        """REFRESH EXTERNAL TABLE: forget what is cached, read it again.

        Raises:
            StarRocksError: 5502 when the table is gone.
        """
        key = (database.lower(), table.lower())
        self._cache.pop(key, None)
        self._read(key)

    def _read(self, key: tuple[str, str]) -> Cached:
        from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

        try:
            cached = Cached(self.client.load_table(key), time.monotonic())
        except (NoSuchTableError, NoSuchNamespaceError):
            raise unknown_table(key[1]) from None
        except StarRocksError:
            raise
        except Exception as error:
            raise StarRocksError(
                f"Failed to get iceberg table {self.name}.{key[0]}.{key[1]}: {error}"
            ) from error
        self._cache[key] = cached
        return cached

    def source(
        self, identifier: tuple[str, str], alias: str, version: Any, time_zone: str
    ) -> ExternalSource:
        """Resolve `cat.db.table [FOR VERSION AS OF version]` against the cached metadata."""
        table = self.table(*identifier)
        columns, reads, unreadable = {}, {}, {}
        for column in self.columns(*identifier):
            columns[column.name.lower()] = OutputColumn(column.name, column.type)
        for found in table.schema().fields:
            kind = str(found.field_type)
            if kind in ("timestamptz", "timestamptz_ns"):
                reads[found.name.lower()] = in_zone("{}", time_zone)
            if kind in _UNREADABLE:
                unreadable[found.name.lower()] = f"reading Iceberg {kind}: {_UNREADABLE[kind]}"
        return ExternalSource(
            alias,
            f"standin_external_{next(_names)}",
            columns,
            reads,
            table=table,
            snapshot_id=_snapshot(table, version),
            unreadable=unreadable,
        )

    def columns(self, database: str, table: str) -> list[ExternalColumn]:
        """The columns as DESC shows them."""
        found = self.table(database, table)
        spec, schema = found.spec(), found.schema()
        keys = {schema.find_column_name(f.source_id) for f in spec.fields}
        return [
            ExternalColumn(f.name, _column_type(f.field_type), not f.required, f.name in keys)
            for f in schema.fields
        ]


@dataclass(frozen=True)
class ExternalColumn:
    """A column of an external table."""

    name: str
    type: ColumnType
    nullable: bool
    partition_key: bool


def _pyiceberg_properties(properties: dict[str, str]) -> dict[str, str]:
    kind = properties.get("iceberg.catalog.type", "")
    found = {"type": kind}
    if kind == "glue":
        for ours, theirs in (
            ("aws.glue.endpoint", "glue.endpoint"),
            ("aws.glue.region", "glue.region"),
            ("aws.glue.access_key", "glue.access-key-id"),
            ("aws.glue.secret_key", "glue.secret-access-key"),
            ("aws.glue.session_token", "glue.session-token"),
            ("aws.glue.catalog_id", "glue.id"),
        ):
            if ours in properties:
                found[theirs] = properties[ours]
    elif kind == "rest":
        found["uri"] = properties.get("iceberg.catalog.uri", "")
        if "iceberg.catalog.warehouse" in properties:
            found["warehouse"] = properties["iceberg.catalog.warehouse"]
    else:
        raise unsupported(f"external catalogs of type {kind!r}, only glue and rest")
    for ours, theirs in (
        ("aws.s3.endpoint", "s3.endpoint"),
        ("aws.s3.region", "s3.region"),
        ("aws.s3.access_key", "s3.access-key-id"),
        ("aws.s3.secret_key", "s3.secret-access-key"),
        ("aws.s3.session_token", "s3.session-token"),
        ("aws.s3.iam_role_arn", "s3.role-arn"),
    ):
        if ours in properties:
            found[theirs] = properties[ours]
    if properties.get("aws.s3.enable_path_style_access", "false").lower() != "true":
        found["s3.force-virtual-addressing"] = "true"
    return found


def _masked(secret: str) -> str:
    return f"{secret[:2]}******{secret[-2:]}" if len(secret) > 4 else "******"


def check_properties(properties: dict[str, str]) -> None:
    """What StarRocks checks when a catalog is created (no connection is opened)."""
    if "type" not in properties:
        raise analysis_error("'type' can not be null or empty")
    if properties["type"].lower() != "iceberg":
        raise unsupported(f"external catalogs of type {properties['type']!r}")
    if "iceberg.catalog.type" not in properties:
        raise StarRocksError("Missing the property iceberg.catalog.type")


def _snapshot(table: IcebergTable, version: Any) -> int | None:
    if version is None:
        current = table.current_snapshot()
        return None if current is None else current.snapshot_id
    if isinstance(version, str):
        ref = table.metadata.refs.get(version)
        if ref is None:
            raise analysis_error(f"Cannot find snapshot with reference name: {version}")
        return ref.snapshot_id
    if version < SMALLEST_SNAPSHOT_ID:
        raise StarRocksError(f"Unsupported type for table version: {version}")
    if table.snapshot_by_id(version) is None:
        raise StarRocksError(f"Iceberg snapshot ID does not exists: {version}")
    return int(version)


def _column_type(iceberg_type: Any) -> ColumnType:
    text = str(iceberg_type)
    simple = {
        "boolean": ColumnType("BOOLEAN"),
        "int": ColumnType("INT"),
        "long": ColumnType("BIGINT"),
        "float": ColumnType("FLOAT"),
        "double": ColumnType("DOUBLE"),
        "date": ColumnType("DATE"),
        "string": ColumnType("VARCHAR", 1_073_741_824),
        "timestamp": ColumnType("DATETIME"),
        "timestamptz": ColumnType("DATETIME"),
        "time": ColumnType("TIME"),
        "binary": ColumnType("VARBINARY"),
        "uuid": ColumnType("VARBINARY"),
    }
    if text in simple:
        return simple[text]
    if text.startswith("decimal"):
        return ColumnType("DECIMAL", precision=iceberg_type.precision, scale=iceberg_type.scale)
    return ColumnType("UNKNOWN_TYPE")


def _row_filter(filters: list[Filter], names: dict[str, str]) -> BooleanExpression:
    from pyiceberg import expressions as ice

    make: dict[str, Any] = {
        "in": ice.In, "=": ice.EqualTo, "<": ice.LessThan, "<=": ice.LessThanOrEqual,
        ">": ice.GreaterThan, ">=": ice.GreaterThanOrEqual,
    }  # fmt: skip
    found: BooleanExpression = ice.AlwaysTrue()
    for column, operator, values in filters:
        operand = values if operator == "in" else values[0]
        found = ice.And(found, make[operator](names[column], operand))
    return found
