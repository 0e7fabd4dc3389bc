"""What becomes of the catalog's answers, also of those that the stand-in cannot give."""

import re

import pytest

from migration_assets.column_plan import ColumnPlan
from migration_assets.errors import (
    ConnectionLostError,
    ObjectNotFoundError,
    SchemaDriftError,
    StatementError,
    UnsupportedError,
)
from migration_assets.key_range import KeyRange
from migration_assets.mssql.introspection import (
    check_columns,
    introspect,
    key_bounds,
    row_counts,
)
from migration_assets.plan import TablePlan
from migration_assets.schema import Column, MssqlType, SourceTable, TableSchema
from migration_assets_tests.unit.scripted_server import (
    DENIED,
    INT,
    MISSING,
    TYPES,
    ScriptedServer,
    columns_of,
    flags,
    shop,
    table_of,
)


def test_types_keys_sizes_and_nullability():
    found = introspect(shop())
    orders = table_of(found)
    assert orders.full_name == "dbo.orders"
    assert (orders.rows, orders.bytes, orders.rows_exact) == (1000, 25 * 8192, False)
    assert orders.columns.primary_key == ("who", "id")
    identity, who, spot = orders.columns.columns
    assert (identity.type.declaration, identity.nullable) == ("int", False)
    assert who.type == MssqlType("nvarchar", 256, 0, 0, "Latin1_General_CI_AS", "sysname")
    assert (who.type.declaration, who.nullable) == ("nvarchar(128)", True)
    assert (spot.type.name, spot.type.user_type) == ("geography", "geography")


def test_the_number_of_queries_does_not_grow_with_the_tables():
    def asked(tables):
        rows = columns_of(*(("dbo", f"t{n}", [("id", INT)]) for n in range(tables)))
        sizes = [(n + 1, 5, 1) for n in range(tables)]
        server = ScriptedServer(
            {
                r"JOIN sys\.columns AS c ON c\.object_id = t\.object_id": rows,
                r"sys\.types": TYPES,
                r"sys\.dm_db_partition_stats": sizes,
                r"'VIEW DEFINITION'": [(1, 1)],
            }
        )
        assert len(introspect(server).tables) == tables
        return len(server.asked)

    assert asked(5000) == asked(1)


KINDS = [
    # system, user, length; what sys.types says; name, declaration, user type
    ((231, 301, 100), "Phone", "nvarchar", "nvarchar(50)", "Phone"),
    ((231, 302, -1), "Essay", "nvarchar", "nvarchar(max)", "Essay"),
    ((240, 128, 892), "hierarchyid", "hierarchyid", "hierarchyid", "hierarchyid"),
    ((240, 129, -1), "geometry", "geometry", "geometry", "geometry"),
    ((240, 65537, 24), "Point", "clr", "clr", "Point"),
    ((240, 65538, 24), None, "clr", "clr", None),
    ((244, 244, -1), "json", "json", "json", None),
    ((255, 255, 20), "vector", "vector", "vector", None),
    ((9, 9, 4), None, "type 9", "type 9", None),
]


@pytest.mark.parametrize(("ids", "listed", "name", "declared", "user_type"), KINDS)
def test_alias_clr_and_new_types(ids, listed, name, declared, user_type):
    system, user, length = ids
    types = [*TYPES, *([(system, user, listed)] if listed else [])]
    row = ("dbo", "orders", 1, 1, "c", system, user, length, 0, 0, None, False)
    server = shop(
        **{r"JOIN sys\.columns AS c ON c\.object_id = t\.object_id": [row], r"sys\.types": types}
    )
    (column,) = table_of(introspect(server)).columns.columns
    assert (column.type.name, column.type.declaration) == (name, declared)
    assert column.type.user_type == user_type
    assert not column.nullable


def test_columns_of_later_versions_are_asked_for_one_by_one_when_one_is_missing():
    server = shop(columns=flags(is_identity={(1, 1): True}, is_masked=MISSING, graph_type=MISSING))
    found = introspect(server)
    assert table_of(found).columns.column("id").identity
    (note,) = [n for n in found.notes if "sys.columns" in n]
    assert "is_masked, graph_type" in note
    assert "masked values would be copied" in note


