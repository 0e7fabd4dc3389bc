"""INSERT, UPDATE and DELETE."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from migration_assets.sandbox.sqlserver import answers, dialect
from migration_assets.sandbox.sqlserver.answers import Done, Event
from migration_assets.sandbox.sqlserver.catalog import Column, Database, Table, quoted, storage_name
from migration_assets.sandbox.sqlserver.conversion import Typed, store
from migration_assets.sandbox.sqlserver.errors import SqlServerError, invalid_column, unsupported
from migration_assets.sandbox.sqlserver.locks import WRITING
from migration_assets.sandbox.sqlserver.queries import QueryTranslator, only
from migration_assets.sandbox.sqlserver.scope import Query, Scope, Source
from migration_assets.sandbox.sqlserver.sql_types import NULL

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.session import Session

_MOST_ROWS = 1000


def run(session: Session, node: exp.Expression) -> Iterator[Event]:
    """Run a statement that changes rows.

    Raises:
        SqlServerError: for mistakes, and 50001 for what is not known.
    """
    if isinstance(node, exp.Insert):
        yield from _insert(session, node)
    elif isinstance(node, exp.Update):
        yield from _update(session, node)
    elif isinstance(node, exp.Delete):
        yield from _delete(session, node)
    else:
        raise unsupported(f"{type(node).__name__.upper()}")


def _parts(node: exp.Expression) -> list[str]:
    return [part for part in (node.text("catalog"), node.text("db"), node.name) if part]


# -- INSERT --------------------------------------------------------------------------------------


def _insert(session: Session, node: exp.Insert) -> Iterator[Event]:
    only(node, {"this", "expression", "returning", "default", "with_"})
    target = node.this
    named = (
        [column.name for column in target.expressions] if isinstance(target, exp.Schema) else None
    )
    table_node = target.this if isinstance(target, exp.Schema) else target
    database, table = session.find_table(_parts(table_node))
    session.check_snapshot(database)
    explicit = (
        session.identity_insert is not None and session.identity_insert.object_id == table.object_id
    )
    columns = _targets(table, named, explicit=explicit)
    session.lock(database, table, WRITING)
    answer: Event
    with session.engine.lock:
        session.enter(writes=True)
        source = _insert_source(session, node, columns)
        sql = _insert_sql(session, database, table, columns, source)
        storage = storage_name(database.name, table.schema, table.name)
        returning = node.args.get("returning")
        if returning is not None:
            only(returning, {"expressions"})
            rows = session.rows(_output(session, table, returning, sql))
            batches = list(rows.batches)
            count = sum(batch.num_rows for batch in batches)
            answer = replace(rows, batches=iter(batches))
        else:
            count = int(session.fetch(sql)[0][0])
            answer = Done(answers.INSERT, count)
        note_identity(session, table, storage, count, explicit=explicit)
        database.changed(count)
    session.rowcount = count
    yield answer


def _targets(table: Table, named: list[str] | None, *, explicit: bool) -> list[Column]:
    if named is None:
        return [
            column for column in table.columns
            if column.computed is None and column.type.name != "timestamp" and (explicit or not column.identity)
        ]  # fmt: skip
    columns = []
    for name in named:
        column = table.column(name)
        if column is None:
            raise invalid_column(name)
        if column.computed is not None:
            raise SqlServerError(
                271,
                f'The column "{name}" cannot be modified because it is either a computed column or is the result of a UNION operator.',
            )
        if column.type.name == "timestamp":
            raise SqlServerError(273, "Cannot insert an explicit value into a timestamp column.")
        if column.identity and not explicit:
            raise SqlServerError(
                544,
                f"Cannot insert explicit value for identity column in table '{table.name}' when IDENTITY_INSERT is set to OFF.",
            )
        columns.append(column)
    if explicit and table.identity and table.identity not in columns:
        raise SqlServerError(
            545,
            f"Explicit value must be specified for identity column in table '{table.name}' either when IDENTITY_INSERT is set to ON.",
        )
    return columns


def _insert_source(session: Session, node: exp.Insert, columns: list[Column]) -> str:
    """A query that gives the target columns as v0, v1, …, converted."""
    translator = QueryTranslator(session)
    source = node.args.get("expression")
    if node.args.get("default"):
        return "SELECT 1 AS v"
    if isinstance(source, exp.Values):
        if len(source.expressions) > _MOST_ROWS:
            raise SqlServerError(
                10738,
                "The number of row value expressions in the INSERT statement exceeds the maximum allowed number of 1000 row values.",
            )
        rows = []
        for row in source.expressions:
            cells = row.expressions if isinstance(row, exp.Tuple) else [row]
            _same_count(len(cells), len(columns))
            values = [
                _cell(translator, cell, column) for cell, column in zip(cells, columns, strict=True)
            ]
            rows.append(f"({', '.join(values)})")
        names = ", ".join(f"v{i}" for i in range(len(columns)))
        return f"SELECT * FROM (VALUES {', '.join(rows)}) AS v({names})"
    if source is None:
        raise unsupported("INSERT without VALUES or SELECT")
    scope = Scope()
    if node.args.get("with_") is not None:
        source = source.copy()
        source.set("with_", node.args["with_"].copy())
    query = translator.query(source, scope)
    _same_count(len(query.columns), len(columns))
    listed = ", ".join(
        f"{store(value, column.type, column.name)} AS v{i}"
        for i, (value, column) in enumerate(zip(query.columns, columns, strict=True))
    )
    return f"SELECT {listed} FROM ({query.sql})"


def _same_count(given: int, expected: int) -> None:
    if given > expected:
        raise SqlServerError(
            110,
            "There are fewer columns in the INSERT statement than values specified in the VALUES clause.",
            15,
        )
    if given < expected:
        raise SqlServerError(
            109,
            "There are more columns in the INSERT statement than values specified in the VALUES clause.",
            15,
        )


def _cell(translator: QueryTranslator, node: exp.Expression, column: Column) -> str:
    if isinstance(node, (exp.Var, exp.Column)) and node.name.upper() == "DEFAULT":
        return _default(translator, column)
    return store(translator.expression(node, Scope()), column.type, column.name)


def _default(translator: QueryTranslator, column: Column) -> str:
    if column.default is None:
        return store(Typed("NULL", NULL), column.type, column.name)
    value = translator.expression(dialect.parse_expression(column.default), Scope())
    return store(value, column.type, column.name)


def _insert_sql(
    session: Session, database: Database, table: Table, columns: list[Column], source: str
) -> str:
    translator = QueryTranslator(session)
    names, values = [], []
    for column in table.columns:
        if column.computed is not None:
            continue
        names.append(quoted(column.name))
        if column in columns:
            values.append(f"v{columns.index(column)}")
        else:
            values.append(generated(database, table, column) or _default(translator, column))
    storage = storage_name(database.name, table.schema, table.name)
    return f"INSERT INTO {storage} ({', '.join(names)}) SELECT {', '.join(values)} FROM ({source})"


def generated(database: Database, table: Table, column: Column) -> str:
    """What SQL Server gives an identity or rowversion column; empty for others."""
    if column.identity:
        seed, step = column.identity
        last = seed - step if table.identity_last is None else table.identity_last
        return f"CAST({last} + {step} * row_number() OVER () AS {column.type.duckdb})"
    if column.type.name == "timestamp":
        return f"unhex(printf('%016x', {database.rowversion} + row_number() OVER ()))"
    return ""


def note_identity(
    session: Session, table: Table, storage: str, count: int, *, explicit: bool
) -> None:
    """Remember the last identity value after rows came in."""
    column = table.identity
    if column is None or column.identity is None or count == 0:
        return
    seed, step = column.identity
    if explicit:
        extreme = "max" if step > 0 else "min"
        ((found,),) = session.fetch(f"SELECT {extreme}({quoted(column.name)}) FROM {storage}")
        known = int(found) if table.identity_last is None else table.identity_last
        table.identity_last = max(known, int(found)) if step > 0 else min(known, int(found))
    else:
        last = seed - step if table.identity_last is None else table.identity_last
        table.identity_last = last + step * count
    session.scope_identity = table.identity_last


def _output(session: Session, table: Table, returning: exp.Expression, sql: str) -> Query:
    translator = QueryTranslator(session)
    columns = [
        (name, replace(column, sql=quoted(name)))
        for name, column in session.columns_of(translator, table, "inserted")
        if not column.computed
    ]
    scope = Scope([Source("inserted", columns)])
    names: list[str] = []
    values: list[Typed] = []
    for item in returning.expressions:
        inner = item.this if isinstance(item, exp.Alias) else item
        if isinstance(inner, exp.Column) and isinstance(inner.this, exp.Star):
            names += [name for name, _ in columns]
            values += [value for _, value in columns]
            continue
        values.append(translator.expression(inner, scope))
        names.append(item.alias or (inner.name if isinstance(inner, exp.Column) else ""))
    outputs = [f"o{i}" for i in range(len(values))]
    listed = ", ".join(f"{v.sql} AS {o}" for v, o in zip(values, outputs, strict=True))
    return Query(
        f"{sql} RETURNING {listed}",
        names,
        [replace(v, sql=o) for v, o in zip(values, outputs, strict=True)],
        outputs,
    )


# -- UPDATE and DELETE ---------------------------------------------------------------------------


def _affected(
    session: Session, translator: QueryTranslator, target: exp.Expression, node: exp.Expression
) -> tuple[Database, Table, str, str, Scope]:
    """The rows meant: table, FROM and WHERE text, and the target's alias in it."""
    from_node = node.args.get("from_")
    scope = Scope()
    translator.define_ctes(node, scope)
    parts = _parts(target)
    if from_node is None:
        from_node = exp.From(this=target.copy())
    alias, source_table = _find_alias(from_node, parts)
    database, table = session.find_table(_parts(source_table))
    session.check_snapshot(database)
    sql = translator.from_clause(from_node, [], scope)
    sources = scope.matching(alias)
    if not sources or not sources[0].columns:
        raise SqlServerError(208, f"Invalid object name '{'.'.join(parts)}'.")
    stored = next(c.sql for _, c in sources[0].columns if not c.computed)
    where = node.args.get("where")
    if where is not None:
        sql += f" WHERE {translator.condition(where.this, scope)}"
    return database, table, sql, stored.split(".")[0], scope


