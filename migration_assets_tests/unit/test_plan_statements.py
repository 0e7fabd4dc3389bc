"""SQL as a person reads it: at most 80 columns, and word for word what is sent."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migration_assets.choices import VerificationLevel
from migration_assets.mssql.select import fingerprint_sql, select_sql
from migration_assets.plan import MigrationPlan
from migration_assets.plan_statements import StarRocksNames, table_statements
from migration_assets.schema import MssqlType
from migration_assets.starrocks.ddl import create_table_sql
from migration_assets.statement_layout import commented, folded, laid_out
from migration_assets_tests.unit.tables import INT, decimal, nvarchar, table_plan

NAMES = StarRocksNames("lake", 3)
TOKENS = re.compile(
    r"'(?:[^']|'')*'|\[(?:[^\]]|\]\])*\]|`[^`]*`|--[^\n]*|/\*.*?\*/|\w+|\S", re.DOTALL
)
WORDS = st.sampled_from(
    ["SELECT", "[a  b]", "[x]]y]", "'it''s  a\nlong one'", "`c  d`", "FROM", "(", ")", ",", "AND",
     "-- a comment, it's one\n", "/* two\n words */", "1.5", "WHERE", "[" + "n" * 90 + "]"]
)  # fmt: skip


def wide_table():
    columns = [(f"A rather long name of column {n}", nvarchar(10)) for n in range(12)]
    return table_plan(
        [
            ("id", INT),
            *columns,
            ("price", decimal(10, 2)),
            ("at", MssqlType("datetime2", 7, 26, 6)),
        ],
        key=["id"],
        cuts=["100", "200"],
        name="orders",
    )


@given(st.lists(WORDS, min_size=1).map(" ".join))
def test_layout_changes_nothing_but_the_blanks_between_words(sql: str) -> None:
    for shown in (laid_out(sql), folded(sql)):
        assert TOKENS.findall(shown) == TOKENS.findall(sql)


def test_a_statement_is_as_it_is_sent_and_fits_80_columns() -> None:
    table = wide_table()
    first = table.key_ranges[0]
    shown = table_statements(
        MigrationPlan(server="s", database="shop", tables=(table,)), table, NAMES
    )
    sent = [
        select_sql(table, first),
        *fingerprint_sql(table, first, VerificationLevel.FULL),
        create_table_sql(table, 3),
    ]
    without_comments = re.sub(r"(?m)^--.*\n", "", shown)
    statements = [TOKENS.findall(part) for part in without_comments.split(";\n")]
    for statement in sent:
        assert TOKENS.findall(statement) in statements
    # The comment by which a table is known for ours is one literal.
    long = [line for line in shown.splitlines() if len(line) > 80]
    assert all("migration_assets table_id=" in line for line in long)


def test_every_partition_has_its_predicate_and_every_column_its_field_id() -> None:
    table = wide_table()
    plan = MigrationPlan(server="s", database="shop", tables=(table,), snapshot_isolation=True)
    shown = table_statements(plan, table, NAMES)
    assert "--   p001: [id] >= 100 AND [id] < 200\n" in shown
    assert "--   p002: [id] >= 200\n" in shown
    assert "SNAPSHOT" in shown
    for column in table.target_columns:
        assert f"--   {column.field_id}: {column.name} {column.iceberg_type}" in shown
    assert "PARTITION(source_partition=0)" in shown
    assert '"replication_num" = "3"' in shown


@pytest.mark.parametrize("level", ["count", "none"])
def test_only_what_the_table_s_level_measures_is_shown(level: str) -> None:
    table = wide_table().replaced(verification=level)
    shown = table_statements(
        MigrationPlan(server="s", database="shop", tables=(table,)), table, NAMES
    )
    assert "SUM(" not in shown
    assert ("COUNT_BIG(*)" in shown) is (level == "count")


def test_comments_keep_their_indent_and_fold() -> None:
    text = commented("head\n  p000: " + "word " * 30)
    assert all(line.startswith("--") and len(line) <= 80 for line in text.splitlines())
    assert text.splitlines()[2].startswith("--     word")