def test_row_estimates_fall_back_to_partitions():
    server = shop(
        **{
            r"sys\.dm_db_partition_stats": DENIED,
            r"sys\.allocation_units": [(1, 3)],
            r"SUM\(p\.rows\)": [(1, 900, None), (2, 4, None)],
        }
    )
    found = introspect(server)
    assert (table_of(found).rows, table_of(found).bytes) == (900, 3 * 8192)
    (note,) = [n for n in found.notes if "dm_db_partition_stats" in n]
    assert "not permitted" in note
    assert "sys.partitions was used instead" in note


def test_row_estimates_fall_back_to_counting():
    counts = {"[dbo].[orders]": 12, "[dbo].[orders_history]": 0}

    def count(sql, _):
        found = re.findall(r"SELECT (\d+) AS position, COUNT_BIG\(\*\) FROM (\S+)", sql)
        return [(int(position), counts[table]) for position, table in found]

    server = shop(
        **{
            r"sys\.dm_db_partition_stats": DENIED,
            r"sys\.partitions": MISSING,
            r"AS position": count,
        }
    )
    found = introspect(server)
    assert (table_of(found).rows, table_of(found).rows_exact) == (12, True)
    assert table_of(found).bytes is None
    assert [n for n in found.notes if "1 tables were counted" in n]


def test_a_table_that_cannot_be_counted_does_not_hide_the_others():
    def count(sql, _):
        if "orders_history" in sql:
            raise DENIED
        return [(12,)]

    server = shop(**{r"sys\.dm_db_partition_stats": [], r"COUNT_BIG\(\*\) FROM \[": count})
    found = introspect(server)
    assert table_of(found).rows == 12
    assert "could not be counted" in table_of(found, "orders_history").warnings[0]


def test_without_sys_columns_the_standard_views_answer():
    standard = [
        ("dbo", "orders", "id", "int", None, 10, 0, None, None, "NO"),
        ("dbo", "orders", "who", "nvarchar", 256, None, None, None, "Latin1_General_CI_AS", "YES"),
        ("dbo", "orders", "at", "datetime2", None, None, None, 3, None, "YES"),
        ("dbo", "orders", "text", "varchar", -1, None, None, None, "Latin1_General_CI_AS", "YES"),
    ]
    server = ScriptedServer(
        {
            r"INFORMATION_SCHEMA\.COLUMNS": standard,
            r"INFORMATION_SCHEMA\.KEY_COLUMN_USAGE": [("dbo", "orders", "id")],
            r"sys\.": MISSING,
            r"AS position": [(0, 77)],
            r"SERVERPROPERTY|@@|DB_NAME": StatementError("unknown function"),
        }
    )
    found = introspect(server)
    (orders,) = found.tables
    assert [c.type.declaration for c in orders.columns.columns] == [
        "int",
        "nvarchar(128)",
        "datetime2(3)",
        "varchar(max)",
    ]
    assert orders.columns.primary_key == ("id",)
    assert orders.rows == 77
    assert (found.server, found.database, found.version) == ("db.example", "shop", "unknown")
    assert found.snapshot_isolation is False


def test_a_lost_connection_is_not_taken_for_a_missing_view():
    with pytest.raises(ConnectionLostError):
        introspect(shop(**{r"sys\.dm_db_partition_stats": ConnectionLostError("gone")}))


def source(*columns):
    return SourceTable("dbo", "orders", TableSchema(columns), rows=1)


def test_bounds_are_asked_for_in_the_style_of_their_type():
    server = ScriptedServer({"MIN": [(0, "1", "42"), (1, None, None)]})
    table = source(Column("id", MssqlType("int")), Column("day", MssqlType("date")))
    assert key_bounds(server, [(table, "id"), (table, "day")]) == {
        ("dbo.orders", "id"): ("1", "42"),
        ("dbo.orders", "day"): None,
    }
    (sql,) = server.asked
    assert "CONVERT(varchar(20), MIN([id])) FROM [dbo].[orders]" in sql
    assert "CONVERT(varchar(10), MAX([day]), 23)" in sql


