"""Whatever a name holds, a statement says the same with it as with a harmless one.

Each statement is made twice from plans of the same shape, once with arbitrary names and once with
plain ones, and cut into tokens. Names must come back exactly, and all other tokens must be equal: so
nothing of a name was read as SQL, and nothing was lost.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from migration_assets.assets.failures import retry_command
from migration_assets.choices import VerificationLevel
from migration_assets.errors import UnsupportedError
from migration_assets.fingerprint import starrocks_query
from migration_assets.mssql.affected import affected_statements
from migration_assets.mssql.introspection import key_bounds
from migration_assets.mssql.jdbc import jdbc_predicates, jdbc_table
from migration_assets.mssql.select import count_sql, fingerprint_sql, select_sql
from migration_assets.naming import NAMESPACE_PATTERN
from migration_assets.partitioning import predicate
from migration_assets.plan import TablePlan
from migration_assets.sandbox.starrocks.lexer import tokens as starrocks_tokens
from migration_assets.schema import Column, MssqlType, SourceTable
from migration_assets.starrocks import ddl, dml
from migration_assets.type_mapping import TYPE_MAPPINGS, map_column
from migration_assets_tests.unit.source_tables import planned, source

Token = tuple[str, str]

NASTY = [
    "]", "]]", "[", "[a]", "'", "''", '"', "`", "``", "a.b", ".", "--", "/*", "*/", ";", "\\", "\\'",
    "{c}", "{e}", "{e}]", "%s", "%d", "%(x)s", "%%", "$1", "\\1", "?", ":x", "@x", "#t", "\n", "\t",
    "\x01", "😀", "注文", "\u0131", "É", "e\u0301", " ", "  x", "x'; DROP TABLE t; --", "*", "$node_id",
    "migrated_at", "SELECT", "NULL", "\u00a0", "\u2028", "\ufeff", "\u202e", "ﬃ",
]  # fmt: skip
NAMES = st.one_of(
    st.sampled_from(NASTY),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=128),
    st.lists(st.sampled_from(NASTY), min_size=1, max_size=8).map("".join),
)  # fmt: skip


def _types() -> list[MssqlType]:
    """One declaration of each type that is migrated."""
    found = []
    for name in dict.fromkeys(row.mssql.partition("(")[0] for row in TYPE_MAPPINGS):
        kind = MssqlType(name, 40, 18, 4, "Latin1_General_CI_AS")
        try:
            map_column(Column("c", kind), name="c", field_id=1)
        except UnsupportedError:
            continue
        found.append(kind)
    return found


TYPES = _types()
KEY = MssqlType("int", 4, 10)


def table_of(schema: str, name: str, key: str, columns: Sequence[str]) -> SourceTable:
    made = [Column(key, KEY, nullable=False)]
    made += [Column(column, kind) for column, kind in zip(columns, TYPES, strict=False)]
    return source(name, *made, schema=schema, key=(key,), bounds=("1", "90000"), rows=50_000)


def plan_of(table: SourceTable) -> TablePlan:
    (made,) = planned(table).tables
    assert len(made.key_ranges) == 8
    return made


PLAIN_COLUMNS = [f"Column{number}" for number in range(len(TYPES))]
PLAIN_TABLE = table_of("SchemaX", "TableX", "KeyX", PLAIN_COLUMNS)
PLAIN = plan_of(PLAIN_TABLE)


@st.composite
def tables(draw: st.DrawFn) -> SourceTable:
    count = len(TYPES) + 1
    names = draw(st.lists(NAMES, min_size=count, max_size=count, unique_by=str.casefold))
    return table_of(draw(NAMES), draw(NAMES), names[0], names[1:])


def translation(table: TablePlan) -> dict[str, str]:
    """What each name of the plain plan is called in this one."""
    pairs = {
        PLAIN.source_schema: table.source_schema,
        PLAIN.source_name: table.source_name,
        PLAIN.namespace: table.namespace,
        PLAIN.iceberg_table: table.iceberg_table,
    }
    for plain, made in zip(PLAIN.columns, table.columns, strict=True):
        pairs[plain.source_name] = made.source_name
        pairs[plain.name] = made.name
    return pairs


_TSQL = re.compile(
    r"""(?P<name>\[(?:[^\]]|\]\])*\])
      | (?P<string>N?'(?:[^']|'')*')
      | (?P<comment>--|/\*)
      | (?P<space>\s+)
      | (?P<other>\w+|.)""",
    re.DOTALL | re.VERBOSE,
)
"""T-SQL as SQL Server cuts it: a bracket or a quote inside is doubled, nothing else is special
(https://learn.microsoft.com/sql/relational-databases/databases/database-identifiers)."""


def tsql_tokens(sql: str) -> list[Token]:
    found: list[Token] = []
    for match in _TSQL.finditer(sql):
        kind, text = str(match.lastgroup), match.group()
        assert kind != "comment", sql
        if kind == "name":
            text = text[1:-1].replace("]]", "]")
        if kind != "space":
            found.append((kind, text))
    return found


def assert_same_but_for_names(
    made: str, plain: str, names: dict[str, str], cut: Callable[[str], list[Token]]
) -> None:
    expected = [
        (kind, names.get(text, text)) if kind == "name" else (kind, text)
        for kind, text in cut(plain)
    ]
    assert cut(made) == expected


_SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)  # fmt: skip


