"""Every row of the tables of faults, on errors as the drivers raise them; and their documentation."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import mssql_python.exceptions as odbc
import pymssql
import pytest

from migration_assets.errors import PermanentError, TransientError
from migration_assets.fault_report import SYSTEMS, fault_table, markers, with_tables
from migration_assets.faults import FaultRule
from migration_assets.iceberg.driver_errors import _symptom
from migration_assets.iceberg.faults import FAULTS as ICEBERG
from migration_assets.iceberg.faults import fault_of as iceberg_fault
from migration_assets.mssql.driver_errors import translate
from migration_assets.mssql.faults import FAULTS as MSSQL
from migration_assets.mssql.faults import MssqlFault
from migration_assets.mssql.faults import fault_of as mssql_fault
from migration_assets.starrocks.faults import FAULTS as STARROCKS
from migration_assets.starrocks.faults import fault_of as starrocks_fault
from migration_assets_tests.unit.test_iceberg_driver_errors import CASES
from migration_assets_tests.unit.test_starrocks_errors import ANSWERS

WHERE = {"server": "db.example,1433", "database": "shop", "user": "reader"}
DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
RULES = [(system, rule) for system, rules in SYSTEMS.items() for rule in rules]

SENTENCES = [
    (4060, 'Cannot open database "shop" requested by the login. The login failed.'),
    (18456, "Login failed for user 'reader'."),
    (229, "The SELECT permission was denied on the object 'Orders', database 'shop'."),
    (208, "Invalid object name 'dbo.Orders'."),
    (207, "Invalid column name 'Total'."),
    (3952, "Snapshot isolation transaction failed accessing database 'shop' because snapshot isolation is not allowed in this database. Use ALTER DATABASE to allow snapshot isolation."),
    (3958, "Transaction aborted when accessing versioned row. Requested versioned row was not found. Your tempdb is probably out of space."),
    (3959, "Version store is full. New versions could not be added."),
    (3966, "Transaction is rolled back when accessing version store. It was marked as victim when the version store was shrunk due to insufficient space in tempdb."),
    (945, "Database 'shop' cannot be opened due to inaccessible files or insufficient memory or disk space."),
    (824, "SQL Server detected a logical consistency-based I/O error: incorrect checksum."),
    (1205, "Transaction (Process ID 52) was deadlocked on lock resources with another process and has been chosen as the deadlock victim. Rerun the transaction."),
    (1222, "Lock request time out period exceeded."),
    (1204, "The instance of the SQL Server Database Engine cannot obtain a LOCK resource at this time."),
    (3960, "Snapshot isolation transaction aborted due to update conflict."),
    (3961, "Snapshot isolation transaction failed in database 'shop' because the object accessed by the statement has been modified by a DDL statement in another concurrent transaction."),
    (1105, "Could not allocate space for object 'dbo.SORT temporary run storage' in database 'tempdb' because the 'PRIMARY' filegroup is full."),
    (1101, "Could not allocate a new page for database 'tempdb' because of insufficient disk space in filegroup 'DEFAULT'."),
    (9002, "The transaction log for database 'tempdb' is full due to 'ACTIVE_TRANSACTION'."),
    (701, "There is insufficient system memory in resource pool 'default' to run this query."),
    (40544, "The database 'shop' has reached its size quota. Partition or delete data, drop indexes, or consult the documentation for possible resolutions."),
    (40551, "The session has been terminated because of excessive TEMPDB usage. Try modifying your query to reduce the temporary table space usage."),
    (10928, "Resource ID: 1. The request limit for the database is 60 and has been reached."),
    (10929, "Resource ID: 1. The request minimum guarantee is 0, maximum limit is 60 and the current usage for the database is 60. However, the server is currently too busy to support requests greater than 60 for this database."),
    (40501, "The service is currently busy. Retry the request after 10 seconds. Incident ID: x."),
    (49918, "Cannot process request. Not enough resources to process request. Please retry you request later."),
    (49920, "Cannot process request. Too many operations in progress for subscription 'x'. Please try again later."),
    (40197, "The service has encountered an error processing your request. Please try again. Error code 40166."),
    (40613, "Database 'shop' on server 'db' is not currently available. Please retry the connection later."),
    (17809, "Could not connect because the maximum number of '2' user connections has already been reached. The system administrator can use sp_configure to increase the maximum value. The connection has been closed."),
    (922, "Database 'shop' is being recovered. Waiting until recovery is finished."),
]  # fmt: skip
"""SQL Server's numbers and sentences: https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors."""