def test_a_type_without_bounds_is_refused():
    table = source(Column("who", MssqlType("nvarchar", 20)))
    with pytest.raises(UnsupportedError, match=r"who of dbo\.orders is of type nvarchar"):
        key_bounds(ScriptedServer({}), [(table, "who")])


def test_a_table_that_is_gone_has_no_count():
    server = ScriptedServer({"gone": MISSING, "orders": [(5,)]})
    gone = SourceTable("dbo", "gone", TableSchema(()), rows=1)
    assert row_counts(server, [source(), gone]) == {"dbo.orders": 5, "dbo.gone": None}


def plan(*columns):
    return TablePlan(
        source_server="db",
        source_database="shop",
        source_schema="dbo",
        source_name="orders",
        rows=1,
        columns=tuple(
            ColumnPlan(
                name=name,
                field_id=1,
                iceberg_type="int",
                starrocks_type="INT",
                nullable=nullable,
                source_name=name,
                mssql_type=declared,
                select_expression=f"[{name}]",
                measure="integer",
            )
            for name, declared, nullable in columns
        ),
        audit_columns=(),
        key_ranges=(KeyRange(source_partition=0),),
        namespace="shop",
        iceberg_table="orders",
        location="s3://lake/shop/orders",
        starrocks_database="shop",
        starrocks_table="orders",
        sort_key=(),
    )


def test_columns_as_planned_pass_and_others_do_not_matter():
    check_columns(shop(), plan(("id", "int", False), ("who", "nvarchar(128)", True)))


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (("ID", "int", False), "Column ID of dbo.orders does not exist any more"),
        (("id", "bigint", False), "Column id of dbo.orders is int now, it was bigint when planned"),
        (("who", "nvarchar(128)", False), "Column who of dbo.orders takes NULL now"),
    ],
)
def test_the_first_column_that_differs_is_named(column, message):
    with pytest.raises(SchemaDriftError, match=message):
        check_columns(shop(), plan(("id", "int", False), column, ("gone", "int", True)))


def test_a_dropped_table_is_said_to_be_gone():
    server = ScriptedServer({r"sys\.types": TYPES})
    with pytest.raises(ObjectNotFoundError, match=r"dbo.orders is not in database shop"):
        check_columns(server, plan(("id", "int", False)))


def test_a_column_that_came_is_named_with_the_remedy():
    known = ("id", "int", False)
    with pytest.raises(SchemaDriftError, match=r"did not have when planned: who .* evolve dbo.ord"):
        check_columns(shop(), plan(known).replaced(left_out=("spot",)))
    check_columns(shop(), plan(known).replaced(left_out=("who", "spot")))
    check_columns(shop(), plan(known))  # a plan that does not say what it leaves out


def test_a_wider_column_is_evolved_and_a_stricter_one_does_no_harm():
    who = ("who", "nvarchar(60)", True)
    with pytest.raises(SchemaDriftError, match=r"was nvarchar\(60\) when planned.* evolve dbo.ord"):
        check_columns(shop(), plan(("id", "int", False), who))
    check_columns(shop(), plan(("id", "int", True), ("who", "nvarchar(128)", True)))


def test_of_a_column_that_is_cut_planning_again_says_what_is_needed():
    """Whether its rows can stay depends on how it is cut, or they are reset as part of the key."""
    by_two = KeyRange(source_partition=0, column="id", upper="1", more_columns=("who",),
                      more_upper=("N'a'",))  # fmt: skip
    for who in (("who", "nvarchar(60)", True), ("who", "nvarchar(128)", False)):
        table = plan(("id", "int", False), who)
        for cut in (table.replaced(key_ranges=(by_two,)), table.replaced(primary_key=("who",))):
            with pytest.raises(SchemaDriftError) as raised:
                check_columns(shop(), cut)
            assert "it says what dbo.orders needs" in raised.value.next_step
            assert "keeps the migrated rows" not in raised.value.next_step


def test_another_collation_is_drift():
    table = plan(("id", "int", False), ("who", "nvarchar(128)", True))
    other = table.columns[1].model_copy(update={"collation": "Polish_CI_AS"})
    with pytest.raises(SchemaDriftError, match="it had Polish_CI_AS when planned"):
        check_columns(shop(), table.replaced(columns=(table.columns[0], other)))
