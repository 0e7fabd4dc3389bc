"""What SQL Server would know about its objects and DuckDB does not: declared types, keys, names."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver.errors import SqlServerError
from migration_assets.sandbox.sqlserver.permissions import Permissions
from migration_assets.sandbox.sqlserver.sql_types import DEFAULT_COLLATION, SqlType

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.partitions import PartitionFunction, PartitionScheme
    from migration_assets.sandbox.sqlserver.security import InlineFunction, Policy

SYSTEM_DATABASES = ("master", "tempdb", "model", "msdb")
SYSTEM_SCHEMAS = ("sys", "information_schema")
_CREATED = datetime(2026, 1, 1)  # noqa: DTZ001 - SQL Server's create_date has no time zone


@dataclass
class Column:
    """A column as declared.

    Attributes:
        name: as declared.
        type: its type with collation.
        column_id: counts from 1 and is not reused.
        nullable: as SQL Server would say, so False for key columns.
        identity: seed and increment.
        computed: T-SQL text of its expression.
        persisted: of a computed column.
        default: T-SQL text of the default.
        default_name: name of that constraint.
        rowguidcol: as declared.
        masking: text of the masking function, `default()`.
        flags: columns of `sys.columns` to the values that a test gave them, see `describe`.
    """

    name: str
    type: SqlType
    column_id: int = 0
    nullable: bool = True
    identity: tuple[int, int] | None = None
    computed: str | None = None
    persisted: bool = False
    default: str | None = None
    default_name: str = ""
    rowguidcol: bool = False
    masking: str = ""
    flags: dict[str, object] = field(default_factory=dict)


@dataclass
class Index:
    """An index or the index behind a key.

    Attributes:
        kind: `PK`, `UQ`, or empty for a plain index.
        columns: names with True for descending.
        included: names of included columns.
        where: T-SQL text of a filter.
        placed: partition scheme (lower case) and column that it lies on; empty for a filegroup,
            None where its table lies.
    """

    name: str
    columns: list[tuple[str, bool]]
    unique: bool
    clustered: bool
    kind: str = ""
    included: list[str] = field(default_factory=list)
    where: str = ""
    object_id: int = 0
    placed: tuple[str, str] | tuple[()] | None = None


@dataclass
class ForeignKey:
    """A foreign key; it is described, not enforced."""

    name: str
    columns: list[str]
    target: tuple[str, str]
    target_columns: list[str]
    on_delete: str = "NO_ACTION"
    on_update: str = "NO_ACTION"
    object_id: int = 0


@dataclass
class Check:
    """A check constraint with the T-SQL text of its condition."""

    name: str
    condition: str
    object_id: int = 0


@dataclass
class Table:
    """A table.

    Attributes:
        identity_last: the last identity value given out.
        placed: partition scheme (lower case) and column that it lies on.
        flags: columns of `sys.tables` to the values that a test gave them, see `describe`.
    """

    schema: str
    name: str
    object_id: int
    columns: list[Column]
    indexes: list[Index] = field(default_factory=list)
    foreign_keys: list[ForeignKey] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    identity_last: int | None = None
    default_ids: dict[str, int] = field(default_factory=dict)
    flags: dict[str, object] = field(default_factory=dict)
    placed: tuple[str, str] | None = None
    created: datetime = _CREATED

    @property
    def full_name(self) -> str:
        """`schema.name`."""
        return f"{self.schema}.{self.name}"

    @property
    def primary_key(self) -> Index | None:
        """The index behind the primary key."""
        return next((index for index in self.indexes if index.kind == "PK"), None)

    @property
    def identity(self) -> Column | None:
        """The identity column."""
        return next((column for column in self.columns if column.identity), None)

    def column(self, name: str) -> Column | None:
        """A column by its name in any case."""
        return next((c for c in self.columns if c.name.lower() == name.lower()), None)


@dataclass
class View:
    """A view: its text, and its columns as they were when it was created."""

    schema: str
    name: str
    object_id: int
    definition: str
    query: str
    columns: list[Column]
    created: datetime = _CREATED


@dataclass(frozen=True)
class UserType:
    """A type that CREATE TYPE made.

    Attributes:
        type: what columns of it are, with its `user_type_id`.
        nullable: of a column that says neither NULL nor NOT NULL.
        assembly: and class of a CLR type; empty for an alias type.
    """

    schema: str
    name: str
    type: SqlType
    nullable: bool = True
    assembly: str = ""


@dataclass
class Database:
    """One database of the stand-in.

    Attributes:
        snapshot: the option ALLOW_SNAPSHOT_ISOLATION.
        read_committed_snapshot: the option READ_COMMITTED_SNAPSHOT (described only).
        change_tracking: the version that Change Tracking is at; None when it is off.
        source_id: of a database snapshot, the id of its source.
        paths: of a database snapshot, its files.
        synonyms: schema and name in lower case to both as written, the object id, the base's name.
        functions: inline functions, by schema and name in lower case.
        policies: security policies.
        permissions: what the login may do in it.
        types: alias and CLR types, by schema and name in lower case.
        partition_functions: by name in lower case, like `partition_schemes`.
    """

    name: str
    database_id: int
    collation: str = DEFAULT_COLLATION
    snapshot: bool = True
    read_committed_snapshot: bool = False
    change_tracking: int | None = None
    source_id: int | None = None
    paths: list[str] = field(default_factory=list)
    created: datetime = _CREATED
    schemas: dict[str, tuple[str, int]] = field(default_factory=dict)
    tables: dict[tuple[str, str], Table] = field(default_factory=dict)
    views: dict[tuple[str, str], View] = field(default_factory=dict)
    synonyms: dict[tuple[str, str], tuple[str, str, int, list[str]]] = field(default_factory=dict)
    functions: dict[tuple[str, str], InlineFunction] = field(default_factory=dict)
    policies: list[Policy] = field(default_factory=list)
    permissions: Permissions = field(default_factory=Permissions)
    types: dict[tuple[str, str], UserType] = field(default_factory=dict)
    partition_functions: dict[str, PartitionFunction] = field(default_factory=dict)
    partition_schemes: dict[str, PartitionScheme] = field(default_factory=dict)
    rowversion: int = 2000
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(901_578_250, 16))
    _schema_ids: itertools.count[int] = field(default_factory=lambda: itertools.count(5))
    _type_ids: itertools.count[int] = field(default_factory=lambda: itertools.count(257))

    def __post_init__(self) -> None:
        """Every database has these schemas."""
        for name, number in [("dbo", 1), ("guest", 2), ("INFORMATION_SCHEMA", 3), ("sys", 4)]:
            self.schemas[name.lower()] = (name, number)

    def changed(self, count: int) -> None:
        """Note that a statement changed so many rows."""
        self.rowversion += count
        if self.change_tracking is not None and count:
            self.change_tracking += 1

    def next_id(self) -> int:
        """A fresh object id."""
        return next(self._ids)

    def next_type_id(self) -> int:
        """A fresh `user_type_id`."""
        return next(self._type_ids)

    def add_schema(self, name: str) -> None:
        """Add a schema.

        Raises:
            SqlServerError: 2714 when there is one of that name.
        """
        if name.lower() in self.schemas:
            raise SqlServerError(
                2714, f"There is already an object named '{name}' in the database."
            )
        self.schemas[name.lower()] = (name, next(self._schema_ids))

    def schema_name(self, name: str) -> str:
        """The schema's name as created.

        Raises:
            SqlServerError: 2760 when there is none.
        """
        if name.lower() not in self.schemas:
            raise SqlServerError(
                2760,
                f'The specified schema name "{name}" either does not exist or you do not have '
                "permission to use it.",
            )
        return self.schemas[name.lower()][0]

    def table(self, schema: str, name: str) -> Table | None:
        """A table by its names in any case."""
        return self.tables.get((schema.lower(), name.lower()))

    def view(self, schema: str, name: str) -> View | None:
        """A view by its names in any case."""
        return self.views.get((schema.lower(), name.lower()))


def quoted(name: str) -> str:
    """A name as DuckDB identifier."""
    return '"' + name.replace('"', '""') + '"'


def storage_name(database: str, schema: str, name: str) -> str:
    """Full name of a table in DuckDB."""
    return f"{quoted(database)}.{quoted(schema)}.{quoted(name)}"
