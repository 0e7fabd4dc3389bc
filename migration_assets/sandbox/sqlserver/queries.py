"""SELECT statements to DuckDB, with the T-SQL types of their columns."""

from __future__ import annotations

import itertools
from dataclasses import replace

from sqlglot import exp

from migration_assets.sandbox.sqlserver import collation
from migration_assets.sandbox.sqlserver.catalog import quoted
from migration_assets.sandbox.sqlserver.comparison import key
from migration_assets.sandbox.sqlserver.conversion import Typed, convert
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.expressions import ExpressionTranslator, group_key
from migration_assets.sandbox.sqlserver.scope import Query, Scope, Source
from migration_assets.sandbox.sqlserver.sql_types import INT, common

_SELECT_PARTS = {
    "with_", "kind", "expressions", "hint", "distinct", "into", "from_", "joins", "where", "group",
    "having", "order", "limit", "offset", "options", "operation_modifiers", "laterals",
}  # fmt: skip
_TABLE_PARTS = {"this", "db", "catalog", "alias", "hints", "joins"}
_names = itertools.count()


def only(node: exp.Expression, known: set[str]) -> None:
    """Refuse a clause that would otherwise be dropped in silence."""
    for name, value in node.args.items():
        if value and name not in known:
            raise unsupported(f"{name.strip('_').upper()} in {node.sql('tsql')[:80]}")


