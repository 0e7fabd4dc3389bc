"""Facts that make a copy false: refused, left out or warned of, and noted where they are not known."""

import re
from pathlib import Path

import pytest

from migration_assets.errors import StatementError
from migration_assets.mssql import hazards
from migration_assets.mssql.introspection import introspect
from migration_assets.schema import TableKind
from migration_assets_tests.unit.scripted_server import DENIED, flags, shop, table_of


def test_facts_that_can_falsify_a_copy_are_warnings():
    server = shop(
        columns=flags(
            is_identity={(1, 1): True},
            is_computed={(1, 2): True},
            is_hidden={(1, 1): True},
            generated_always_type={(1, 1): 1},
            encryption_type={(1, 3): 2},
        ),
        tables=flags(temporal_type={(1,): 2, (2,): 1}, is_memory_optimized={(1,): True}),
        **{
            r"sys\.computed_columns": [(1, 2, "(getdate())", 0)],
            r"sys\.security_policies": [(1, "sec", "only_mine")],
        },
    )
    found = introspect(server)
    orders = table_of(found)
    identity, who, spot = orders.columns.columns
    assert identity.identity
    assert [w for w in identity.warnings if "hidden" in w]
    assert [w for w in identity.warnings if "generated" in w]
    assert who.computed == "(getdate())"
    assert [w for w in who.warnings if "may not be deterministic" in w]
    assert "Always Encrypted" in spot.refusal
    assert [w for w in orders.warnings if "policy sec.only_mine" in w]
    assert [w for w in orders.warnings if "history is not migrated" in w]
    assert [w for w in orders.warnings if "memory-optimized" in w]
    assert table_of(found, "orders_history").kind is TableKind.HISTORY
    assert orders.kind is TableKind.TABLE


MASKED = {"is_masked": {(1, 2): True}}


@pytest.mark.parametrize(
    ("database", "columns", "refused"),
    [
        ((1, 1), [], False),
        ((1, 0), [], True),
        ((1, None), [], True),
        ((1, 0), [(1, 2)], False),  # SQL Server 2022: UNMASK ON the column
        (DENIED, [], True),
    ],
)
def test_a_masked_column_is_refused_unless_the_login_sees_it_unmasked(database, columns, refused):
    answer = database if isinstance(database, Exception) else [database]
    server = shop(
        columns=flags(**MASKED), **{r"'VIEW DEFINITION'": answer, r"'OBJECT', 'UNMASK'": columns}
    )
    who = table_of(introspect(server)).columns.column("who")
    assert ("GRANT UNMASK" in (who.refusal or "")) == refused
    assert who.warnings == ()


def test_columns_of_later_versions_are_not_asked_for_permissions_without_need():
    server = shop(**{r"'VIEW DEFINITION'": [(1, 0)]})
    introspect(server)
    assert not [sql for sql in server.asked if "'OBJECT', 'UNMASK'" in sql]


COLUMN_RIGHTS = r"'SELECT', c\.name, 'COLUMN'"
TABLE_RIGHTS = r"'OBJECT', 'SELECT'\) = 0"


def test_a_denied_column_is_refused_and_a_denied_table_as_a_whole():
    server = shop(
        **{
            COLUMN_RIGHTS: [(1, 3), (2, 1)],
            TABLE_RIGHTS: [(2,)],
            r"sys\.database_permissions": [(1,), (77,)],
        }
    )
    found = introspect(server)
    assert [c.refusal for c in table_of(found).columns.columns[:2]] == [None, None]
    assert "may not read it" in table_of(found).columns.column("spot").refusal
    assert table_of(found).refusal is None
    assert "SELECT is denied" in table_of(found, "orders_history").refusal
    (sql,) = [sql for sql in server.asked if re.search(COLUMN_RIGHTS, sql)]
    assert "IN (1, 2)" in sql


def test_columns_are_not_asked_for_where_nothing_is_denied():
    server = shop()
    introspect(server)
    assert not [sql for sql in server.asked if re.search(COLUMN_RIGHTS, sql)]


@pytest.mark.parametrize(
    "changes",
    [{r"'VIEW DEFINITION'": [(0, 0)]}, {r"sys\.database_permissions": DENIED}],
    ids=["cannot see permissions", "no such view"],
)
def test_all_columns_are_asked_for_where_permissions_are_not_visible(changes):
    server = shop(**{COLUMN_RIGHTS: [(1, 3)], TABLE_RIGHTS: []} | changes)
    found = introspect(server)
    assert table_of(found).columns.column("spot").refusal
    (sql,) = [sql for sql in server.asked if re.search(COLUMN_RIGHTS, sql)]
    assert "IN (1, 2)" in sql
    said = "\n".join(found.notes)
    assert ("no VIEW DEFINITION" in said) == ((0, 0) in changes.get(r"'VIEW DEFINITION'", []))


