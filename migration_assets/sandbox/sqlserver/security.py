"""Row-level security: inline functions of one condition, and policies that filter tables by them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlglot import exp

from migration_assets.sandbox.sqlserver import dialect
from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported
from migration_assets.sandbox.sqlserver.scope import Scope, Source
from migration_assets.sandbox.sqlserver.tables import must_be_new, place, read_type

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.batch import Reader
    from migration_assets.sandbox.sqlserver.catalog import Database, Table
    from migration_assets.sandbox.sqlserver.conversion import Typed
    from migration_assets.sandbox.sqlserver.queries import QueryTranslator
    from migration_assets.sandbox.sqlserver.session import Session


@dataclass
class InlineFunction:
    """A function that returns one row where its condition holds, else none."""

    parameters: list[str]
    condition: str


@dataclass
class Policy:
    """A security policy.

    Attributes:
        filters: table id, the function's key and the columns given to it.
    """

    schema: str
    name: str
    object_id: int
    enabled: bool
    filters: list[tuple[int, tuple[str, str], list[str]]]


def create_function(session: Session, reader: Reader) -> None:
    """CREATE FUNCTION … RETURNS TABLE AS RETURN SELECT … WHERE condition over the parameters.

    Raises:
        SqlServerError: 50001 for any other function.
    """
    database, schema, name = place(session, reader.object_name())
    must_be_new(database, schema, name)
    reader.expect("(")
    parameters = []
    while not reader.accept(")"):
        # `@x` may come as one word or as two.
        parameters.append((reader.name().lstrip("@") or reader.name()).lower())
        reader.accept("AS")
        read_type(reader)
        reader.accept(",")
    reader.expect("RETURNS", "TABLE")
    if reader.accept("WITH"):
        reader.expect("SCHEMABINDING")
    reader.accept("AS")
    reader.expect("RETURN")
    node = dialect.parse(reader.rest().rstrip("; \n"))
    node = node.this if isinstance(node, exp.Subquery) else node
    where = node.args.get("where")
    if not isinstance(node, exp.Select) or node.args.get("from_") or where is None:
        raise unsupported("a function that is not RETURN SELECT … WHERE over its parameters")
    condition = where.this.sql(dialect.StandInTSQL)
    function = InlineFunction(parameters, condition)
    database.functions[schema.lower(), name.lower()] = function


def create_policy(session: Session, reader: Reader) -> None:
    """CREATE SECURITY POLICY … ADD FILTER PREDICATE f(columns) ON table … [WITH (STATE = ON)].

    Raises:
        SqlServerError: 208 for a function that is not there, 50001 for block predicates.
    """
    database, schema, name = place(session, reader.object_name())
    policy = Policy(schema, name, database.next_id(), enabled=True, filters=[])
    while True:
        reader.expect("ADD")
        if not reader.accept("FILTER"):
            raise unsupported(f"security predicate {reader.peek()}")
        reader.expect("PREDICATE")
        _, function_schema, function_name = place(session, reader.object_name())
        key = (function_schema.lower(), function_name.lower())
        if key not in database.functions:
            raise SqlServerError(208, f"Invalid object name '{'.'.join(key)}'.")
        columns = reader.names()
        reader.expect("ON")
        _, table = session.find_table(reader.object_name())
        policy.filters.append((table.object_id, key, columns))
        if not reader.accept(","):
            break
    if reader.accept("WITH"):
        reader.expect("(", "STATE", "=")
        policy.enabled = reader.name().upper() == "ON"
        reader.expect(")")
    database.policies.append(policy)


def conditions(
    translator: QueryTranslator,
    database: Database,
    table: Table,
    columns: list[tuple[str, Typed]],
) -> list[str]:
    """DuckDB conditions that the enabled policies put on the rows of a table."""
    found = []
    for policy in database.policies:
        for object_id, key, given in policy.filters:
            if not policy.enabled or object_id != table.object_id:
                continue
            function = database.functions[key]
            values = dict(zip(function.parameters, given, strict=True))
            node = dialect.parse_condition(function.condition)
            node = node.transform(_argument, values)
            found.append(translator.condition(node, Scope([Source("", columns)])))
    return found


def _argument(node: exp.Expression, values: dict[str, str]) -> exp.Expression:
    if isinstance(node, exp.Parameter):
        name = str(node.name).lower()
        if name in values:
            return exp.column(exp.to_identifier(values[name], quoted=True))
    return node