class QueryTranslator(ExpressionTranslator):
    """Translates queries."""

    def query(self, node: exp.Expression, scope: Scope) -> Query:
        """Translate a query expression.

        Args:
            node: SELECT, a set operation, VALUES or one of these in parentheses.
            scope: a fresh scope whose parent holds the names of the query around it.

        Raises:
            SqlServerError: for mistakes and for what is not known.
        """
        self.define_ctes(node, scope)
        if isinstance(node, exp.Subquery):
            only(node, {"this", "alias", "with_"})
            return self.query(node.this, scope)
        if isinstance(node, exp.Select):
            return self._select(node, scope)
        if isinstance(node, exp.SetOperation):
            return self._set_operation(node, scope)
        if isinstance(node, exp.Values):
            return self._values(node, scope)
        raise unsupported(f"query {node.sql('tsql')[:80]}")

    def define_ctes(self, node: exp.Expression, scope: Scope) -> None:
        """Make the common table expressions of a statement known in `scope`."""
        clause = node.args.get("with_")
        for cte in clause.expressions if clause is not None else []:
            name = cte.alias.lower()
            scope.ctes[name] = None  # itself, while it is translated: recursion is refused
            inner = self.query(cte.this, Scope(parent=scope.parent, ctes=dict(scope.ctes)))
            renamed = [column.name for column in cte.args["alias"].args.get("columns") or []]
            scope.ctes[name] = replace(inner, names=renamed) if renamed else inner

    # -- FROM ------------------------------------------------------------------------------------

    def from_clause(self, node: exp.Expression | None, joins: list[exp.Join], scope: Scope) -> str:
        """Translate a FROM clause; its sources are added to `scope`."""
        if node is None:
            return ""
        first = node.this if isinstance(node, exp.From) else node
        sql, source = self._source(first, scope)
        scope.sources.append(source)
        for join in [*(first.args.get("joins") or []), *joins]:
            sql = self._join(sql, join, scope)
        return f" FROM {sql}"

    def _join(self, left: str, join: exp.Join, scope: Scope) -> str:
        side = (join.side or "").upper()
        if (
            join.args.get("using")
            or join.args.get("method")
            or join.kind.upper() not in {"", "INNER", "OUTER", "CROSS"}
        ):
            raise unsupported(f"join {join.sql('tsql')[:80]}")
        right = join.this
        if isinstance(right, exp.Lateral):
            return self._apply(left, right, scope)
        sql, source = self._source(right, scope)
        if side in {"RIGHT", "FULL"}:
            scope.sources[:] = [other.nullable() for other in scope.sources]
        scope.sources.append(source.nullable() if side in {"LEFT", "FULL"} else source)
        on = join.args.get("on")
        if on is None:
            return f"{left} CROSS JOIN {sql}"
        return f"{left} {side} JOIN {sql} ON {self.condition(on, scope)}"

    def _apply(self, left: str, lateral: exp.Lateral, scope: Scope) -> str:
        outer = lateral.args.get("cross_apply") is False
        inner_scope = scope.child()
        if isinstance(lateral.this, exp.Subquery):
            query = self.query(lateral.this.this, inner_scope)
            sql, source = self._derived(query, lateral)
        else:
            sql, source = self._table_function(lateral.this, lateral, inner_scope)
        scope.sources.append(source.nullable() if outer else source)
        return (
            f"{left} LEFT JOIN LATERAL {sql} ON TRUE"
            if outer
            else f"{left} CROSS JOIN LATERAL {sql}"
        )

    def _derived(self, query: Query, node: exp.Expression) -> tuple[str, Source]:
        alias = node.args.get("alias")
        name = alias.name if alias is not None else ""
        renamed = [column.name for column in (alias.args.get("columns") or [])] if alias else []
        unique = f"d{next(_names)}"
        names = renamed or query.names
        columns = [
            (shown, replace(column, sql=f"{unique}.{output}"))
            for shown, column, output in zip(names, query.columns, query.outputs, strict=True)
        ]
        return f"({query.sql}) AS {unique}", Source(name, columns)

    def _source(self, node: exp.Expression, scope: Scope) -> tuple[str, Source]:
        if isinstance(node, exp.Subquery):
            only(node, {"this", "alias", "joins", "with_"})
            _refuse_order(node.this)
            sql, source = self._derived(self.query(node.this, scope.child()), node)
            _refuse_names([name for name, _ in source.columns], source.alias)
            return sql, source
        if isinstance(node, exp.Values):
            return self._derived(self._values(node, scope.child()), node)
        if not isinstance(node, exp.Table):
            raise unsupported(f"table source {node.sql('tsql')[:80]}")
        if isinstance(node.this, exp.Anonymous):
            return self._table_function(node.this, node, scope)
        only(node, _TABLE_PARTS)
        if node.args.get("alias") is not None and node.args["alias"].args.get("columns"):
            raise unsupported("a list of column names after a table")
        name, schema = node.name, node.text("db")
        alias = node.alias or name
        if not schema and name.lower() in scope.ctes:
            query = scope.ctes[name.lower()]
            if query is None:
                raise unsupported(f"recursive common table expression {name}")
            sql, source = self._derived(query, node)
            return sql, Source(alias, source.columns)
        unique = f"d{next(_names)}"
        catalog = node.text("catalog")
        hints = {h.name.upper() for g in node.args.get("hints") or [] for h in g.expressions}
        self.session.hint(hints, [part for part in (catalog, schema, name) if part])
        columns, relation = self.session.relation(self, catalog, schema, name, unique)
        denied = self.session.denied_columns(catalog, schema, name)
        return f"{relation} AS {unique}", Source(alias, columns, schema, denied)

    def _table_function(
        self, call: exp.Expression, node: exp.Expression, scope: Scope
    ) -> tuple[str, Source]:
        schema = node.text("db")
        if isinstance(call, exp.Dot):
            schema, call = call.this.name, call.expression
        arguments = [self.expression(argument, scope) for argument in call.expressions]
        unique = f"d{next(_names)}"
        name = f"{schema}.{call.this}" if schema else str(call.this)
        columns, relation = self.session.table_function(name, arguments, unique)
        return f"{relation} AS {unique}", Source(node.alias or str(call.this), columns)

    def _values(self, node: exp.Values, scope: Scope) -> Query:
        rows = [
            [self.expression(cell, scope) for cell in row.expressions] for row in node.expressions
        ]
        if len({len(row) for row in rows}) != 1:
            raise SqlServerError(
                10709,
                "The number of columns for each row in a table value constructor must be the same.",
            )
        kinds = [common([row[i].type for row in rows]) for i in range(len(rows[0]))]
        kinds = [INT if kind.family == "null" else kind for kind in kinds]
        cells = [", ".join(convert(v, k) for v, k in zip(row, kinds, strict=True)) for row in rows]
        outputs = self._outputs(len(kinds))
        sql = f"SELECT * FROM (VALUES {', '.join(f'({row})' for row in cells)}) AS v({', '.join(outputs)})"
        nullable = [any(row[i].nullable for row in rows) for i in range(len(kinds))]
        columns = [Typed(o, k, n) for o, k, n in zip(outputs, kinds, nullable, strict=True)]
        alias = node.args.get("alias")
        names = [c.name for c in alias.args.get("columns") or []] if alias else []
        return Query(sql, names or [""] * len(kinds), columns, outputs)

    def _outputs(self, count: int) -> list[str]:
        number = next(_names)
        return [f"q{number}_{i}" for i in range(count)]

    # -- SELECT ----------------------------------------------------------------------------------

    def _select(self, node: exp.Select, scope: Scope) -> Query:
        only(node, _SELECT_PARTS)
        if node.args.get("into"):
            raise unsupported("SELECT INTO")
        joins = [*(node.args.get("joins") or []), *(node.args.get("laterals") or [])]
        sql_from = self.from_clause(node.args.get("from_"), joins, scope)
        where = node.args.get("where")
        sql_where = f" WHERE {self.condition(where.this, scope)}" if where is not None else ""
        sql_group = self._group_by(node, scope)
        having = node.args.get("having")
        sql_having = f" HAVING {self.condition(having.this, scope)}" if having is not None else ""
        names, values = self._projections(node, scope)
        outputs = self._outputs(len(values))
        distinct = self._distinct(node, values)
        listed = ", ".join(f"{v.sql} AS {o}" for v, o in zip(values, outputs, strict=True))
        sql = f"SELECT {distinct}{listed}{sql_from}{sql_where}{sql_group}{sql_having}"
        by_output = [replace(v, sql=o) for v, o in zip(values, outputs, strict=True)]
        order = self._order(node, scope, names, by_output if distinct else values)
        sql += order + self._limits(node, scope, ordered=bool(order))
        return Query(sql, names, by_output, outputs)

    def _projections(self, node: exp.Select, scope: Scope) -> tuple[list[str], list[Typed]]:
        names: list[str] = []
        values: list[Typed] = []
        for item in node.expressions:
            star = isinstance(item, exp.Star)
            qualified = isinstance(item, exp.Column) and isinstance(item.this, exp.Star)
            if star or qualified:
                sources = scope.matching(item.text("table")) if qualified else scope.sources
                if not sources:
                    raise SqlServerError(
                        107, f"The column prefix '{item.text('table')}' does not match a table."
                    )
                for source in sources:
                    for name, column in source.columns:
                        source.check(name)
                        names.append(name)
                        values.append(column)
                continue
            inner = item.this if isinstance(item, exp.Alias) else item
            if isinstance(inner, exp.EQ) and isinstance(inner.this, exp.Parameter):
                inner = inner.args["expression"]  # SELECT @x = …: the session reads the row
            value = self.expression(inner, scope)
            alias = item.alias if isinstance(item, exp.Alias) else ""
            plain = inner.name if isinstance(inner, exp.Column) else ""
            names.append(alias or plain)
            values.append(value)
        if not values:
            raise SqlServerError(102, "Incorrect syntax: nothing is selected.")
        return names, values

    def _group_by(self, node: exp.Select, scope: Scope) -> str:
        group = node.args.get("group")
        if group is None:
            return ""
        only(group, {"expressions"})
        groups: dict[str, Typed] = {}
        keys = []
        for item in group.expressions:
            value = self.expression(item, scope)
            grouping = key(value)
            keys.append(grouping)
            shown = value if grouping == value.sql else replace(value, sql=f"min({value.sql})")
            if grouping != value.sql and value.type.family == "offset":
                shown = replace(value, sql=f"any_value({value.sql})")
            groups[group_key(item)] = shown
            if isinstance(item, exp.Column):
                # The same column may be written with or without its table.
                groups[group_key(exp.column(item.this.copy()))] = shown
                for source in scope.sources:
                    if any(column.sql == value.sql for _, column in source.columns):
                        groups[group_key(exp.column(item.this.copy(), source.alias))] = shown
                        groups[
                            group_key(
                                exp.column(
                                    item.this.copy(), exp.to_identifier(source.alias, quoted=True)
                                )
                            )
                        ] = shown
        scope.groups = groups
        return f" GROUP BY {', '.join(keys)}"

    def _distinct(self, node: exp.Select, values: list[Typed]) -> str:
        if not node.args.get("distinct"):
            return ""
        keys = [key(value) for value in values]
        if all(k == v.sql for k, v in zip(keys, values, strict=True)):
            return "DISTINCT "
        return f"DISTINCT ON ({', '.join(keys)}) "

    def _order(
        self, node: exp.Expression, scope: Scope, names: list[str], values: list[Typed]
    ) -> str:
        order = node.args.get("order")
        if order is None:
            return ""
        lowered = [name.lower() for name in names]
        parts = []
        for item in order.expressions:
            target = item.this
            if isinstance(target, exp.Literal) and not target.args.get("is_string"):
                position = int(target.name)
                if not 1 <= position <= len(values):
                    raise SqlServerError(
                        108, f"The ORDER BY position number {position} is out of range."
                    )
                value = values[position - 1]
            elif (
                isinstance(target, exp.Column)
                and not target.text("table")
                and target.name.lower() in lowered
            ):
                value = values[lowered.index(target.name.lower())]
            elif isinstance(target, exp.Subquery):
                continue  # (SELECT NULL): no order asked for
            else:
                value = self.expression(target, scope)
            parts.append(
                f"{key(value)} {'DESC NULLS LAST' if item.args.get('desc') else 'ASC NULLS FIRST'}"
            )
        return f" ORDER BY {', '.join(parts)}" if parts else ""

    def _limits(self, node: exp.Expression, scope: Scope, *, ordered: bool) -> str:
        limit, offset = node.args.get("limit"), node.args.get("offset")
        sql = ""
        if limit is not None:
            options = limit.args.get("limit_options")
            if options is not None and (
                options.args.get("percent") or options.args.get("with_ties")
            ):
                raise unsupported("TOP with PERCENT or WITH TIES")
            count = limit.args.get("expression") or limit.args.get("count")
            sql += f" LIMIT {self._count(count, scope)}"
        if offset is not None:
            if not ordered and node.args.get("order") is None:
                raise SqlServerError(102, "Incorrect syntax near 'OFFSET'.", severity=15)
            sql += f" OFFSET {self._count(offset.args['expression'], scope)}"
        return sql

    def _count(self, node: exp.Expression, scope: Scope) -> str:
        value = self.expression(node, Scope(parent=scope.parent))
        if value.type.family != "integer":
            raise SqlServerError(
                1060, "The number of rows provided for a TOP or FETCH clause must be an integer."
            )
        return f"({value.sql})"

    # -- UNION, EXCEPT, INTERSECT ----------------------------------------------------------------

    def _set_operation(self, node: exp.SetOperation, scope: Scope) -> Query:
        only(
            node, {"this", "expression", "distinct", "order", "limit", "offset", "with_", "options"}
        )
        left = self.query(node.args["this"], Scope(parent=scope.parent, ctes=dict(scope.ctes)))
        right = self.query(
            node.args["expression"], Scope(parent=scope.parent, ctes=dict(scope.ctes))
        )
        if len(left.columns) != len(right.columns):
            raise SqlServerError(
                205,
                "All queries combined using a UNION, INTERSECT or EXCEPT operator must have an "
                "equal number of expressions in their target lists.",
            )
        outputs = self._outputs(len(left.columns))
        kinds = [common([a.type, b.type]) for a, b in zip(left.columns, right.columns, strict=True)]
        sides = []
        for side in (left, right):
            listed = ", ".join(
                f"{convert(c, k)} AS {o}"
                for c, k, o in zip(side.columns, kinds, outputs, strict=True)
            )
            sides.append(f"SELECT {listed} FROM ({side.sql})")
        columns = [
            Typed(o, k, a.nullable or b.nullable)
            for o, k, a, b in zip(outputs, kinds, left.columns, right.columns, strict=True)
        ]
        folded = any(k.family == "string" and collation.ignores_case(k.collation) for k in kinds)
        if isinstance(node, exp.Union):
            sql = f"{sides[0]} UNION ALL {sides[1]}"
            if node.args.get("distinct"):
                sql = f"SELECT DISTINCT ON ({', '.join(key(c) for c in columns)}) * FROM ({sql})"
        else:
            if folded:
                raise unsupported("EXCEPT and INTERSECT of text under a case-insensitive collation")
            sql = (
                f"{sides[0]} {'EXCEPT' if isinstance(node, exp.Except) else 'INTERSECT'} {sides[1]}"
            )
        sql = f"SELECT * FROM ({sql})"
        order = self._order(node, scope, left.names, columns)
        sql += order + self._limits(node, scope, ordered=bool(order))
        return Query(sql, left.names, columns, outputs)


def _refuse_order(node: exp.Expression) -> None:
    """Refuse what SQL Server does not take within a derived table."""
    if node.args.get("with_") is not None:
        raise SqlServerError(156, "Incorrect syntax near the keyword 'WITH'.", severity=15)
    if node.args.get("order") is not None and not (
        node.args.get("limit") or node.args.get("offset")
    ):
        raise SqlServerError(
            1033,
            "The ORDER BY clause is invalid in views, inline functions, derived tables, subqueries, "
            "and common table expressions, unless TOP, OFFSET or FOR XML is also specified.",
            severity=15,
        )


def _refuse_names(names: list[str], alias: str) -> None:
    """Refuse columns of a derived table that cannot be named."""
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if not name:
            raise SqlServerError(
                8155, f"No column name was specified for column {number} of '{alias}'."
            )
        if name.lower() in seen:
            raise SqlServerError(
                8156, f"The column '{name}' was specified multiple times for '{alias}'."
            )
        seen.add(name.lower())


def column_reference(alias: str, name: str) -> str:
    """A stored column as DuckDB text."""
    return f"{alias}.{quoted(name)}"
