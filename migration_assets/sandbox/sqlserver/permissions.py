"""GRANT, DENY and REVOKE of what a migration's login may lack, and the functions that ask for it.

There is one login, so whom a statement names does not matter. It may do everything until it is told
otherwise, and the narrowest scope that says anything decides: column, then table, then database.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from migration_assets.sandbox.sqlserver.errors import SqlServerError, unsupported

if TYPE_CHECKING:
    from migration_assets.sandbox.sqlserver.batch import Reader
    from migration_assets.sandbox.sqlserver.catalog import Database, Table
    from migration_assets.sandbox.sqlserver.session import Session

KNOWN = ("SELECT", "UNMASK", "VIEW DEFINITION", "CREATE DATABASE")
"""Permissions that can be taken away here."""
_STATES = {"GRANT": "G", "DENY": "D", "REVOKE": "R"}

Scope = tuple[str, str, str]
"""Permission, then table (`schema.name`) and column in lower case, empty for the wider scope."""


@dataclass
class Permissions:
    """What was said about the login: `G`ranted, `D`enied or `R`evoked."""

    said: dict[Scope, str] = field(default_factory=dict)

    def allows(self, permission: str, table: str = "", column: str = "") -> bool:
        """Whether the login has a permission on the database, a table or a column."""
        table, column = table.lower(), column.lower()
        scopes = ((permission, table, column), (permission, table, ""), (permission, "", ""))
        said = next((self.said[scope] for scope in scopes if scope in self.said), "G")
        return said == "G"

    def check_select(self, database: Database, table: Table) -> frozenset[str]:
        """Names, in lower case, of the columns that may not be read.

        Raises:
            SqlServerError: 229 when no column may.
        """
        denied = frozenset(
            column.name.lower()
            for column in table.columns
            if not self.allows("SELECT", table.full_name, column.name)
        )
        if len(denied) == len(table.columns) and not self.allows("SELECT", table.full_name):
            raise SqlServerError(
                229,
                f"The SELECT permission was denied on the object '{table.name}', database "
                f"'{database.name}', schema '{table.schema}'.",
                14,
            )
        return denied

    def denied_columns(self, database: Database) -> Iterator[tuple[Table, int, str]]:
        """Table, column id and permission of each DENY on a column."""
        for table in database.tables.values():
            for column in table.columns:
                for permission in KNOWN:
                    key = (permission, table.full_name.lower(), column.name.lower())
                    if self.said.get(key) == "D":
                        yield table, column.column_id, permission


def run(session: Session, word: str, reader: Reader) -> None:
    """Read the rest of GRANT, DENY or REVOKE and remember it.

    Raises:
        SqlServerError: 50001 for other permissions or securables than tables and columns.
    """
    wanted: list[tuple[str, list[str]]] = []
    while True:
        words = [reader.name().upper()]
        while reader.peek() not in {"(", ",", "ON", "TO", "FROM", ""}:
            words.append(reader.name().upper())
        wanted.append((" ".join(words), reader.names() if reader.peek() == "(" else []))
        if not reader.accept(","):
            break
    table, columns = None, []
    if reader.accept("ON"):
        _, table = session.find_table(reader.object_name())
        columns = reader.names() if reader.peek() == "(" else []
    if not reader.accept("TO"):
        reader.expect("FROM")
    reader.name()
    for permission, own in wanted:
        if permission not in KNOWN:
            raise unsupported(f"{word} {permission}")
        for column in own or columns or [""]:
            name = table.full_name.lower() if table else ""
            session.database.permissions.said[permission, name, column.lower()] = _STATES[word]