def test_without_rights_on_columns_a_table_that_is_not_readable_as_a_whole_is_refused():
    found = introspect(shop(**{COLUMN_RIGHTS: StatementError("what?"), TABLE_RIGHTS: [(1,)]}))
    assert "SELECT is denied" in table_of(found).refusal
    assert table_of(found, "orders_history").refusal is None
    assert "Permission SELECT on columns not known" in "\n".join(found.notes)


def test_a_table_that_may_not_be_read_is_not_counted():
    server = shop(
        **{TABLE_RIGHTS: [(1,)], COLUMN_RIGHTS: DENIED, r"sys\.dm_db_partition_stats": []}
    )
    introspect(server)
    counts = [sql for sql in server.asked if "COUNT_BIG(*) FROM [" in sql]
    assert counts
    assert not [sql for sql in counts if "[orders]" in sql]


@pytest.mark.parametrize(
    ("value", "warned"), [(1, False), (0, True), (None, True)], ids=["yes", "no", "unknown"]
)
def test_a_computed_column_is_warned_of_unless_it_is_deterministic(value, warned):
    server = shop(
        columns=flags(is_computed={(1, 2): True}),
        COLUMNPROPERTY=[(1, 2, "([id]+(1))", value)],
    )
    who = table_of(introspect(server)).columns.column("who")
    assert who.computed == "([id]+(1))"
    assert bool(who.warnings) == warned


def test_without_columnproperty_only_persisted_columns_count_as_deterministic():
    server = shop(
        columns=flags(is_computed={(1, 1): True, (1, 2): True}),
        **{
            r"COLUMNPROPERTY": StatementError("unknown function"),
            r"is_persisted FROM": [(1, 1, "(1)", True), (1, 2, "(getdate())", False)],
        },
    )
    found = introspect(server)
    assert [bool(c.warnings) for c in table_of(found).columns.columns[:2]] == [False, True]
    assert "sys.computed_columns was used instead" in "\n".join(found.notes)


def test_columns_that_hold_nothing_of_their_own_are_left_out_and_named():
    server = shop(
        columns=flags(
            is_column_set={(1, 2): True},
            graph_type={(1, 1): 2, (1, 3): 1},
            is_computed={(1, 1): True},
            is_dropped_ledger_column={(2, 1): True},
        ),
        tables=flags(is_node={(1,): True}, ledger_type={(2,): 3}),
    )
    found = introspect(server)
    orders, other = table_of(found), table_of(found, "orders_history")
    assert [c.name for c in orders.columns.columns] == ["id"]
    assert orders.columns.column("id").warnings == ()
    assert [w for w in orders.warnings if "who is left out: it is a column set" in w]
    assert [w for w in orders.warnings if "graph table" in w]
    assert other.columns.columns == ()
    assert [w for w in other.warnings if "id is left out: it was dropped" in w]
    assert [w for w in other.warnings if "ledger table" in w]


@pytest.mark.parametrize(
    ("flag", "value", "kind"),
    [
        ("temporal_type", 1, TableKind.HISTORY),
        ("ledger_type", 1, TableKind.LEDGER_HISTORY),
        ("is_external", True, TableKind.EXTERNAL),
        ("is_ms_shipped", True, TableKind.SYSTEM),
        ("is_dropped_ledger_table", True, TableKind.DROPPED),
        ("temporal_type", 2, TableKind.TABLE),
        ("ledger_type", 2, TableKind.TABLE),
        ("is_memory_optimized", True, TableKind.TABLE),
        ("is_filetable", True, TableKind.TABLE),
    ],
)
def test_what_kind_of_table_stays_behind(flag, value, kind):
    orders = table_of(introspect(shop(tables=flags(**{flag: {(1,): value}}))))
    assert orders.kind is kind
    assert bool(orders.warnings) == (kind is TableKind.TABLE)


def test_views_and_synonyms_are_named():
    listed = [("dbo", "zeta", "V "), ("dbo", "alias", "SN")]
    found = introspect(shop(**{r"o\.type IN \('V', 'SN'\)": listed}))
    kinds = {t.full_name: t.kind for t in found.tables if not t.columns.columns}
    assert kinds == {"dbo.alias": TableKind.SYNONYM, "dbo.zeta": TableKind.VIEW}


def test_each_flag_that_is_looked_for_is_documented():
    text = (Path(__file__).parents[2] / "docs" / "planning-facts.md").read_text(encoding="utf-8")
    looked_for = {*hazards._COLUMN_FLAGS, *hazards._TABLE_FLAGS} - {"is_identity"}
    assert [flag for flag in sorted(looked_for) if f"`{flag}" not in text] == []
