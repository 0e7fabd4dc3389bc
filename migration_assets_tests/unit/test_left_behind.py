"""What stays behind is named from whatever catalog view answers, and nothing of it fails a plan."""

from __future__ import annotations

import re

from migration_assets.errors import OperationTimeoutError, StatementError
from migration_assets.inventory import Kind, LeftBehind
from migration_assets.mssql.left_behind import read_inventory
from migration_assets.mssql.partition_counts import partition_counts, partition_counts_sql
from migration_assets_tests.unit.scripted_server import DENIED, MISSING, ScriptedServer
from migration_assets_tests.unit.tables import BIGINT, table_plan

EVERY = r"FROM sys\.objects AS o .* o\.type IN"
REFERENCES = r"FROM sys\.foreign_keys AS k"
DATABASE_TRIGGERS = r"FROM sys\.triggers WHERE parent_class = 0"


def test_objects_are_named_with_their_tables() -> None:
    server = ScriptedServer(
        {
            EVERY: [
                ("dbo", "v", None, "", "V "),
                ("dbo", "close_books", None, "", "P "),
                ("dbo", "clr_proc", None, "", "PC"),
                ("dbo", "tax", None, "", "FN"),
                ("dbo", "audit", "orders", "", "TR"),
                ("dbo", "FK_1", "orders", "", "F "),
                ("dbo", "CK_1", "orders", "", "C "),
                ("dbo", "DF_1", "orders", "", "D "),
                ("dbo", "UQ_1", "orders", "", "UQ"),
                ("hr", "numbers", None, "", "SO"),
            ],
            REFERENCES: [("dbo", "FK_1", "customers", "crm")],
            DATABASE_TRIGGERS: [("", "no_drop", "the database", "disabled")],
            r"sys\.identity_columns": [("dbo", "id", "orders", "")],
            r"sys\.computed_columns": [("dbo", "total", "lines", "([price]*\n  [n])")],
            r"sys\.database_permissions": [("dbo", "GRANT SELECT", "orders", "to app")],
            r"msdb\.dbo\.sysjobs AS": [("", "nightly", "", "")],
        }
    )
    found = read_inventory(server)
    assert found.notes == ()
    assert found.unknown == ()
    assert found.objects[Kind.PROCEDURE] == (
        LeftBehind("dbo", "close_books"),
        LeftBehind("dbo", "clr_proc"),
    )
    assert found.objects[Kind.TRIGGER] == (
        LeftBehind("", "no_drop", "the database", "disabled"),
        LeftBehind("dbo", "audit", "orders"),
    )
    assert found.objects[Kind.FOREIGN_KEY] == (
        LeftBehind("dbo", "FK_1", "orders", "to crm.customers"),
    )
    assert found.objects[Kind.COMPUTED][0].detail == "([price]* [n])"
    assert found.objects[Kind.PERMISSION] == (
        LeftBehind("dbo", "GRANT SELECT", "orders", "to app"),
    )
    assert found.objects[Kind.JOB] == (LeftBehind("", "nightly"),)
    assert found.objects[Kind.SYNONYM] == ()
    assert found.count == 15
    assert len(server.asked) < 15


def test_without_sys_objects_each_kind_is_asked_for_alone() -> None:
    found = read_inventory(
        ScriptedServer(
            {
                EVERY: DENIED,
                r"FROM sys\.views": [("dbo", "v", None, "")],
                r"FROM sys\.procedures": DENIED,
                r"ROUTINE_TYPE = 'PROCEDURE'": [("dbo", "p", "", "")],
                r"FROM sys\.sequences": MISSING,
                REFERENCES: DENIED,
                r"FROM sys\.foreign_keys AS o": [("dbo", "FK_1", "orders", "")],
            }
        )
    )
    assert found.objects[Kind.VIEW] == (LeftBehind("dbo", "v"),)
    assert found.objects[Kind.PROCEDURE] == (LeftBehind("dbo", "p"),)
    assert found.objects[Kind.FOREIGN_KEY] == (LeftBehind("dbo", "FK_1", "orders"),)
    assert found.unknown == (Kind.SEQUENCE,)
    notes = " ".join(found.notes)
    assert "sys.objects is not permitted to this login" in notes
    assert "INFORMATION_SCHEMA.ROUTINES was used instead" in notes
    assert "Sequences not known: sys.sequences does not exist here." in notes


def test_a_server_that_says_nothing_gives_notes_and_no_error() -> None:
    found = read_inventory(ScriptedServer({"": DENIED}))
    assert found.objects == {}
    assert found.unknown == tuple(Kind)
    assert found.count == 0
    assert len(found.notes) >= len(Kind)


def test_jobs_come_from_the_agent_s_own_view_where_steps_are_denied() -> None:
    found = read_inventory(
        ScriptedServer({r"sysjobs AS": DENIED, r"sysjobs_view": [("", "nightly", "", "disabled")]})
    )
    assert found.objects[Kind.JOB] == (LeftBehind("", "nightly", "", "disabled"),)
    assert any("which has jobs of all databases, was used instead" in n for n in found.notes)


def test_azure_has_no_msdb() -> None:
    refused = StatementError("Reference to database and/or server name is not supported.")
    found = read_inventory(ScriptedServer({"msdb": refused}))
    assert found.unknown == (Kind.JOB,)


def test_a_query_that_takes_too_long_is_a_note() -> None:
    slow = OperationTimeoutError("SQL Server did not answer in time.")
    found = read_inventory(ScriptedServer({r"sys\.database_permissions": slow}))
    assert found.unknown == (Kind.PERMISSION,)
    assert "Permissions not known: SQL Server did not answer in time." in found.notes


def test_partitions_are_counted_by_their_own_predicates() -> None:
    table = table_plan([("id", BIGINT)], key=["id"], cuts=["10", "20"], name="orders")
    (sql,) = partition_counts_sql(table)
    assert sql.count("COUNT_BIG(*)") == 3
    assert "[id] IS NULL" in sql
    server = ScriptedServer({"orders": [(2, 7), (0, 5)]})
    one_piece = table_plan([("id", BIGINT)], name="log")
    assert partition_counts(server, [table, one_piece]) == ({"dbo.orders": (5, 0, 7)}, [])
    assert len(server.asked) == 1
    counts, notes = partition_counts(ScriptedServer({"orders": DENIED}), [table])
    assert counts == {}
    assert re.match(r"The partitions of dbo\.orders were not counted: The permission", notes[0])


def test_many_ranges_are_counted_in_several_statements() -> None:
    table = table_plan([("id", BIGINT)], key=["id"], cuts=[str(n) for n in range(1, 200)])
    statements = list(partition_counts_sql(table))
    assert len(statements) == 4
    assert sum(sql.count("COUNT_BIG(*)") for sql in statements) == 200
