"""Compiles a StarRocks query to DuckDB, with the StarRocks type of each column."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlglot import exp
from sqlglot.dialects import StarRocks
from sqlglot.errors import SqlglotError

from migration_assets.sandbox.starrocks.casts import datetime_text
from migration_assets.sandbox.starrocks.column_types import ColumnType
from migration_assets.sandbox.starrocks.errors import (
    StarRocksError,
    analysis_error,
    syntax_error,
    unsupported,
)
from migration_assets.sandbox.starrocks.expressions import (
    Environment,
    ExpressionCompiler,
    literal,
    name,
)
from migration_assets.sandbox.starrocks.functions import Typed, unify
from migration_assets.sandbox.starrocks.lexer import tokens


class _Dialect(StarRocks):  # type: ignore[misc] # sqlglot has no types for it
    """StarRocks' grammar with every function left as it was written."""

    class Parser(StarRocks.Parser):  # type: ignore[misc] # likewise
        FUNCTIONS: dict[str, Callable[..., exp.Expr]] = {}  # noqa: RUF012 - sqlglot's own


@dataclass(frozen=True)
class OutputColumn:
    """A column of a table or of a query's result."""

    name: str
    type: ColumnType


# column in lower case, operator, values
Filter = tuple[str, str, list[int]]


@dataclass
class Source:
    """One table of a FROM clause.

    Attributes:
        alias: how columns are qualified.
        sql: what stands in DuckDB's FROM clause, without the alias.
        columns: by lower-case name.
        reads: DuckDB expression of a column where it is not the column itself; `{}` is the column.
        used: lower-case names of the columns the query touches; None: all may be touched.
        filters: conjuncts `column operator value` that every row needed fulfils.
        limit: how many rows are enough, whichever; None: all are needed.
    """

    alias: str
    sql: str
    columns: dict[str, OutputColumn]
    reads: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    filters: list[Filter] = field(default_factory=list)
    limit: int | None = None

    def read(self, column: str) -> Typed:
        """Read a column by its lower-case name."""
        found = self.columns[column]
        if found.type.name == "UNKNOWN_TYPE":
            raise analysis_error(
                f"Datatype of external table column [{found.name}] is not supported!"
            )
        self.used.add(column)
        sql = f"{name(self.alias)}.{name(found.name)}"
        return Typed(self.reads.get(column, "{}").format(sql), found.type)


@dataclass
class Scope:
    """The sources that an expression sees, and those of the queries around it."""

    sources: list[Source]
    parent: Scope | None = None
    aliases: dict[str, Typed] = field(default_factory=dict)

    def column(self, node: exp.Column) -> Typed:
        """Resolve a column reference; names compare without case, table names with it."""
        wanted, table = node.name.lower(), node.table
        found = [
            source
            for source in self.sources
            if wanted in source.columns and (not table or source.alias == table)
        ]
        if len(found) > 1:
            raise analysis_error(f"Column '{node.name}' is ambiguous")
        if found:
            return found[0].read(wanted)
        if not table and wanted in self.aliases:
            return Typed(name(node.name), self.aliases[wanted].type)
        if self.parent is not None:
            return self.parent.column(node)
        full = f"`{table}`.`{node.name}`" if table else node.name
        raise analysis_error(f"Column '{full}' cannot be resolved")


@dataclass(frozen=True)
class Compiled:
    """A query for DuckDB and its columns."""

    sql: str
    columns: list[OutputColumn]

    @property
    def as_text(self) -> str:
        """The query with every value as clients see it: text, bytes or NULL."""
        names = [f"c{i}" for i in range(len(self.columns))]
        values = [_text(n, c.type) for n, c in zip(names, self.columns, strict=True)]
        return f"SELECT {', '.join(values)} FROM ({self.sql}) AS q({', '.join(names)})"


def _text(sql: str, column_type: ColumnType) -> str:
    if column_type.family == "boolean":
        return f"CAST(CAST({sql} AS TINYINT) AS VARCHAR)"
    if column_type.family == "datetime":
        return datetime_text(sql)
    return sql if column_type.family in ("string", "binary") else f"CAST({sql} AS VARCHAR)"


def parse(statement: str) -> exp.Expr:
    """Parse one query.

    Raises:
        StarRocksError: it cannot be parsed, or it is something else than a query.
    """
    query = parse_any(statement)
    if not isinstance(query, exp.Query):
        raise unsupported(f"statement {statement[:200]!r}")
    return query


def parse_any(statement: str) -> exp.Expr | None:
    """Parse one statement of any kind with sqlglot."""
    words = tokens(statement)
    if any(a.text == b.text == ":" for a, b in itertools.pairwise(words)):
        raise syntax_error(":")  # sqlglot takes x::int, StarRocks does not
    try:
        tree = _Dialect().parse(statement)
    except SqlglotError as error:
        raise StarRocksError(
            f"Getting syntax error. Detail message: {str(error).splitlines()[0]}"
        ) from error
    return tree[0] if len(tree) == 1 else None


