"""INSERT INTO and INSERT OVERWRITE: analysis, the sink's row checks, and the swap.

A load runs in three steps, like StarRocks' own: the statement is analysed, its rows go into a
staging table (StarRocks: temporary partitions), and they replace the old rows in one transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlglot import exp

from migration_assets.sandbox.starrocks import select
from migration_assets.sandbox.starrocks.casts import cast
from migration_assets.sandbox.starrocks.column_types import ColumnType
from migration_assets.sandbox.starrocks.errors import (
    StarRocksError,
    analysis_error,
    syntax_error,
    table_not_found,
    unsupported,
)
from migration_assets.sandbox.starrocks.expressions import literal, name
from migration_assets.sandbox.starrocks.functions import Typed, convert, unify
from migration_assets.sandbox.starrocks.lexer import Reader
from migration_assets.sandbox.starrocks.select import Compiled, OutputColumn, SelectCompiler
from migration_assets.sandbox.starrocks.tables import Column, Database, Partition, Table, next_id

if TYPE_CHECKING:
    import duckdb

    from migration_assets.sandbox.starrocks.tables import Metadata
    from migration_assets.sandbox.starrocks.variables import Variables

MAX_VALUES_ROWS = 10_000
MAX_PRIMARY_KEY_BYTES = 128
_STAGE = "standin_stage"
_BAD = "standin_bad"


@dataclass
class Insert:
    """An INSERT as it was read.

    Attributes:
        partition_names: of `PARTITION (p1, p2)`.
        partition_values: of `PARTITION (column = value)`.
        query: the text from SELECT or VALUES on.
    """

    overwrite: bool
    target: list[str]
    partition_names: list[str] = field(default_factory=list)
    partition_values: dict[str, str | None] = field(default_factory=dict)
    label: str = ""
    columns: list[str] = field(default_factory=list)
    properties: dict[str, str] = field(default_factory=dict)
    query: str = ""


def read_insert(reader: Reader) -> Insert:
    """Read what follows INSERT, clause by clause in the order of the grammar."""
    kind = reader.one_of("INTO", "OVERWRITE")
    if not kind:
        raise reader.error()
    read = Insert(kind == "OVERWRITE", reader.dotted_name())
    if reader.at("TEMPORARY"):
        raise unsupported("temporary partitions")
    if reader.take("PARTITION"):
        _read_partition(reader, read)
    if reader.take("WITH", "LABEL"):
        read.label = reader.name()
    if reader.at("(") and not (reader.at("SELECT", ahead=1) or reader.at("WITH", ahead=1)):
        read.columns = reader.names()
    if reader.take("PROPERTIES"):
        read.properties = reader.properties()
    if not any(reader.at(word) for word in ("SELECT", "VALUES", "WITH", "(")):
        raise reader.error()
    if reader.at("WITH", "LABEL"):
        raise reader.error()
    read.query = reader.rest
    return read


def _read_partition(reader: Reader, read: Insert) -> None:
    reader.expect("(")
    while True:
        column = reader.name()
        if reader.take("="):
            token = reader.next
            if reader.take("NULL"):
                read.partition_values[column] = None
            elif token.kind in ("string", "number"):
                read.partition_values[column] = reader.value()
            else:
                raise reader.error()
        else:
            read.partition_names.append(column)
        if not reader.take(","):
            break
    reader.expect(")")


@dataclass
class Job:
    """One analysed load, ready to run.

    Attributes:
        replaced: the partitions whose rows go; None: nothing goes (INSERT INTO).
        allowed: the partitions rows may belong to; None for any.
    """

    insert: Insert
    database: Database
    table: Table
    columns: list[Column]
    source: Compiled
    label: str
    transaction: int
    strict: bool
    ratio: float
    throw: bool
    replaced: list[Partition] | None = None
    allowed: list[Partition] | None = None
    id: int = field(default_factory=next_id)


def analyse(
    read: Insert, metadata: Metadata, database: str | None, compiler: SelectCompiler,
    variables: Variables,
) -> Job:  # fmt: skip
    """Check an INSERT as StarRocks' analyser does, and compile its query.

    Raises:
        StarRocksError: with the analyser's text.
    """
    if len(read.target) > 2:
        raise unsupported("INSERT into external catalogs")
    schema = read.target[0] if len(read.target) == 2 else database
    found = metadata.find(schema, read.target[-1])
    if found is None:
        raise table_not_found(read.target[-1])
    owner, table = found
    if read.label and read.label in owner.labels:
        raise analysis_error(
            f"fail to begin transaction. Label [{read.label}] has already been used"
        )
    _check_partitions(read, table, bool(variables["dynamic_overwrite"]))
    columns = _columns(read, table)
    source = _source(read.query, columns, compiler)
    if len(source.columns) != len(columns):
        raise analysis_error(
            f"Inserted target column count: {len(columns)} doesn't match select/value column "
            f"count: {len(source.columns)}",
            5604,
        )
    label = read.label or f"insert_{uuid.uuid4()}"
    strict, ratio = _limits(read.properties, variables)
    return Job(
        read, owner, table, columns, source, label, metadata.transaction(),
        strict, ratio, variables.throw,
    )  # fmt: skip


def _limits(properties: dict[str, str], variables: Variables) -> tuple[bool, float]:
    unknown = properties.keys() - {"strict_mode", "max_filter_ratio", "timeout"}
    if unknown:
        raise analysis_error(f"Invalid INSERT properties: {', '.join(sorted(unknown))}")
    strict = properties.get("strict_mode", str(variables["enable_insert_strict"])).lower() == "true"
    ratio = properties.get("max_filter_ratio", str(variables["insert_max_filter_ratio"]))
    return strict, float(ratio)


def _check_partitions(read: Insert, table: Table, dynamic: bool) -> None:  # noqa: FBT001
    for wanted in read.partition_names:
        if wanted not in table.partitions:
            raise analysis_error(f"Unknown partition '{wanted}' in table '{table.name}'")
    if read.partition_values:
        given = {c.lower() for c in read.partition_values}
        if given != {c.lower() for c in table.partition_columns}:
            raise analysis_error(
                f"static partition insert of table '{table.name}' must give all its partition "
                f"columns: [{', '.join(table.partition_columns)}]"
            )
    elif read.overwrite and dynamic and not read.partition_names:
        raise unsupported("dynamic_overwrite=true: StarRocks may wipe the whole table with it")


def _columns(read: Insert, table: Table) -> list[Column]:
    if not read.columns:
        return list(table.columns)
    columns: list[Column] = []
    for wanted in read.columns:
        column = table.column(wanted)
        if column is None:
            raise analysis_error(f"Unknown column '{wanted}' in '{table.name}'", 5509)
        if column in columns:
            raise analysis_error(f"Column '{wanted}' specified twice", 1110)
        columns.append(column)
    static = {c.lower() for c in read.partition_values}
    for column in table.columns:
        required = not column.nullable and column.default is None
        if column not in columns and (required or column.name.lower() in static):
            named = ",".join(c.name for c in columns)
            raise analysis_error(
                f"'{column.name}' must be explicitly mentioned in column permutation: {named}"
            )
    return columns


def _source(query: str, columns: list[Column], compiler: SelectCompiler) -> Compiled:
    if not Reader(query).at("VALUES"):
        return compiler.compile(select.parse(query))
    # sqlglot reads VALUES (...) of this dialect only behind an INSERT.
    statement = select.parse_any(f"INSERT INTO t {query}")
    if not isinstance(statement, exp.Insert):
        raise unsupported("this form of VALUES")
    tree = statement.args.get("expression")
    if not isinstance(tree, exp.Values):
        raise unsupported("this form of VALUES")
    if {k for k, v in statement.args.items() if v} - {"this", "expression"}:
        raise syntax_error(query.rsplit(")", 1)[-1].strip())
    if len(tree.expressions) > MAX_VALUES_ROWS:
        raise analysis_error(
            f"The inserted rows are {len(tree.expressions)} exceeded the maximum limit "
            f"{MAX_VALUES_ROWS}"
        )
    rows = [
        [
            compiler.value(cell)
            for cell in (row.expressions if isinstance(row, exp.Tuple) else [row])
        ]
        for row in tree.expressions
    ]
    width = len(columns)
    if any(len(row) != width for row in rows):
        count = next(len(row) for row in rows if len(row) != width)
        raise analysis_error(
            f"Inserted target column count: {width} doesn't match select/value column count: "
            f"{count}",
            5604,
        )
    types = [_common([row[i] for row in rows], columns[i]) for i in range(width)]
    text = ", ".join(
        f"({', '.join(convert(c, t).sql for c, t in zip(row, types, strict=True))})" for row in rows
    )
    output = [OutputColumn(c.name, t) for c, t in zip(columns, types, strict=True)]
    return Compiled(f"SELECT * FROM (VALUES {text})", output)


def _common(cells: list[Typed], column: Column) -> ColumnType:
    try:
        return unify([cell.type for cell in cells])
    except StarRocksError:
        return column.type


def choose_partitions(job: Job) -> None:
    """Find, or create, the partitions that an overwrite replaces; remember their ids."""
    read, table = job.insert, job.table
    if read.partition_values:
        if not read.overwrite:
            raise StarRocksError("Required field 'partitions' was not present! Struct: TOlapTable")
        if not table.automatic:
            raise analysis_error("No partition specified in partition lists")
        given = {c.lower(): v for c, v in read.partition_values.items()}
        values = [given[c.lower()] for c in table.partition_columns]
        with table.lock:
            job.allowed = [table.partition_of(values) or table.add_partition(values)]
    elif read.partition_names:
        job.allowed = [table.partitions[p] for p in read.partition_names]
    if read.overwrite:
        job.replaced = job.allowed or list(table.partitions.values())


def run(job: Job, cursor: duckdb.DuckDBPyConnection, check: Callable[[], None]) -> int:
    """Stage the rows, check them, and swap them in.

    Args:
        job: the analysed load, its partitions chosen.
        cursor: the session's DuckDB connection.
        check: raises when the statement was killed or ran into its timeout.

    Returns:
        The number of rows loaded.

    Raises:
        StarRocksError: rows were filtered, or another overwrite came first; nothing has changed.
    """
    table = job.table
    if job.replaced is not None:
        if not _unchanged(job):
            raise StarRocksError("create partition failed because src partitions changed")
        table.overwriting += 1
    try:
        rules = _stage(job, cursor)
        check()
        total, bad = cursor.execute(
            f"SELECT count(*), count(*) FILTER (WHERE {_BAD}) FROM {_STAGE}"
        ).fetchall()[0]
        if bad and job.strict and bad > total * job.ratio:
            raise FilteredError(job, _reasons(cursor, rules))
        with table.lock:
            check()
            if job.replaced is not None and not _unchanged(job):
                gone = job.replaced[0].id
                raise StarRocksError(f"partition id:{gone} does not exist in table id:{table.id}")
            _swap(job, cursor)
        return int(total - bad)
    finally:
        if job.replaced is not None:
            table.overwriting -= 1
        cursor.execute(f"DROP TABLE IF EXISTS temp.{_STAGE}")


class FilteredError(StarRocksError):
    """The load met rows that its target cannot take; `reasons` say which rules they broke."""

    def __init__(self, job: Job, reasons: list[str]) -> None:
        """Write StarRocks' text."""
        super().__init__(
            f"Insert has filtered data, txn_id = {job.transaction}, tracking sql = select "
            f"tracking_log from information_schema.load_tracking_logs where job_id={job.id}"
        )
        self.reasons = reasons


