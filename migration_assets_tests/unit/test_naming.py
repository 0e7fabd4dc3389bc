"""Source names become names that all three targets accept, and never the same one."""

from __future__ import annotations

import re
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.column_plan import AUDIT_COLUMNS
from migration_assets.errors import ConfigurationError
from migration_assets.jobs import table_job_names
from migration_assets.mssql.jdbc import KEY_ALIAS
from migration_assets.naming import (
    ICEBERG_TABLE_PATTERN,
    NAMESPACE_PATTERN,
    RESERVED_COLUMNS,
    STARROCKS_DATABASE_PATTERN,
    NameKind,
    claim,
    comparable,
    distinct_names,
    full_name,
    legal_name,
)
from migration_assets_tests.unit.source_tables import planned, source


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


# Java's String.equalsIgnoreCase, by which StarRocks and Spark compare columns


def java_key(name: str) -> str:
    def one(character: str, changed: str) -> str:
        return changed if len(changed) == 1 else character  # Character's mappings are one to one

    capitals = "".join(one(c, c.upper()) for c in name)
    return "".join(one(c, c.lower()) for c in capitals)


ANY_NAME = st.text(st.characters(exclude_characters="\0"), min_size=1, max_size=128)
ALIKE = st.text(
    alphabet="aAäÄ\u0308\u0131iI\u0130ßsS\u017f_ -1\u03c2\u03c3Ⓚ\u212aéeEnﬃ注",
    min_size=1,
    max_size=4,
)


def settle(sources: list[str], kind: NameKind, reserved: frozenset[str]) -> dict[str, str]:
    wanted = {name: legal_name(name, kind) for name in sources}
    claims = {name: (legal, claim(name, legal)) for name, legal in wanted.items()}
    return distinct_names(claims, reserved=reserved)


@settings(max_examples=300)
@given(
    st.lists(st.one_of(ALIKE, ANY_NAME), unique=True, min_size=1, max_size=12),
    st.sampled_from([NameKind.TABLE, NameKind.COLUMN]),
    st.randoms(),
)
@example(["\u0131", "i", "I"], NameKind.COLUMN, Random(0))
@example(["字" * 128, "字" * 127 + "x"], NameKind.COLUMN, Random(0))
@example(["__generated_partition_column_0", "_file", "migrated_at"], NameKind.COLUMN, Random(0))
def test_names_are_distinct_for_every_system_whatever_they_are(
    sources: list[str], kind: NameKind, random: Random
) -> None:
    reserved = RESERVED_COLUMNS if kind is NameKind.COLUMN else frozenset()
    names = settle(sources, kind, reserved)
    # Adversaries: tables that are called as the rule would call others.
    sources = list(dict.fromkeys([*sources, *names.values()]))
    names = settle(sources, kind, reserved)
    made = list(names.values())
    for key in (java_key, str.casefold, str.lower, comparable):
        assert len({key(name) for name in made}) == len(sources)
    assert settle(random.sample(sources, len(sources)), kind, reserved) == names
    for name in made:
        assert len(name.encode()) <= 252
        assert name not in reserved
        assert not name.startswith("__generated_partition_column_")
        if kind is NameKind.TABLE:
            assert re.fullmatch(ICEBERG_TABLE_PATTERN, name)


def test_a_name_that_ends_like_the_suffix_of_another_is_not_met() -> None:
    taken = settle(["a b", "a-b"], NameKind.TABLE, frozenset())["a b"]
    names = settle(["a b", "a-b", taken], NameKind.TABLE, frozenset())
    assert names[taken] == taken
    assert re.fullmatch("a_b_[0-9a-f]{12}", names["a b"])
    assert len(set(names.values())) == 3


def test_names_that_differ_by_accents_only_stay_two_columns_and_become_two_tables() -> None:
    assert settle(["é", "e"], NameKind.COLUMN, frozenset()) == {"é": "é", "e": "e"}
    tables = settle(["é", "e"], NameKind.TABLE, frozenset())
    assert tables["e"] == "e"
    assert re.fullmatch("e_[0-9a-f]{6}", tables["é"])


def test_an_audit_column_s_name_is_given_to_nobody() -> None:
    reserved = RESERVED_COLUMNS | set(AUDIT_COLUMNS) | {KEY_ALIAS}
    assert reserved == RESERVED_COLUMNS | set(AUDIT_COLUMNS)
    names = settle(sorted(reserved), NameKind.COLUMN, frozenset(reserved))
    assert not set(names.values()) & reserved


@given(st.tuples(ANY_NAME, ANY_NAME), st.tuples(ANY_NAME, ANY_NAME))
@example(("a.b", "c"), ("a", "b.c"))
@example(("a", "[b"), ("a", "b"))
@example(("a]", "b"), ("[a]]]", "b"))
def test_full_names_are_those_of_one_table_only(one: tuple[str, str], two: tuple[str, str]) -> None:
    assert (full_name(*one) == full_name(*two)) == (one == two)


@pytest.mark.parametrize(
    ("parts", "full"),
    [
        (("dbo", "Order Details"), "dbo.Order Details"),
        (("a.b", "c"), "[a.b].c"),
        (("a", "b.c"), "a.[b.c]"),
        (("dbo", "x[1]"), "dbo.x[1]"),
        (("dbo", "x.[1]"), "dbo.[x.[1]]]"),
    ],
)
def test_full_names(parts: tuple[str, str], full: str) -> None:
    assert full_name(*parts) == full


SCHEMA = st.sampled_from(["a", "A", "a b", "a_b", "a-b", "a.b", "ä", "1", "注", "客", "dbo"])


@settings(deadline=None)
@given(st.lists(st.tuples(SCHEMA, ALIKE), unique=True, min_size=1, max_size=12))
@example([("a b", "t"), ("a_b", "t")])
@example([("a b", "t t"), ("a_b", "t_t"), ("a-b", "t-t")])
def test_all_that_is_named_after_a_table_is_that_of_one_table(
    tables: list[tuple[str, str]],
) -> None:
    plan = planned(*(source(name, schema=schema) for schema, name in tables))
    assert len(plan.tables) == len(tables)
    translator = MigrationTranslator()
    for of in (
        lambda t: t.full_name,
        lambda t: (t.namespace, t.iceberg_table),
        lambda t: (t.starrocks_database, t.starrocks_table),
        lambda t: t.location,
        lambda t: translator.asset_key(Stage.MSSQL, t),
        lambda t: translator.asset_key(Stage.ICEBERG, t),
    ):
        assert len({of(table) for table in plan.tables}) == len(tables)
    jobs = table_job_names(plan)
    assert len(set(jobs.values())) == len(tables)
    for table in plan.tables:
        parts = [part for stage in Stage for part in translator.asset_key(stage, table).path]
        group = translator.asset_spec(Stage.MSSQL, table).group_name or ""
        for name in (*parts, group, jobs[table.full_name]):
            assert re.fullmatch("[A-Za-z0-9_]+", name)


def test_a_rule_that_makes_two_assets_one_is_refused() -> None:
    tables = (source("t", schema="a b"), source("t", schema="a_b"))
    with pytest.raises(ConfigurationError, match="same Dagster asset, mssql/a_b/t"):
        planned(*tables, rules={"schemas": {"a_b": "other"}})