class SelectCompiler:
    """Compiles queries for one session."""

    def __init__(self, environment: Environment, resolve: Callable[[exp.Table], Source]) -> None:
        """Take the session's values and its way to find tables."""
        self._environment = environment
        self._resolve = resolve

    def compile(self, query: exp.Expr, parent: Scope | None = None) -> Compiled:
        """Compile a query with its subqueries."""
        return self._query(query, parent, {})

    def condition(self, table: exp.Table, condition: exp.Expr) -> str:
        """Compile the condition of a DELETE."""
        return self._expressions(Scope([self._resolve(table)]), {}).compile(condition).sql

    def value(self, expression: exp.Expr) -> Typed:
        """Compile an expression outside of any query (VALUES)."""
        return self._expressions(Scope([]), {}).compile(expression)

    def _query(self, query: exp.Expr, parent: Scope | None, ctes: dict[str, Compiled]) -> Compiled:
        ctes = dict(ctes)
        if with_ := query.args.get("with_") or query.args.get("with"):
            for cte in with_.expressions:
                ctes[cte.alias] = self._query(cte.this, parent, ctes)
        if isinstance(query, exp.Subquery):
            return self._query(query.this, parent, ctes)
        if isinstance(query, exp.SetOperation):
            return self._set_operation(query, parent, ctes)
        if isinstance(query, exp.Select):
            return self._select(query, parent, ctes)
        raise unsupported(f"{type(query).__name__}: {query.sql()[:200]}")

    def _set_operation(
        self, query: exp.SetOperation, parent: Scope | None, ctes: dict[str, Compiled]
    ) -> Compiled:
        left, right = (self._query(side, parent, ctes) for side in (query.left, query.right))
        if len(left.columns) != len(right.columns):
            raise analysis_error("Operands have unequal number of columns")
        columns = [
            OutputColumn(a.name, unify([a.type, b.type]))
            for a, b in zip(left.columns, right.columns, strict=True)
        ]
        word = type(query).__name__.upper() + ("" if query.args.get("distinct") else " ALL")
        scope = Scope([], parent, {c.name.lower(): Typed("", c.type) for c in columns})
        tail = self._tail(query, scope, ctes)
        return Compiled(f"({left.sql}) {word} ({right.sql}){tail}", columns)

    def _select(
        self, query: exp.Select, parent: Scope | None, ctes: dict[str, Compiled]
    ) -> Compiled:
        _refuse_clauses(query)
        scope = Scope([], parent)
        source = self._from(query, scope, ctes)
        compiler = self._expressions(scope, ctes)
        items = list(self._items(query, scope, compiler))
        _limit(query, scope.sources)
        if where := query.args.get("where"):
            if len(scope.sources) == 1:
                scope.sources[0].filters += _filters(where.this)
            source += f" WHERE {compiler.compile(where.this).sql}"
        scope.aliases = {alias.lower(): item for alias, item in items}
        if group := query.args.get("group"):
            source += f" GROUP BY {', '.join(compiler.compile(e).sql for e in group.expressions)}"
        if having := query.args.get("having"):
            source += f" HAVING {compiler.compile(having.this).sql}"
        tail = self._tail(query, scope, ctes)
        distinct = "DISTINCT " if query.args.get("distinct") else ""
        wanted = ", ".join(f"{item.sql} AS {name(alias)}" for alias, item in items)
        columns = [OutputColumn(alias, item.type) for alias, item in items]
        return Compiled(f"SELECT {distinct}{wanted}{source}{tail}", columns)

    def _items(
        self, query: exp.Select, scope: Scope, compiler: ExpressionCompiler
    ) -> Iterator[tuple[str, Typed]]:
        for item in query.expressions:
            star = item.this if isinstance(item, exp.Column) else item
            if isinstance(star, exp.Star):
                if star.args.get("except_") or star.args.get("except"):
                    raise unsupported("SELECT * EXCEPT")
                table = item.table if isinstance(item, exp.Column) else ""
                for source in scope.sources:
                    if not table or source.alias == table:
                        yield from ((c.name, source.read(key)) for key, c in source.columns.items())
            elif isinstance(item, exp.Alias):
                yield item.alias, compiler.compile(item.this)
            else:
                label = item.name if isinstance(item, exp.Column) else item.sql("starrocks")
                yield label, compiler.compile(item)

    def _from(self, query: exp.Select, scope: Scope, ctes: dict[str, Compiled]) -> str:
        clause = query.args.get("from_") or query.args.get("from")
        if clause is None:
            return ""
        first = self._source(clause.this, scope, ctes)
        text = f" FROM {first.sql} AS {name(first.alias)}"
        for join in query.args.get("joins") or []:
            if join.args.get("method") or join.args.get("kind") not in (
                None,
                "",
                "INNER",
                "CROSS",
                "OUTER",
            ):
                raise unsupported(f"join {join.sql()[:100]}")
            words = " ".join(filter(None, [join.args.get("side"), join.args.get("kind")]))
            source = self._source(join.this, scope, ctes)
            text += f" {words or 'CROSS' if not join.args.get('on') else words} JOIN"
            text += f" {source.sql} AS {name(source.alias)}"
            if join.args.get("using"):
                raise unsupported("JOIN ... USING: write ON")
            if condition := join.args.get("on"):
                text += f" ON {self._expressions(scope, ctes).compile(condition).sql}"
        return text

    def _source(self, node: exp.Expr, scope: Scope, ctes: dict[str, Compiled]) -> Source:
        if isinstance(node, exp.Subquery):
            inner = self._query(node.this, scope.parent, ctes)
            source = _derived(node.alias, inner)
        elif isinstance(node, exp.Table) and not node.db and node.name in ctes:
            source = _derived(node.alias or node.name, ctes[node.name])
        elif isinstance(node, exp.Table):
            source = self._resolve(node)
        else:
            raise unsupported(f"FROM {node.sql()[:200]}")
        if any(other.alias == source.alias for other in scope.sources):
            raise analysis_error(f"Not unique table/alias: '{source.alias}'")
        scope.sources.append(source)
        return source

    def _tail(self, query: exp.Query, scope: Scope, ctes: dict[str, Compiled]) -> str:
        text = ""
        if order := query.args.get("order"):
            compiler, parts = self._expressions(scope, ctes), []
            for item in order.expressions:
                alias = item.this.name.lower() if isinstance(item.this, exp.Column) else ""
                plain = alias in scope.aliases and not item.this.table
                key = name(item.this.name) if plain else compiler.compile(item.this).sql
                # StarRocks puts NULL first when ascending.
                parts.append(
                    f"{key} {'DESC NULLS LAST' if item.args.get('desc') else 'NULLS FIRST'}"
                )
            text += f" ORDER BY {', '.join(parts)}"
        for clause in ("limit", "offset"):
            if node := query.args.get(clause):
                text += f" {clause.upper()} {int(node.expression.name)}"
        return text

    def _expressions(self, scope: Scope, ctes: dict[str, Compiled]) -> ExpressionCompiler:
        return ExpressionCompiler(
            self._environment, scope, lambda query, around: self._query(query, around, ctes)
        )