def _lock_target(session: Session, target: exp.Expression, node: exp.Expression) -> None:
    """Wait for shared locks of others, before the engine's own lock is taken."""
    from_node = node.args.get("from_") or exp.From(this=target.copy())
    _, source_table = _find_alias(from_node, _parts(target))
    session.lock(*session.find_table(_parts(source_table)), WRITING)


def _find_alias(from_node: exp.Expression, parts: list[str]) -> tuple[str, exp.Expression]:
    first = from_node.this
    tables = [first, *[join.this for join in first.args.get("joins") or []]]
    tables = [table for table in tables if isinstance(table, exp.Table)]
    wanted = parts[-1].lower()
    for table in tables:
        if len(parts) == 1 and table.alias.lower() == wanted:
            return table.alias, table
    for table in tables:
        if table.name.lower() == wanted and not table.alias:
            return table.name, table
    for table in tables:
        if table.name.lower() == wanted:
            return table.alias, table
    raise SqlServerError(208, f"Invalid object name '{'.'.join(parts)}'.")


def _update(session: Session, node: exp.Update) -> Iterator[Event]:
    only(node, {"this", "expressions", "from_", "where", "with_", "options"})
    translator = QueryTranslator(session)
    _lock_target(session, node.this, node)
    with session.engine.lock:
        session.enter(writes=True)
        database, table, sql, alias, scope = _affected(session, translator, node.this, node)
        values, sets = [], []
        for i, assignment in enumerate(node.expressions):
            if not isinstance(assignment, exp.EQ) or not isinstance(assignment.this, exp.Column):
                raise unsupported(f"assignment {assignment.sql('tsql')}")
            column = table.column(assignment.this.name)
            if column is None:
                raise invalid_column(assignment.this.name)
            _may_change(column)
            given = assignment.args["expression"]
            if isinstance(given, (exp.Var, exp.Column)) and given.name.upper() == "DEFAULT":
                value = _default(translator, column)
            else:
                value = store(translator.expression(given, scope), column.type, column.name)
            values.append(f"{value} AS v{i}")
            sets.append(f"{quoted(column.name)} = changed.v{i}")
        for column in table.columns:
            if column.type.name == "timestamp":
                values.append(f"{generated(database, table, column)} AS vr")
                sets.append(f"{quoted(column.name)} = changed.vr")
        storage = storage_name(database.name, table.schema, table.name)
        # Several source rows for one target row: SQL Server takes any of them.
        inner = f"SELECT DISTINCT ON (rid) * FROM (SELECT {alias}.rowid AS rid, {', '.join(values)}{sql})"
        count = int(
            session.fetch(
                f"UPDATE {storage} AS target SET {', '.join(sets)} FROM ({inner}) AS changed "
                "WHERE target.rowid = changed.rid"
            )[0][0]
        )
        database.changed(count)
    session.rowcount = count
    yield Done(answers.UPDATE, count)