def _unchanged(job: Job) -> bool:
    now = {p.id for p in job.table.partitions.values()}
    return all(p.id in now for p in job.replaced or [])


def _stage(job: Job, cursor: duckdb.DuckDBPyConnection) -> list[tuple[str, str]]:
    """Fill the staging table; returns the sink's rules as (condition of a bad row, text)."""
    table = job.table
    inputs = {c.name: i for i, c in enumerate(job.columns)}
    values, rules, marks = [], [], []
    for i, column in enumerate(table.columns):
        target, at = column.type, inputs.get(column.name)
        own = name(column.name)
        if at is None:
            default = "NULL" if column.default is None else literal(column.default)
            values.append(f"CAST({default} AS {target.duckdb}) AS {own}")
            continue
        source, given = job.source.columns[at].type, f"c{at}"
        both_decimal = source.family == target.family == "decimal"
        value = cast(given, source, target, throw=job.throw and not both_decimal)
        if both_decimal and source != target:
            marks.append(f"({given} IS NOT NULL AND {value} IS NULL) AS d{i}")
            rules.append((f"d{i}", f"column {column.name}: decimal out of {target.described}"))
        size = "strlen" if target.family == "string" else "octet_length"
        if target.family in ("string", "binary"):
            if job.strict:
                rules.append(
                    (f"{size}({own}) > {target.length}",
                     f"column {column.name}: value longer than {target.length} bytes")
                )  # fmt: skip
            else:
                value = f"CASE WHEN {size}({value}) <= {target.length} THEN {value} END"
        values.append(f"{value} AS {own}")
    if not job.strict:
        rules.clear()
    rules += [
        (f"{name(c.name)} IS NULL", f"column {c.name}: NULL value in NOT NULL column")
        for c in table.columns
        if not c.nullable
    ]
    allowed = list(table.partitions.values()) if job.allowed is None else job.allowed
    if job.allowed is not None or (table.partition_columns and not table.automatic):
        held = " OR ".join(table.condition(p) for p in allowed) or "false"
        rules.append((f"NOT coalesce({held}, false)", "the row is out of partition ranges"))
    bad = " OR ".join(f"coalesce({rule}, false)" for rule, _ in rules) or "false"
    names = ", ".join(f"c{i}" for i in range(len(job.source.columns)))
    columns = ", ".join(name(c.name) for c in table.columns)
    extra = "".join(f", d{m.rsplit(' AS d', 1)[1]}" for m in marks)
    cursor.execute(
        f"CREATE OR REPLACE TEMP TABLE {_STAGE} AS SELECT {columns}{extra}, {bad} AS {_BAD} FROM "
        f"(SELECT {', '.join([*values, *marks])} FROM ({job.source.sql}) AS q({names}))"
    )
    return rules


