"""The columns of a table in the plan: names, types, and what stands beside them; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from migration_assets.column_plan import AUDIT_COLUMNS, ColumnPlan
from migration_assets.errors import ConfigurationError, UnsupportedError
from migration_assets.masking import mask_column, masked_columns, null_warnings
from migration_assets.naming import (
    RESERVED_COLUMNS,
    Claim,
    NameKind,
    claim,
    comparable,
    distinct_names,
    legal_name,
)
from migration_assets.rule_values import matches
from migration_assets.schema import Column, SourceTable
from migration_assets.table_rules import TableRules
from migration_assets.type_mapping import AddedColumn, added_columns, map_added, map_column

_DISTINCT_TYPES = {"uniqueidentifier", "timestamp"}
"""Types whose values differ by nature; `timestamp` is rowversion's name in sys.types."""


def plan_columns(
    table: SourceTable, wishes: TableRules, mask_key: str = ""
) -> tuple[tuple[ColumnPlan, ...], list[str]]:
    """Plan the columns in source order, with field ids from 1; and the warnings about them.

    A column that stands beside another follows it.

    Args:
        table: the source.
        wishes: about it.
        mask_key: digest of the salt of masks by hash; empty where there is none.

    Raises:
        ConfigurationError: a mask does not fit its column, or two columns are given one name.
        UnsupportedError: columns cannot be migrated, all of which it names, or none is left.
    """
    kept = [c for c in table.columns.columns if wishes.takes_column(c.name)]
    dropped = [c for c in table.columns.columns if not wishes.takes_column(c.name)]
    if not kept:
        raise UnsupportedError("no column is left to migrate", code="MA-PL-010")
    chosen = {column.name: wishes.conversions(column.name) for column in kept}
    given = {column.name: wishes.column(column.name) for column in kept}
    masked = masked_columns(table, wishes)
    targets: list[tuple[Column, AddedColumn | None]] = []
    refused: list[UnsupportedError] = []
    for column in kept:
        try:
            # What stands beside a masked value would tell of it.
            beside = () if column.name in masked else added_columns(column, chosen[column.name])
        except UnsupportedError as error:
            refused.append(error)
        else:
            targets.append((column, None))
            targets += [(column, added) for added in beside]
    names = _names(targets, {name: rules.name for name, rules in given.items() if rules.name})
    _refuse_shared_names(table, names)
    columns = []
    for field_id, (column, added) in enumerate(targets, start=1):
        name = names[_identity(column, added)]
        if added is not None:
            columns.append(map_added(column, added, name=name, field_id=field_id))
            continue
        try:
            mask = given[column.name].mask
            if mask is not None and column.name in masked:
                planned = mask_column(
                    column,
                    mask,
                    name=name,
                    field_id=field_id,
                    digest=mask_key,
                    where=table.full_name,
                )
            else:
                planned = map_column(
                    column, name=name, field_id=field_id, conversions=chosen[column.name]
                )
                planned = planned.model_copy(update={"distinct": _is_distinct(column, table)})
        except UnsupportedError as error:
            refused.append(error)
        else:
            update = {"named": given[column.name].name is not None}
            columns.append(planned.model_copy(update=update))
    if refused:
        raise _together(refused)
    warnings = [f"Column {column.name} is left out by rule." for column in dropped]
    warnings += _without_effect("include_columns", wishes.include_columns, kept)
    warnings += _without_effect("exclude_columns", wishes.exclude_columns, dropped)
    warnings += _without_effect("columns", tuple(wishes.columns), table.columns.columns)
    for column in kept:
        name = names[_identity(column, None)]
        if name != (given[column.name].name or legal_name(column.name, NameKind.COLUMN)):
            warnings.append(f"Column {column.name} is named {name}: its name is taken or reserved.")
        warnings += column.warnings
    return tuple(columns), warnings + null_warnings(columns, table)


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


def _names(
    targets: Sequence[tuple[Column, AddedColumn | None]], given: Mapping[str, str]
) -> dict[str, str]:
    wanted = {}
    for column, added in targets:
        name = given.get(column.name) or legal_name(column.name, NameKind.COLUMN)
        strength = Claim.FIXED if column.name in given else claim(column.name, name)
        if added is not None:
            # A source column of that name goes first.
            name, strength = name + added.suffix, Claim.CHANGED
        wanted[_identity(column, added)] = (name, strength)
    return distinct_names(wanted, reserved=RESERVED_COLUMNS | set(AUDIT_COLUMNS))


def _refuse_shared_names(table: SourceTable, names: Mapping[str, str]) -> None:
    """Refuse rules that give two columns one name.

    Raises:
        ConfigurationError: names the table and both columns.
    """
    owners: dict[str, str] = {}
    for identity, name in names.items():
        source = identity.partition("\0")[0]
        other = owners.setdefault(comparable(name), source)
        if other != source:
            raise ConfigurationError(
                f"{table.full_name}: migration.yaml names both {other} and {source} {name}.",
                code="MA-CF-056",
                next_step="Give each column a `name` of its own.",
            )


def _identity(column: Column, added: AddedColumn | None) -> str:
    # No identifier of SQL Server's has a NUL in it.
    return column.name if added is None else f"{column.name}\0{added.suffix}"


def _without_effect(key: str, named: Sequence[str], found: Sequence[Column]) -> list[str]:
    return [
        f"{key}: there is no column {name}."
        for name in dict.fromkeys(named)
        if not any(matches(name, column.name) for column in found)
    ]


def _is_distinct(column: Column, table: SourceTable) -> bool:
    return (
        column.identity
        or column.type.name in _DISTINCT_TYPES
        or table.columns.primary_key == (column.name,)
    )
