"""Source names become names that all three targets accept, and never the same one."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from migration_assets.naming import (
    ICEBERG_TABLE_PATTERN,
    NAMESPACE_PATTERN,
    RESERVED_COLUMNS,
    STARROCKS_DATABASE_PATTERN,
    NameKind,
    claim,
    distinct_names,
    legal_name,
)


@pytest.mark.parametrize(
    ("name", "kind", "legal"),
    [
        ("Orders", NameKind.TABLE, "orders"),
        ("Order Details", NameKind.TABLE, "order_details"),
        ("a`b*c.d", NameKind.TABLE, "a_b_c_d"),
        ("2020_sales", NameKind.TABLE, "t_2020_sales"),
        ("_x", NameKind.TABLE, "_x"),
        ("Straße Café", NameKind.TABLE, "strasse_cafe"),
        ("_x", NameKind.NAMESPACE, "s__x"),
        ("sys", NameKind.NAMESPACE, "s_sys"),
        ("Größe (cm)", NameKind.COLUMN, "grösse__cm_"),
        ("注文", NameKind.COLUMN, "注文"),
        ("1st", NameKind.COLUMN, "c_1st"),
    ],
)
def test_legal_names(name: str, kind: NameKind, legal: str) -> None:
    assert legal_name(name, kind) == legal


def test_a_name_of_which_nothing_is_left_becomes_a_hash() -> None:
    first, second = legal_name("注文", NameKind.TABLE), legal_name("顧客", NameKind.TABLE)
    assert re.fullmatch("t_[0-9a-f]{6}", first)
    assert first != second


@example("\u13a0")  # a capital that folding leaves, and makes of its small letter
@given(st.text(min_size=1, max_size=128))
def test_every_source_name_becomes_a_legal_one(name: str) -> None:
    namespace = legal_name(name, NameKind.NAMESPACE)
    assert re.fullmatch(NAMESPACE_PATTERN, namespace)
    assert re.fullmatch(STARROCKS_DATABASE_PATTERN, namespace)
    assert re.fullmatch(ICEBERG_TABLE_PATTERN, legal_name(name, NameKind.TABLE))
    column = legal_name(name, NameKind.COLUMN)
    assert 0 < len(column) <= 255
    assert not set(column) & set("\0`*.=<>! \"'")
    assert column == column.lower()


@given(st.lists(st.text(alphabet="aAbB _-", min_size=1, max_size=4), unique=True), st.randoms())
def test_names_are_distinct_and_depend_on_no_order(sources: list[str], random: Random) -> None:
    def settle(order: list[str]) -> dict[str, str]:
        wanted = {s: legal_name(s, NameKind.COLUMN) for s in order}
        claims = {s: (name, claim(s, name)) for s, name in wanted.items()}
        return distinct_names(claims, reserved=RESERVED_COLUMNS)

    names = settle(sources)
    assert len({name.casefold() for name in names.values()}) == len(sources)
    assert settle(random.sample(sources, len(sources))) == names
