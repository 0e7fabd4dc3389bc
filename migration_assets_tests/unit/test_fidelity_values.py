"""The table of values is complete: no type without values, no value that means nothing."""

from __future__ import annotations

import pytest

from migration_assets.choices import Fidelity
from migration_assets.schema import Column, MssqlType
from migration_assets.type_mapping import (
    TYPE_MAPPINGS,
    added_columns,
    type_mapping,
)
from migration_assets_tests.fidelity import suite
from migration_assets_tests.fidelity.values import LOSSY, OWN, TYPES, Type

ALIASES = {"sysname": "nvarchar"}
WITHOUT_LITERALS = {
    # Its value is the server's: sandbox/test_own_types.py compares it with the source.
    "timestamp",
    # Its values need an assembly: likewise.
    "clr",
}


def name_of(kind: Type) -> str:
    word = kind.declaration.split("(")[0].split()[0]
    return ALIASES.get(word, word)


def row_of(kind: Type) -> str:
    """The row of the product's table that a type is mapped by."""
    declaration = kind.declaration.split(" ")[0]
    rows = {row.mssql for row in TYPE_MAPPINGS}
    return declaration if declaration in rows else name_of(kind)


def test_no_row_of_the_type_table_is_without_values() -> None:
    kept = {row.mssql for row in TYPE_MAPPINGS if row.fidelity is not Fidelity.REFUSED}
    assert {row_of(kind) for kind in TYPES} | WITHOUT_LITERALS == kept


def test_columns_have_names_of_their_own() -> None:
    for kinds in suite.tables().values():
        names = [kind.column for kind in kinds]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.declaration)
def test_what_a_type_adds_is_what_its_values_say(kind: Type) -> None:
    wanted = OWN.get(kind.declaration, set()) | LOSSY.get(kind.declaration, set())
    for value in kind.values:
        assert wanted <= value.added.keys()
        assert value.text is None or isinstance(value.text, str)


def test_the_types_with_a_choice_are_those_of_the_type_table() -> None:
    chosen = {row.mssql for row in TYPE_MAPPINGS if row.text is not None}
    assert {row_of(kind) for kind in TYPES if kind.declaration in LOSSY} == chosen


@pytest.mark.parametrize("name", sorted(OWN))
def test_second_columns_are_those_of_the_type_table(name: str) -> None:
    column = Column("c", MssqlType(name))
    assert {added.suffix for added in added_columns(column)} == OWN[name]
    assert type_mapping(column.type).added
