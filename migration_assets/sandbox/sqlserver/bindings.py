"""Values of a call bound to the parameters that its statement declares."""

from __future__ import annotations

from typing import Any

from migration_assets.sandbox.sqlserver.batch import Reader
from migration_assets.sandbox.sqlserver.conversion import Typed, convert
from migration_assets.sandbox.sqlserver.errors import SqlServerError
from migration_assets.sandbox.sqlserver.rpc import Parameter
from migration_assets.sandbox.sqlserver.tables import read_type


def bound(declaration: str, values: list[Parameter]) -> dict[str, Typed]:
    """Bind values by name, else by position, each as the type that it is declared with.

    Args:
        declaration: `@id int, @name nvarchar(20)`.
        values: as the client sent them.

    Raises:
        SqlServerError: 8178: one is missing.
    """
    parameters = {}
    for position, (name, kind) in enumerate(_declared(declaration)):
        named = [value for value in values if value.name == name]
        if named:
            found = named[0]
        elif position < len(values) and not values[position].name:
            found = values[position]
        else:
            raise SqlServerError(
                8178,
                f"The parameterized query expects the parameter '@{name}', which was not supplied.",
            )
        value = found.value
        same = value.type.family == kind.family == "string"
        sql = value.sql if same else convert(value, kind)
        parameters[name] = Typed(
            sql, kind, value.nullable, constant=value.constant if same else None
        )
    return parameters


def _declared(declaration: str) -> list[tuple[str, Any]]:
    if not declaration.strip():
        return []
    reader = Reader(declaration)
    found = []
    while True:
        name = reader.name().lstrip("@") or reader.name()
        found.append((name.lower(), read_type(reader)))
        reader.accept("OUTPUT")
        if not reader.accept(","):
            return found
