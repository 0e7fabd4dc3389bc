"""What load and the table guards do with StarRocks' answers; real statements are in sandbox/."""

from __future__ import annotations

import contextlib
import re

import pytest

from migration_assets.choices import OnExisting, VerificationLevel
from migration_assets.errors import (
    ConnectionLostError,
    ExistingObjectError,
    ObjectNotFoundError,
    OperationTimeoutError,
    SchemaDriftError,
    ServerBusyError,
    TransientError,
)
from migration_assets.plan import TablePlan
from migration_assets.settings import StarRocksSettings
from migration_assets.starrocks import catalog, ddl, dml, load, tables
from migration_assets.starrocks.server_errors import understand
from migration_assets.starrocks.wire import Answer
from migration_assets_tests.unit.tables import INT, nvarchar, table_plan

TABLE = table_plan([("id", INT), ("s", nvarchar(10))], key=["id"], cuts=["10"])
SNAPSHOT = 3051729675574597004
VISIBLE = Answer(affected_rows=5, info="{'label':'x', 'status':'VISIBLE', 'txnId':'2'}")
COMMITTED = Answer(
    affected_rows=5,
    info="{'label':'x', 'status':'COMMITTED', 'txnId':'2', 'err':'Publish timeout '}",
)


def changed(**values):
    """The table with other values; `model_copy` would keep the table id it had computed."""
    return TablePlan.model_validate({**TABLE.model_dump(), **values})


def server_error(number, message):
    return understand(number, message, subject="Table dbo.t", server="sr:9030")


UNKNOWN = server_error(1064, f"Iceberg snapshot ID does not exists: {SNAPSHOT}")


class FakeClient:
    """Answers statements by the first pattern that matches; a list is used up one by one."""

    def __init__(self, **answers):
        self.answers = answers
        self.sent = []
        self.server = "sr:9030"
        self.settings = StarRocksSettings(host="sr", user="u", _env_file=None)

    @contextlib.contextmanager
    def connection(self):
        yield self

    def query(self, sql, *, about=""):
        return list(self.execute(sql, about=about).rows)

    def execute(self, sql, *, about="", timeout_s=None):
        assert timeout_s == (self.settings.insert_timeout_s if sql[:6] == "INSERT" else None), about
        self.sent.append(sql)
        for word, planned in self.answers.items():
            if word not in sql:
                continue
            answer = planned
            if isinstance(planned, list):
                answer = planned.pop(0) if len(planned) > 1 else planned[0]
            if isinstance(answer, Exception):
                raise answer
            return answer
        return Answer(("Id", "Info")) if sql.startswith("SHOW FULL") else Answer()

    def count(self, word):
        return sum(sql.startswith(word) for sql in self.sent)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    waits = []
    monkeypatch.setattr(load.time, "sleep", waits.append)
    return waits


def load_it(client):
    return load.load_partition(client, TABLE, "p001", SNAPSHOT, run_id="run-1")


def test_refreshes_before_it_pins_the_snapshot():
    client = FakeClient(INSERT=VISIBLE)
    assert load_it(client) == 5
    assert [sql.split()[0] for sql in client.sent] == ["SHOW", "REFRESH", "INSERT"]
    assert f"FOR VERSION AS OF {SNAPSHOT} WHERE `source_partition` = 1" in client.sent[-1]
    assert "run-1" in client.sent[-1]


def test_an_unknown_snapshot_is_refreshed_again():
    client = FakeClient(INSERT=[UNKNOWN, UNKNOWN, VISIBLE])
    assert load_it(client) == 5
    assert client.count("REFRESH") == client.count("INSERT") == 3


def test_a_snapshot_that_stays_unknown_ends_in_a_transient_error(no_waiting):
    client = FakeClient(INSERT=UNKNOWN)
    with pytest.raises(TransientError, match=str(SNAPSHOT)):
        load_it(client)
    assert client.count("INSERT") == len(load.SNAPSHOT_WAITS_S) + 1
    assert sum(no_waiting) == pytest.approx(60)


def test_other_errors_are_not_tried_again():
    client = FakeClient(INSERT=server_error(5502, "Unknown table"))
    with pytest.raises(ObjectNotFoundError):
        load_it(client)
    assert client.count("INSERT") == 1
    assert client.count("KILL") == 0


@pytest.mark.parametrize(
    "message", ["Lost connection to MySQL server during query", "Lost connection (timed out)"]
)
def test_an_insert_whose_connection_is_lost_is_ended(message):
    class Server(FakeClient):
        def execute(self, sql, *, about="", timeout_s=None):
            if sql.startswith("SHOW"):
                running = [sql for sql in self.sent if sql.startswith("INSERT")]
                others = "INSERT OVERWRITE something else"
                rows = ((40, others), *((41, statement) for statement in running), (42, None))
                return Answer(("Id", "Info"), rows)
            return super().execute(sql, about=about, timeout_s=timeout_s)

    client = Server(INSERT=server_error(2013, message), KILL=server_error(1064, "no such id"))
    with pytest.raises((ConnectionLostError, OperationTimeoutError)):
        load_it(client)
    assert client.sent[-1] == "KILL 41"
    assert client.count("KILL") == 1