class Recorder:
    """A client that only keeps what it was asked."""

    def __init__(self) -> None:
        self.asked = ""

    def query(self, sql: str, **_: object) -> list[tuple[int, None, None]]:
        self.asked = sql
        return [(0, None, None)]


def bounds_sql(table: SourceTable) -> str:
    recorder = Recorder()
    key_bounds(recorder, [(table, table.columns.primary_key[0])])  # type: ignore[arg-type] # asks only
    return recorder.asked


def tsql_statements(table: TablePlan) -> list[str]:
    found = [
        count_sql(table.source_schema, table.source_name),
        f"SELECT * FROM {jdbc_table(table)}",
    ]
    found += [sql for _, sql in affected_statements(table)]
    found += jdbc_predicates(table, table.partition_keys)
    for key_range in (table.key_ranges[0], table.key_ranges[3], table.key_ranges[-1]):
        found += [select_sql(table, key_range), predicate(key_range) or ""]
        found += fingerprint_sql(table, key_range, VerificationLevel.FULL)
    return found


@_SETTINGS
@given(tables())
def test_tsql_holds_the_names_and_nothing_of_them_is_read_as_sql(table: SourceTable) -> None:
    made = plan_of(table)
    names = translation(made)
    for sql, plain in zip(tsql_statements(made), tsql_statements(PLAIN), strict=True):
        assert_same_but_for_names(sql, plain, names, tsql_tokens)
    assert_same_but_for_names(bounds_sql(table), bounds_sql(PLAIN_TABLE), names, tsql_tokens)


def starrocks_cut(sql: str) -> list[Token]:
    return [(token.kind, token.text) for token in starrocks_tokens(sql)]


def starrocks_statements(table: TablePlan) -> list[str]:
    measured = starrocks_query(table, VerificationLevel.FULL).expressions
    return [
        ddl.create_database_sql(table.starrocks_database),
        dml.refresh_sql(table, "lake"),
        dml.insert_overwrite_sql(
            table, catalog="lake", source_partition=3, snapshot_id=2**40, label="lab"
        ),
        dml.measure_sql(table, 3, measured),
        dml.partition_rows_sql(table),
    ]


@_SETTINGS
@given(tables())
def test_starrocks_sql_holds_the_names_and_nothing_of_them_is_read_as_sql(
    table: SourceTable,
) -> None:
    made = plan_of(table)
    names = translation(made)
    for sql, plain in zip(starrocks_statements(made), starrocks_statements(PLAIN), strict=True):
        assert_same_but_for_names(sql, plain, names, starrocks_cut)


@_SETTINGS
@given(tables())
def test_a_starrocks_table_and_its_comment(table: SourceTable) -> None:
    made = plan_of(table)
    names = translation(made)
    # The comment is the one literal that holds source names.
    names[ddl.table_comment(PLAIN)] = ddl.table_comment(made)
    statements = [(ddl.create_table_sql(made, 3), ddl.create_table_sql(PLAIN, 3))]
    statements.append((ddl.set_comment_sql(made), ddl.set_comment_sql(PLAIN)))
    for sql, plain in statements:
        expected = [(kind, names.get(text, text)) for kind, text in starrocks_cut(plain)]
        assert starrocks_cut(sql) == expected
    comment = ddl.table_comment(made)
    assert ddl.table_id_of(comment) == made.table_id
    assert ddl.source_of(comment) == ddl.source_name(made)
    parts = [text for kind, text in tsql_tokens(ddl.source_name(made)) if kind == "name"]
    assert parts == ["SQL1", "shop", made.source_schema, made.source_name]


@given(NAMES, NAMES)
@example("ﷺ" * 128, "ﷺ" * 128)
@example("⑽" * 128, "⑽" * 128)
@example("😀" * 64, "字" * 128)
def test_s3_keys(schema: str, name: str) -> None:
    """S3 takes keys of 1,024 bytes, all of them safe characters here: no quoting, no surprises."""
    warehouse = "s3://bucket/" + "w" * 300
    database = planned(source(name, schema=schema), rules={"namespace_prefix": "p" * 51})
    (table,) = database.tables
    assert re.fullmatch(NAMESPACE_PATTERN, table.namespace)
    path = table.location.removeprefix("s3://lake/warehouse")
    assert re.fullmatch(r"/[a-z0-9_]+/[a-z0-9_]+", path)
    file = f"{warehouse}{path}/data/source_partition=4096/{'u' * 36}-100000.parquet"
    assert len(file.removeprefix("s3://bucket/").encode()) <= 1024


@given(NAMES, NAMES)
@example("-x", "it's")
def test_the_retry_command_survives_a_shell(schema: str, name: str) -> None:
    (table,) = planned(source(name, schema=schema)).tables
    words = shlex.split(retry_command(table, "p000"))
    assert words[:4] == ["migration-assets", "run", "--failed", "--tables"]
    assert words[4:] == [table.full_name, "--partitions", "p000"]