def _reasons(cursor: duckdb.DuckDBPyConnection, rules: list[tuple[str, str]]) -> list[str]:
    counts = ", ".join(f"count(*) FILTER (WHERE {rule})" for rule, _ in rules)
    row = cursor.execute(f"SELECT {counts} FROM {_STAGE}").fetchall()[0]
    return [f"{n} rows: {text}" for n, (_, text) in zip(row, rules, strict=True) if n]


def _swap(job: Job, cursor: duckdb.DuckDBPyConnection) -> None:
    """Replace or append the rows in one transaction; the table's lock is held."""
    table = job.table
    target = f"{name(job.database.storage)}.{name(table.storage)}"
    columns = ", ".join(name(c.name) for c in table.columns)
    good = f"SELECT {columns} FROM {_STAGE} WHERE NOT {_BAD}"
    keys = ", ".join(name(k) for k in table.keys)
    unique = table.model in ("PRIMARY", "UNIQUE")
    if table.model == "PRIMARY":
        _check_key_bytes(table, cursor)
    if unique:
        good += f" QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY rowid DESC) = 1"
    cursor.execute("BEGIN TRANSACTION")
    try:
        if job.replaced is not None:
            gone = " OR ".join(f"({table.condition(p)})" for p in job.replaced)
            if gone:
                cursor.execute(f"DELETE FROM {target} WHERE {gone}")
        if unique:
            same = " AND ".join(f"t.{name(k)} IS NOT DISTINCT FROM s.{name(k)}" for k in table.keys)
            cursor.execute(
                f"DELETE FROM {target} AS t USING {_STAGE} AS s WHERE {same} AND NOT {_BAD}"
            )
        cursor.execute(f"INSERT INTO {target} ({columns}) {good}")
        cursor.execute("COMMIT")
    except BaseException:
        cursor.execute("ROLLBACK")
        raise
    for partition in job.replaced or []:
        fresh = Partition(partition.name, partition.values, version=2)
        table.partitions[partition.name] = fresh
    if table.automatic and job.allowed is None:
        _create_partitions(table, cursor)


def _create_partitions(table: Table, cursor: duckdb.DuckDBPyConnection) -> None:
    columns = ", ".join(f"CAST({name(c)} AS VARCHAR)" for c in table.partition_columns)
    found = cursor.execute(f"SELECT DISTINCT {columns} FROM {_STAGE} WHERE NOT {_BAD}").fetchall()
    for row in found:
        if table.partition_of(list(row)) is None:
            table.add_partition(list(row))


def _check_key_bytes(table: Table, cursor: duckdb.DuckDBPyConnection) -> None:
    widths = []
    for key in table.keys:
        column = table.column(key)
        assert column is not None  # noqa: S101 - keys are columns
        widths.append(f"strlen({name(key)})" if column.type.family == "string" else "8")
    limit = MAX_PRIMARY_KEY_BYTES
    (over,) = cursor.execute(
        f"SELECT count(*) FROM {_STAGE} WHERE {' + '.join(widths)} > {limit}"
    ).fetchall()[0]
    if over:
        raise StarRocksError(f"primary key size exceed the limit. limit: {limit}", 5609)