OF_THE_ODBC_DRIVER = [
    ("08001", "SSL Provider: [error:0A000086:SSL routines::certificate verify failed:self-signed certificate]"),
    ("08001", "SSL Provider: [error:0A000086:SSL routines::certificate verify failed:subject name does not match host name]"),
    ("08001", "Could not connect because the maximum number of '4' user connections has already been reached. The system administrator can use sp_configure to increase the maximum value. The connection has been closed."),
    ("08001", "SSL Provider: [error:0A000102:SSL routines::unsupported protocol]"),
    ("08001", "SSL Provider: An existing session was shut down."),
    ("HYT00", "Login timeout expired"),
    ("HYT00", "Query timeout expired"),
    ("08001", "Error code 0x274C"),
    ("08001", "TCP Provider: Error code 0x2749"),
    ("08S01", "The connection is broken and recovery is not possible."),
    ("08S01", "Protocol error in TDS stream"),
    ("HY000", "Connection to the database failed for an unknown reason."),
]  # fmt: skip


def freetds(number: int, text: str) -> Exception:
    tail = "DB-Lib error message 20018, severity 16:\nGeneral SQL Server error: Check messages\n"
    return pymssql.OperationalError(number, f"{text}{tail}".encode())


def mssql_rule(number: int) -> MssqlFault:
    return next(rule for rule in MSSQL if number in rule.numbers)


@pytest.mark.parametrize(("number", "sentence"), SENTENCES)
def test_a_sentence_means_the_same_as_its_number(number: int, sentence: str) -> None:
    """mssql-python shows the sentence alone, pymssql the number: both engines must retry alike."""
    rule = mssql_rule(number)
    server = f"[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]{sentence}"
    for error in (freetds(number, sentence), odbc.sqlstate_to_exception("42000", server)):
        ours = translate(error, doing="Reading dbo.Orders", **WHERE)
        assert type(ours) is rule.error
        assert (ours.next_step, ours.wait_s) == (rule.next_step, rule.wait_s)
        assert "\n" not in str(ours)
        assert ours.code == rule.code
        assert ours.found.startswith("Reading dbo.Orders")


@pytest.mark.parametrize(
    ("number", "rule"), [(number, rule) for rule in MSSQL for number in rule.numbers]
)
def test_each_number_has_one_rule(number: int, rule: MssqlFault) -> None:
    words = "" if number > 20000 and number < 20050 else "Words of the server."
    ours = translate(freetds(number, words) if words else _of_freetds(number), **WHERE)
    assert type(ours) is rule.error
    assert ours.next_step == rule.next_step


def _of_freetds(number: int) -> Exception:
    text = f"DB-Lib error message {number}, severity 9:\nRead from the server failed\n"
    return pymssql.OperationalError(number, text.encode())


def test_no_sign_is_in_two_rules() -> None:
    for signs in (
        Counter(number for rule in MSSQL for number in rule.numbers),
        Counter(state for rule in MSSQL for state in rule.states),
        Counter(text for rule in MSSQL for text in rule.texts),
    ):
        assert max(signs.values()) == 1


def test_every_rule_of_sql_server_is_reached_by_each_of_its_texts() -> None:
    said = [*((None, text) for _, text in SENTENCES), *OF_THE_ODBC_DRIVER]
    reached = {
        pattern
        for _, text in said
        for pattern in mssql_fault(None, "", text).texts
        if re.search(pattern, text, re.IGNORECASE | re.DOTALL)
    }
    unreached = {pattern for rule in MSSQL for pattern in rule.texts} - reached
    assert unreached == set()


def test_every_rule_of_starrocks_is_reached_by_an_answer() -> None:
    reached = {id(starrocks_fault(number, text)) for number, text, _ in ANSWERS}
    assert [rule.meaning for rule in STARROCKS if id(rule) not in reached] == []


def test_every_rule_of_the_lake_is_reached_by_an_error() -> None:
    reached = {id(iceberg_fault(_symptom(error))) for error, _ in CASES}
    assert [rule.meaning for rule in ICEBERG if id(rule) not in reached] == []


@pytest.mark.parametrize(
    ("system", "rule"), RULES, ids=lambda value: getattr(value, "meaning", value)
)
def test_each_rule_says_what_to_do(system: str, rule: FaultRule) -> None:
    assert issubclass(rule.error, (PermanentError, TransientError)), system
    assert rule.source.startswith("https://")
    assert not rule.next_step or rule.next_step.endswith((".", ")"))
    assert not rule.wait_s or rule.transient, "a wait is for what is tried again"
    # The last rule is for what is unknown, which is never tried again.
    if rule is SYSTEMS[system][-1]:
        assert not rule.transient
        assert rule.signs == ()
    else:
        assert rule.signs


def test_the_document_shows_the_tables_as_they_are() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run `python -m migration_assets.fault_report`"
    for system in SYSTEMS:
        begin, end = markers(system)
        assert text.split(begin)[1].split(end)[0] == fault_table(system)


def test_the_document_names_the_settings_of_retries_with_their_defaults() -> None:
    from migration_assets.settings import RetrySettings

    text = DOCUMENT.read_text(encoding="utf-8")
    for name, field in RetrySettings.model_fields.items():
        variable = field.validation_alias or f"MIGRATION_RETRY_{name.upper()}"
        assert f"| `{variable}` | {field.default:g} |" in text