def test_a_load_of_the_same_partition_that_still_runs_is_not_raced():
    running = dml.insert_overwrite_sql(
        TABLE,
        catalog="lake",
        source_partition=1,
        snapshot_id=SNAPSHOT,
        label=dml.load_label(TABLE, 1, "old"),
    )
    columns = ("ServerName", "Id", "User", "Command", "Info")
    listed = Answer(columns, (("fe1", 33, "u", "Query", running),))
    client = FakeClient(SHOW=listed, INSERT=VISIBLE)
    with pytest.raises(ServerBusyError, match=r"partition p001.*KILL 33"):
        load_it(client)
    assert client.count("INSERT") == 0
    # The neighbour partition may be loaded meanwhile.
    assert load.load_partition(client, TABLE, "p000", SNAPSHOT, run_id="r") == 5


def test_a_committed_load_is_waited_for():
    states = [Answer(("STATE",), ((s,),)) for s in ("LOADING", "COMMITED", "FINISHED")]
    client = FakeClient(INSERT=COMMITTED, loads=states)
    assert load_it(client) == 5
    assert client.sent[-1] == "SELECT STATE FROM information_schema.loads WHERE LABEL = 'x'"
    assert client.count("SELECT STATE") == 3


def test_a_cancelled_load_is_no_success():
    client = FakeClient(INSERT=COMMITTED, loads=Answer(("STATE",), (("CANCELLED",),)))
    with pytest.raises(ServerBusyError, match="cancelled the load x"):
        load_it(client)


def test_waiting_for_visibility_is_bounded(monkeypatch):
    clock = iter(range(0, 100_000, 30))
    monkeypatch.setattr(load.time, "monotonic", lambda: next(clock))
    client = FakeClient(INSERT=COMMITTED, loads=Answer(("STATE",), ()))
    with pytest.raises(OperationTimeoutError, match="Publish timeout"):
        load_it(client)


def test_an_answer_without_a_status_is_no_proof():
    client = FakeClient(INSERT=Answer(affected_rows=5), loads=Answer(("STATE",), (("FINISHED",),)))
    assert load_it(client) == 5
    assert "LABEL = 'migration_" in client.sent[-1]


def test_measure_counts():
    client = FakeClient(SELECT=Answer(("c",), ((17,),)))
    found = load.measure(client, TABLE, TABLE.key_ranges[1], VerificationLevel.COUNT)
    assert (found.rows, found.values) == (17, {})
    assert client.sent == ["SELECT COUNT(*) FROM `dbo`.`t` WHERE `source_partition` = 1"]


def test_partition_rows():
    client = FakeClient(SELECT=Answer(("p", "c"), ((0, 3), (1, 4))))
    assert load.partition_rows(client, TABLE) == {0: 3, 1: 4}


def there(table, *, comment=None, kind="BASE TABLE", columns=None):
    """Answers of information_schema about a table that exists."""
    shown = columns or [
        (c.name, c.starrocks_type.lower(), "YES" if c.nullable else "NO")
        for c in ddl.ordered_columns(table)
    ]
    comment = ddl.table_comment(table) if comment is None else comment
    return {
        "information_schema.tables": Answer(("a", "b"), ((kind, comment),)),
        "information_schema.columns": Answer(("a", "b", "c"), tuple(shown)),
    }


def changes(client):
    return [re.split(r"\s", sql)[0] for sql in client.sent if not sql.startswith("SELECT")]


def test_database_and_table_are_created_when_missing():
    client = FakeClient()
    tables.ensure_table(client, TABLE)
    assert changes(client) == ["CREATE", "CREATE"]
    assert client.sent[-1] == ddl.create_table_sql(TABLE, 3)


def test_an_existing_database_is_not_created():
    client = FakeClient(schemata=Answer(("a",), (("dbo",),)))
    tables.ensure_table(client, TABLE)
    assert changes(client) == ["CREATE"]


def test_our_table_is_left_alone():
    client = FakeClient(**there(TABLE))
    tables.ensure_table(client, TABLE)
    assert changes(client) == []


def test_a_table_that_another_run_creates_meanwhile_is_taken_as_ours():
    ours = there(TABLE)["information_schema.tables"]
    client = FakeClient(
        **{
            **there(TABLE),
            "information_schema.tables": [Answer(), ours],
            "CREATE": server_error(1050, "Table 't' already exists"),
        }
    )
    tables.ensure_table(client, TABLE)


