"""What names mean inside one query."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from migration_assets.sandbox.sqlserver.conversion import Typed
from migration_assets.sandbox.sqlserver.errors import SqlServerError, invalid_column


@dataclass
class Source:
    """One item of a FROM clause.

    Attributes:
        alias: what columns are qualified with.
        columns: name and expression of each.
        schema: of a table without alias, so that `schema.table.column` resolves.
        denied: names in lower case of columns that the login may not read.
    """

    alias: str
    columns: list[tuple[str, Typed]]
    schema: str = ""
    denied: frozenset[str] = frozenset()

    def nullable(self) -> Source:
        """The same source on the outer side of a join."""
        columns = [(name, replace(column, nullable=True)) for name, column in self.columns]
        return Source(self.alias, columns, self.schema, self.denied)

    def check(self, name: str) -> None:
        """Refuse a column that the login may not read.

        Raises:
            SqlServerError: 230.
        """
        if name.lower() in self.denied:
            raise SqlServerError(
                230,
                f"The SELECT permission was denied on the column '{name}' of the object "
                f"'{self.alias}'.",
                14,
            )


@dataclass
class Query:
    """A translated query.

    Attributes:
        sql: DuckDB text; its columns are called as `outputs` says.
        names: T-SQL names of the columns, empty for unnamed ones.
        columns: the columns' types; `sql` of each is its name in `outputs`.
        outputs: names of the columns in `sql`.
    """

    sql: str
    names: list[str]
    columns: list[Typed]
    outputs: list[str]


@dataclass
class Scope:
    """Names visible to expressions: this query's sources, then those of the queries around it."""

    sources: list[Source] = field(default_factory=list)
    parent: Scope | None = None
    ctes: dict[str, Query | None] = field(default_factory=dict)
    groups: dict[str, Typed] | None = None

    def child(self) -> Scope:
        """Scope of a query nested in this one."""
        return Scope(parent=self, ctes=dict(self.ctes))

    def ungrouped(self) -> Scope:
        """The same names for the argument of an aggregate."""
        return Scope(self.sources, self.parent, self.ctes)

    def matching(self, alias: str) -> list[Source]:
        """Sources that a qualifier means."""
        return [source for source in self.sources if source.alias.lower() == alias.lower()]

    def column(self, name: str, alias: str = "") -> Typed:
        """Resolve a column.

        Raises:
            SqlServerError: 207, 209 or 4104.
        """
        scope: Scope | None = self
        while scope is not None:
            sources = scope.matching(alias) if alias else scope.sources
            for source in sources:
                source.check(name)
            found = [
                column
                for source in sources
                for candidate, column in source.columns
                if candidate.lower() == name.lower()
            ]
            if len(found) > 1:
                raise SqlServerError(209, f"Ambiguous column name '{name}'.")
            if found:
                return found[0]
            if alias and sources:
                raise invalid_column(name)
            scope = scope.parent
        if alias:
            raise SqlServerError(
                4104, f'The multi-part identifier "{alias}.{name}" could not be bound.'
            )
        raise invalid_column(name)