def _derived(alias: str, inner: Compiled) -> Source:
    if not alias:
        raise analysis_error("Every derived table must have its own alias")
    columns = {c.name.lower(): c for c in inner.columns}
    if len(columns) != len(inner.columns):
        raise analysis_error(f"Duplicate column name in the derived table '{alias}'")
    return Source(alias, f"({inner.sql})", columns)


_KNOWN_CLAUSES = {
    "with_", "with", "kind", "distinct", "expressions", "from_", "from", "joins", "where", "group",
    "having", "order", "limit", "offset",
}  # fmt: skip


def _refuse_clauses(query: exp.Select) -> None:
    for clause, value in query.args.items():
        if value and clause not in _KNOWN_CLAUSES:
            raise unsupported(f"the clause {clause.upper()}")
    group = query.args.get("group")
    if group and any(v for k, v in group.args.items() if k != "expressions"):
        raise unsupported("GROUP BY ROLLUP, CUBE or GROUPING SETS")


def _limit(query: exp.Select, sources: list[Source]) -> None:
    """Tell the only source when any few rows will do: `SELECT a, b FROM t LIMIT 1`."""
    others = _KNOWN_CLAUSES - {"kind", "expressions", "from_", "from", "limit"}
    plain = all(isinstance(item, exp.Column | exp.Star) for item in query.expressions)
    limit = query.args.get("limit")
    if limit and plain and len(sources) == 1 and not any(query.args.get(c) for c in others):
        sources[0].limit = int(limit.expression.name)


_OPERATORS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.LT: "<",
    exp.LTE: "<=",
    exp.GT: ">",
    exp.GTE: ">=",
}


def _filters(condition: exp.Expr) -> list[Filter]:
    """The conjuncts that a reader of data files can apply itself."""
    found = []
    parts = condition.flatten() if isinstance(condition, exp.And) else [condition]
    for part in parts:
        if not isinstance(part.this, exp.Column):
            continue
        if isinstance(part, exp.In) and part.expressions and not part.args.get("query"):
            operator, values = "in", part.expressions
        elif type(part) in _OPERATORS:
            operator, values = _OPERATORS[type(part)], [part.expression]
        else:
            continue
        if all(isinstance(v, exp.Literal) and not v.is_string and v.name.isdigit() for v in values):
            found.append((part.this.name.lower(), operator, [int(v.name) for v in values]))
    return found


__all__ = ["Compiled", "OutputColumn", "Scope", "SelectCompiler", "Source", "literal", "parse"]


def pinned_version(node: exp.Table) -> int | str | None:
    """Which snapshot, by id or by name, FOR VERSION AS OF asks for; None without it."""
    clause = node.args.get("version")
    if clause is None:
        return None
    if clause.this != "VERSION" or clause.args.get("kind") != "AS OF":
        raise unsupported(f"time travel {clause.sql()}")
    value = clause.expression
    if not isinstance(value, exp.Literal):
        raise unsupported(f"time travel to {value.sql()}")
    return value.name if value.is_string else int(value.name)
