"""The columns of a table in the plan: names, types, and what stands beside them; pure."""

from __future__ import annotations

from collections.abc import Sequence

from migration_assets.errors import UnsupportedError
from migration_assets.naming import (
    RESERVED_COLUMNS,
    Claim,
    NameKind,
    claim,
    distinct_names,
    legal_name,
)
from migration_assets.plan import AUDIT_COLUMNS, ColumnPlan
from migration_assets.rules import TableRules
from migration_assets.schema import Column, SourceTable
from migration_assets.type_mapping import AddedColumn, added_columns, map_added, map_column

_DISTINCT_TYPES = {"uniqueidentifier", "timestamp"}
"""Types whose values differ by nature; `timestamp` is rowversion's name in sys.types."""


def plan_columns(
    table: SourceTable, wishes: TableRules
) -> tuple[tuple[ColumnPlan, ...], list[str]]:
    """Plan the columns in source order, with field ids from 1; and the warnings about them.

    A column that stands beside another follows it.

    Raises:
        UnsupportedError: columns cannot be migrated, all of which it names, or none is left.
    """
    left_out = {name.casefold() for name in wishes.exclude_columns}
    kept = [c for c in table.columns.columns if c.name.casefold() not in left_out]
    dropped = [c for c in table.columns.columns if c.name.casefold() in left_out]
    if not kept:
        raise UnsupportedError("no column is left to migrate", code="MA-PL-010")
    chosen = {column.name: wishes.conversions(column.name) for column in kept}
    targets: list[tuple[Column, AddedColumn | None]] = []
    refused: list[UnsupportedError] = []
    for column in kept:
        try:
            beside = added_columns(column, chosen[column.name])
        except UnsupportedError as error:
            refused.append(error)
        else:
            targets.append((column, None))
            targets += [(column, added) for added in beside]
    names = _names(targets)
    columns = []
    for field_id, (column, added) in enumerate(targets, start=1):
        name = names[_identity(column, added)]
        if added is not None:
            columns.append(map_added(column, added, name=name, field_id=field_id))
            continue
        conversions = chosen[column.name]
        try:
            planned = map_column(column, name=name, field_id=field_id, conversions=conversions)
        except UnsupportedError as error:
            refused.append(error)
        else:
            update = {"distinct": _is_distinct(column, table)}
            columns.append(planned.model_copy(update=update))
    if refused:
        raise _together(refused)
    warnings = [f"Column {column.name} is left out by rule." for column in dropped]
    warnings += _without_effect("exclude_columns", wishes.exclude_columns, dropped)
    warnings += _without_effect("columns", tuple(wishes.columns), table.columns.columns)
    for column in kept:
        name = names[_identity(column, None)]
        if name != legal_name(column.name, NameKind.COLUMN):
            warnings.append(f"Column {column.name} is named {name}: its name is taken or reserved.")
        warnings += column.warnings
    return tuple(columns), warnings


def _together(refused: Sequence[UnsupportedError]) -> UnsupportedError:
    """All refusals of a table in one, so that one plan names all columns to think of."""
    if len(refused) == 1:
        return refused[0]
    return UnsupportedError(
        " ".join(error.found for error in refused),
        code="MA-PL-011",
        next_step="List them under exclude_columns in migration.yaml to migrate the table without "
        "them.",
    )


def _names(targets: Sequence[tuple[Column, AddedColumn | None]]) -> dict[str, str]:
    wanted = {}
    for column, added in targets:
        name = legal_name(column.name, NameKind.COLUMN)
        strength = claim(column.name, name)
        if added is not None:
            # A source column of that name goes first.
            name, strength = name + added.suffix, Claim.CHANGED
        wanted[_identity(column, added)] = (name, strength)
    return distinct_names(wanted, reserved=RESERVED_COLUMNS | set(AUDIT_COLUMNS))


def _identity(column: Column, added: AddedColumn | None) -> str:
    # No identifier of SQL Server's has a NUL in it.
    return column.name if added is None else f"{column.name}\0{added.suffix}"


def _without_effect(key: str, named: Sequence[str], found: Sequence[Column]) -> list[str]:
    known = {column.name.casefold() for column in found}
    return [
        f"{key}: there is no column {name}."
        for name in dict.fromkeys(named)
        if name.casefold() not in known
    ]


def _is_distinct(column: Column, table: SourceTable) -> bool:
    return (
        column.identity
        or column.type.name in _DISTINCT_TYPES
        or table.columns.primary_key == (column.name,)
    )