def test_a_table_that_somebody_else_creates_meanwhile_is_not():
    theirs = there(TABLE, comment="mine")["information_schema.tables"]
    client = FakeClient(
        **{
            **there(TABLE),
            "information_schema.tables": [Answer(), theirs],
            "CREATE TABLE": server_error(1050, "Table 't' already exists"),
        }
    )
    with pytest.raises(ExistingObjectError):
        tables.ensure_table(client, TABLE)


@pytest.mark.parametrize("choice", list(OnExisting))
def test_a_table_of_another_plan_wants_a_reset(choice):
    old = changed(key_ranges=TABLE.key_ranges[:1])
    new = changed(on_existing=choice)
    client = FakeClient(**there(old))
    with pytest.raises(SchemaDriftError, match=f"{old.table_id}.*{new.table_id}.*reset"):
        tables.ensure_table(client, new)
    assert changes(client) == []


def test_an_altered_table_is_refused():
    columns = [("id", "int(11)", "NO"), ("s", "varchar(29)", "YES")]
    client = FakeClient(**there(TABLE, columns=columns))
    with pytest.raises(SchemaDriftError, match=r"dbo\.t was altered.*column s is varchar\(29\)"):
        tables.ensure_table(client, TABLE)


def test_foreign_tables_are_refused_by_default():
    client = FakeClient(**there(TABLE, comment="OLAP"))
    with pytest.raises(ExistingObjectError, match=r"dbo\.t exists already.*on_existing"):
        tables.ensure_table(client, TABLE)
    assert changes(client) == []


def test_a_table_of_another_source_is_foreign():
    other = changed(source_database="other")
    client = FakeClient(**there(other))
    with pytest.raises(ExistingObjectError, match=r"the copy of \[server\]\.\[other\]"):
        tables.ensure_table(client, TABLE)


def test_adopt_marks_a_fitting_table():
    adopting = changed(on_existing=OnExisting.ADOPT)
    client = FakeClient(**there(TABLE, comment="mine"))
    tables.ensure_table(client, adopting)
    assert client.sent[-1] == ddl.set_comment_sql(adopting)
    assert changes(client) == ["ALTER"]


def test_adopt_refuses_a_table_that_does_not_fit():
    adopting = changed(on_existing=OnExisting.ADOPT)
    client = FakeClient(**there(TABLE, comment="mine", columns=[("id", "bigint(20)", "NO")]))
    with pytest.raises(ExistingObjectError, match="column id is bigint"):
        tables.ensure_table(client, adopting)
    assert changes(client) == []


def test_replace_drops_and_creates():
    replacing = changed(on_existing=OnExisting.REPLACE)
    client = FakeClient(**there(TABLE, comment="mine"), schemata=Answer(("a",), (("dbo",),)))
    tables.ensure_table(client, replacing)
    assert changes(client) == ["DROP", "CREATE"]


def test_replace_spares_a_table_that_has_become_ours():
    replacing = changed(on_existing=OnExisting.REPLACE)
    answers = there(replacing)
    foreign = there(TABLE, comment="mine")["information_schema.tables"]
    answers["information_schema.tables"] = [foreign, answers["information_schema.tables"]]
    client = FakeClient(**answers)
    tables.ensure_table(client, replacing)
    assert changes(client) == []


@pytest.mark.parametrize("choice", list(OnExisting))
def test_a_view_is_never_touched(choice):
    plan = changed(on_existing=choice)
    client = FakeClient(**there(TABLE, comment="", kind="VIEW"))
    with pytest.raises(ExistingObjectError, match="view"):
        tables.ensure_table(client, plan)
    with pytest.raises(ExistingObjectError, match="view"):
        tables.drop_table(client, plan)
    assert changes(client) == []


def test_recreate_drops_only_what_a_migration_of_this_source_made():
    old = changed(key_ranges=TABLE.key_ranges[:1])
    client = FakeClient(**there(old), schemata=Answer(("a",), (("dbo",),)))
    tables.recreate_table(client, TABLE)
    assert changes(client) == ["DROP", "CREATE"]
    client = FakeClient(**there(TABLE, comment="mine"))
    with pytest.raises(ExistingObjectError):
        tables.recreate_table(client, TABLE)
    assert changes(client) == []


def test_the_catalog_is_looked_up_by_name_and_type():
    listed = Answer(("Catalog", "Type", "Comment"), (("lake", "Iceberg", ""), ("x", "Hive", "")))
    catalog.check_catalog(FakeClient(SHOW=listed))
    client = FakeClient(SHOW=Answer(listed.columns, (("lake", "Hive", None),)))
    with pytest.raises(Exception, match="of type Hive, not Iceberg"):
        catalog.check_catalog(client)
    with pytest.raises(ObjectNotFoundError, match="doctor --fix"):
        catalog.check_catalog(FakeClient(SHOW=Answer(listed.columns, ())))