def _may_change(column: Column) -> None:
    if column.identity:
        raise SqlServerError(8102, f"Cannot update identity column '{column.name}'.")
    if column.computed is not None:
        raise SqlServerError(
            271,
            f'The column "{column.name}" cannot be modified because it is either a computed column or is the result of a UNION operator.',
        )
    if column.type.name == "timestamp":
        raise SqlServerError(272, "Cannot update a timestamp column.")


def _delete(session: Session, node: exp.Delete) -> Iterator[Event]:
    only(node, {"this", "tables", "from_", "where", "with_", "options"})
    translator = QueryTranslator(session)
    target = node.this or (node.args.get("tables") or [None])[0]
    if not isinstance(target, exp.Table) or (
        target.args.get("alias")
        and not node.args.get("from_")
        and target.args["alias"].args.get("columns")
    ):
        raise unsupported(f"statement {node.sql('tsql')[:80]}")
    _lock_target(session, target, node)
    with session.engine.lock:
        session.enter(writes=True)
        database, table, sql, alias, _ = _affected(session, translator, target, node)
        storage = storage_name(database.name, table.schema, table.name)
        count = int(
            session.fetch(f"DELETE FROM {storage} WHERE rowid IN (SELECT {alias}.rowid{sql})")[0][0]
        )
    session.rowcount = count
    yield Done(answers.DELETE, count)
