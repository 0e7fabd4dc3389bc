"""What SQL Server says about its tables, as frozen values that no driver owns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from migration_assets import naming


@dataclass(frozen=True)
class MssqlType:
    """A column's type as `sys.columns` and `sys.types` describe it.

    Attributes:
        name: the base type's name, lower case: `decimal`, `nvarchar`; of an alias type that of its
            system type, `clr` of a CLR type that is not Microsoft's own.
        max_length: storage bytes, -1 for `(max)` and xml; two bytes per unit for nchar/nvarchar
            (https://learn.microsoft.com/sql/relational-databases/system-catalog-views/sys-columns-transact-sql).
        precision: decimal digits, 0 where it means nothing.
        scale: digits after the point, also of seconds.
        collation: collation name of text, else None.
        user_type: name of the alias or CLR type, when it is one.
    """

    name: str
    max_length: int = 0
    precision: int = 0
    scale: int = 0
    collation: str | None = None
    user_type: str | None = None

    @property
    def length(self) -> int | None:
        """The `n` of `char(n)`, `nvarchar(n)`, `binary(n)`; None for `(max)` and other types."""
        if self.name not in _WITH_LENGTH or self.max_length < 0:
            return None
        return self.max_length // 2 if self.name in {"nchar", "nvarchar"} else self.max_length

    @property
    def declaration(self) -> str:
        """The type as T-SQL declares it: `decimal(18,4)`, `nvarchar(max)`, `datetime2(7)`."""
        if self.name in {"decimal", "numeric"}:
            return f"{self.name}({self.precision},{self.scale})"
        if self.name in {"datetime2", "datetimeoffset", "time"}:
            return f"{self.name}({self.scale})"
        if self.name in _WITH_LENGTH:
            return f"{self.name}({'max' if self.length is None else self.length})"
        return self.name


_WITH_LENGTH = {"char", "varchar", "nchar", "nvarchar", "binary", "varbinary"}


@dataclass(frozen=True)
class Column:
    """One column of a source table.

    Attributes:
        warnings: facts that can falsify a copy without an error (masked, computed, hidden ...),
            each a sentence for the plan; `refusal` is a reason not to migrate the column at all.
    """

    name: str
    type: MssqlType
    nullable: bool = True
    identity: bool = False
    computed: str | None = None
    warnings: tuple[str, ...] = ()
    refusal: str | None = None


@dataclass(frozen=True)
class TableSchema:
    """The columns of a table in their order, and the columns of its primary key in key order."""

    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()

    def column(self, name: str) -> Column:
        """Return a column by its exact name; `KeyError` when there is none."""
        return self._by_name[name]

    @property
    def _by_name(self) -> dict[str, Column]:
        return {column.name: column for column in self.columns}


class TableKind(StrEnum):
    """What a source object is; those that are not migrated are listed with their reason.

    A view is migrated where the rules name it; those after `QUERY` never are.
    """

    TABLE = "table"
    VIEW = "view"
    QUERY = "query"
    SYNONYM = "synonym"
    HISTORY = "temporal history table"
    LEDGER_HISTORY = "ledger history table"
    EXTERNAL = "external table"
    SYSTEM = "system table"
    DROPPED = "dropped ledger table"


@dataclass(frozen=True)
class SourceIndex:
    """A rowstore index over all rows of a table, or the index behind a key.

    Attributes:
        index_id: 1 is the clustered one.
        columns: its key columns in order.
        unique: no two rows are equal in them.
    """

    index_id: int
    columns: tuple[str, ...]
    unique: bool


@dataclass(frozen=True)
class Cut:
    """A place where a table can be cut.

    Attributes:
        literals: T-SQL literals of the key's first columns, of each column's own type.
        below: rows that come before it; an estimate where statistics say so.
        after: rows that are equal to the literals come before it too, as at a boundary of a
            partition function that is RANGE LEFT; only of one literal.
    """

    literals: tuple[str, ...]
    below: float
    after: bool = False


@dataclass(frozen=True)
class KeyCuts:
    """Where a table can be cut, in SQL Server's order.

    Attributes:
        columns: the key, first column first; cuts have literals of some of its first ones.
        cuts: with more and more rows below.
        rows: all rows that were looked at.
        method: a value of `TablePlan.cut_by`.
    """

    columns: tuple[str, ...]
    cuts: tuple[Cut, ...]
    rows: float
    method: str


@dataclass(frozen=True)
class PartitionFunction:
    """How SQL Server itself partitions a table.

    Attributes:
        name: of the function.
        column: the partitioning column, exact name.
        on_right: a boundary belongs to the partition above it, RANGE RIGHT; else to that below.
        boundaries: as `key_types.text_sql` gives them, in SQL Server's order; None for NULL.
        rows: approximate rows of each partition, one more than boundaries.
        unusable: why a table cannot be cut along it, the rest of a sentence; then there are no
            boundaries and no rows.
    """

    name: str
    column: str
    on_right: bool = False
    boundaries: tuple[str | None, ...] = ()
    rows: tuple[int, ...] = ()
    unusable: str = ""


@dataclass(frozen=True)
class SourceTable:
    """One introspected table.

    Attributes:
        schema: SQL Server schema.
        rows: estimate from the catalog, exact after `COUNT_BIG` fallback.
        bytes: size of heap or clustered index with its LOBs; None where it could not be learned.
        rows_exact: whether `rows` was counted.
        key_bounds: lowest and highest value of each candidate key column that was asked for,
            as T-SQL literals without quotes (`"42"`, `"2024-01-31"`, `"-12.50"`), None when empty.
        key_is_even: a histogram says that arithmetic between the bounds makes even parts.
        even_rows: estimated rows of each of these, where `key_is_even`.
        key_cuts: where it can be cut, as statistics or a walk over an index say; None if unknown.
        window_span: a day of the first time window and one of the last, where a rule asks for
            windows; `window_notes` has sentences about them.
        object_id: None where the server has no `sys.tables`.
        query: of a query, its text, as `source_query.single_select` gives it.
        where: a condition of the rules that rows must fulfil; `rows` and what the catalog says count
            the others too.
        is_taken_in: of a view, that the rules name it.
        indexes: rowstore indexes over all rows, in the order of their ids.
        partitioned: how SQL Server partitions it; None when it does not, or does not say.
        warnings: facts that can falsify a copy without an error, each a sentence.
        refusal: why the table cannot be migrated at all.
    """

    schema: str
    name: str
    columns: TableSchema
    rows: int
    bytes: int | None = None
    rows_exact: bool = False
    kind: TableKind = TableKind.TABLE
    key_bounds: dict[str, tuple[str, str] | None] = field(default_factory=dict)
    key_is_even: bool = False
    even_rows: tuple[float, ...] = ()
    key_cuts: KeyCuts | None = None
    window_span: tuple[date, date] | None = None
    window_notes: tuple[str, ...] = ()
    object_id: int | None = None
    indexes: tuple[SourceIndex, ...] = ()
    partitioned: PartitionFunction | None = None
    warnings: tuple[str, ...] = ()
    refusal: str | None = None
    query: str = ""
    where: str = ""
    is_taken_in: bool = False

    @property
    def is_candidate(self) -> bool:
        """Whether it is migrated unless rules or a refusal leave it out."""
        if self.kind is TableKind.VIEW:
            return self.is_taken_in
        return self.kind in {TableKind.TABLE, TableKind.QUERY}

    @property
    def full_name(self) -> str:
        """`schema.name`, for messages and patterns; a part with a dot stands in brackets."""
        return naming.full_name(self.schema, self.name)


@dataclass(frozen=True)
class SourceDatabase:
    """What introspection found.

    Attributes:
        server: the server's own name, `SERVERPROPERTY('ServerName')`, or the host asked.
        snapshot_isolation: `ALLOW_SNAPSHOT_ISOLATION` is ON.
        read_committed_snapshot: `READ_COMMITTED_SNAPSHOT` is ON.
        tables: the tables; views and synonyms too, so that the plan names them, without columns.
        notes: catalog views or functions that were missing or denied, and what was used instead.
        not_migrated: counts of what stays behind: views, procedures, triggers, foreign keys ...
    """

    server: str
    database: str
    version: str
    collation: str
    snapshot_isolation: bool
    read_committed_snapshot: bool
    tables: tuple[SourceTable, ...]
    notes: tuple[str, ...] = ()
    not_migrated: dict[str, int] = field(default_factory=dict)
