"""migration.yaml: what it may hold, how its parts are merged, and what its mistakes are told."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from migration_assets.choices import Engine, OnExisting, VerificationLevel
from migration_assets.errors import ConfigurationError
from migration_assets.rules import Rules
from migration_assets.rules_file import load_rules
from migration_assets.schema import SourceTable, TableSchema
from migration_assets.table_rules import DefaultRules, TableRules


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Rules]:
    def _load(text: str) -> Rules:
        path = tmp_path / "migration.yaml"
        path.write_text(text, encoding="utf-8")
        return load_rules(path)

    return _load


def test_no_file_and_an_empty_file_mean_no_wishes(
    tmp_path: Path, load: Callable[[str], Rules]
) -> None:
    assert load_rules(tmp_path / "none.yaml") == Rules()
    assert load("# nothing yet\n") == Rules()


def test_a_full_file(load: Callable[[str], Rules]) -> None:
    rules = load(
        """
        include: ["dbo.*", "sales.*"]
        exclude: dbo.tmp*
        namespace_prefix: shop_
        schemas:
          dbo: core
          HR: {namespace: people, database: Staff}
        defaults: {verification: count, engine: arrow}
        tables:
          "*.audit*": {partitions: 32, isolated: yes, verification: none}
          Sales.Orders:
            iceberg_table: orders
            starrocks_table: Orders
            partition_column: OrderDate
            exclude_columns: [Shape]
            on_existing: adopt
            buckets: 4
            location: s3://other/orders/
        """
    )
    assert rules.include == ("dbo.*", "sales.*")
    assert rules.exclude == ("dbo.tmp*",)
    core, people = rules.for_schema("DBO"), rules.for_schema("hr")
    assert (core.namespace, core.database) == ("core", "core")
    assert (people.namespace, people.database) == ("people", "Staff")
    orders = rules.for_table("sales.orders")
    assert orders.verification is VerificationLevel.COUNT
    assert orders.engine is Engine.ARROW
    assert orders.on_existing is OnExisting.ADOPT
    assert (orders.partition_column, orders.exclude_columns) == ("OrderDate", ("Shape",))
    audit = rules.for_table("dbo.AuditLog")
    assert (audit.partitions, audit.isolated) == (32, True)
    assert audit.verification is VerificationLevel.NONE


def test_later_patterns_win_key_by_key() -> None:
    rules = Rules(
        defaults=DefaultRules(buckets=1, partitions=8),
        tables={"*": TableRules(buckets=2, isolated=True), "dbo.a": TableRules(buckets=3)},
    )
    a, b = rules.for_table("dbo.a"), rules.for_table("dbo.b")
    assert (a.partitions, a.buckets, a.isolated) == (8, 3, True)
    assert (b.partitions, b.buckets, b.isolated) == (8, 2, True)


def test_a_later_pattern_can_take_a_wish_back(load: Callable[[str], Rules]) -> None:
    rules = load('tables: {"*": {exclude_columns: [a]}, dbo.x: {exclude_columns: []}}')
    assert rules.for_table("dbo.y").exclude_columns == ("a",)
    assert rules.for_table("dbo.x").exclude_columns == ()


def test_include_then_exclude_without_case() -> None:
    rules = Rules(include=("DBO.*",), exclude=("*.TMP?",))
    assert rules.exclusion("dbo.Orders") is None
    assert "*.TMP?" in str(rules.exclusion("dbo.tmp1"))
    assert "no include pattern" in str(rules.exclusion("sales.Orders"))


def test_what_matches_nothing_is_named() -> None:
    tables = [SourceTable("dbo", "Orders", TableSchema(()), 1)]
    rules = Rules.model_validate(
        {"include": ["dbo.*", "x.*"], "exclude": ["y"], "tables": {"dbo.o*": {}, "dbo.z": {}},
         "schemas": {"DBO": "a", "hr": "b"}}
    )  # fmt: skip
    assert [sentence.split(" ", 1)[1] for sentence in rules.without_effect(tables)] == [
        "include: x.* matches no table.",
        "exclude: y matches no table.",
        "tables: dbo.z matches no table.",
        "schemas: hr is no schema with tables.",
    ]
    assert Rules().without_effect([]) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inclde: []", "line 1: inclde is not a known key; did you mean include?"),
        ("include: []\ntabels: {}", "line 2: tabels is not a known key; did you mean tables?"),
        (
            "tables:\n  dbo.a:\n    partition: 3",
            "line 3: tables.dbo.a.partition is not a known key; did you mean partitions?",
        ),
        (
            "schemas:\n  dbo: {namespac: x}",
            "line 2: schemas.dbo.namespac is not a known key; did you mean namespace?",
        ),
        (
            "defaults: {location: s3://a/b}",
            "line 1: defaults.location is not a known key",
        ),
        ("zzz: 1", "zzz is not a known key. Known keys are include, exclude, namespace_prefix"),
        ("tables:\n  a:\n    partitions: 0", "line 3: tables.a.partitions is 0: input should be"),
        (
            "tables:\n  a:\n    verification: all",
            "tables.a.verification is 'all': input should be 'none', 'count', 'full' or 'rows'",
        ),
        ("schemas: {dbo: Core}", "schemas.dbo.namespace is 'Core': string should match"),
        ("schemas: {dbo: sys}", "schemas.dbo.namespace is 'sys': StarRocks has a database sys"),
        ("tables: {a: {location: /tmp/x}}", "tables.a.location is '/tmp/x'"),
        ("tables: {a: {location: 's3://'}}", "tables.a.location is 's3://'"),
        ("include: [a, 7]", "line 1: include.1 is 7"),
        ("- a\n- b", "the file holds no `key: value` lines. Known keys are include"),
        ("include: [a\n", "line 2: not valid YAML"),
        ("include:\n  - *.orders", "line 2: not valid YAML: .*Put quotes around a pattern"),
        ("tables:\n  a: {}\n  a: {}", "line 3: not valid YAML: the key a is given twice"),
    ],
)
def test_a_mistake_is_one_sentence_with_file_line_and_key(
    load: Callable[[str], Rules], text: str, message: str
) -> None:
    expected = message if ".*" in message else re.escape(message)
    with pytest.raises(ConfigurationError, match=expected) as caught:
        load(text)
    assert "migration.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_rules(tmp_path)
    latin = tmp_path / "migration.yaml"
    latin.write_bytes(b"exclude: [\xe9]")
    with pytest.raises(ConfigurationError, match=r"migration\.yaml cannot be read"):
        load_rules(latin)


def test_yaml_tags_make_no_objects(load: Callable[[str], Rules]) -> None:
    with pytest.raises(ConfigurationError, match="not valid YAML"):
        load("include: !!python/object/apply:os.getcwd []")


def test_the_size_from_which_tables_go_to_spark(load: Callable[[str], Rules]) -> None:
    rules = load("spark_from: {rows: 1000}\ntables: {'dbo.*': {engine: spark}}")
    assert rules.spark_from.rows == 1000
    assert rules.spark_from.bytes == 5_000_000_000
    assert rules.for_table("dbo.Orders").engine is Engine.SPARK
    with pytest.raises(ConfigurationError, match=r"spark_from.row is not a known key; .*rows"):
        load("spark_from: {row: 1000}")
