import pytest

from migration_assets.errors import (
    AccessDeniedError,
    ConnectionLostError,
    ObjectNotFoundError,
    SchemaDriftError,
)
from migration_assets.mssql.introspection import (
    check_columns,
    introspect,
    key_bounds,
    row_counts,
)
from migration_assets.schema import TableKind
from migration_assets_tests.sandbox import sources

SCRIPT = """
CREATE SCHEMA sales;
GO
CREATE TABLE dbo.customers (
    customer_id int IDENTITY(1, 1) NOT NULL,
    name nvarchar(100) COLLATE Latin1_General_CI_AS NOT NULL,
    email varchar(320) NULL,
    balance decimal(18, 4) NOT NULL,
    born date NULL,
    seen datetime2(3) NULL,
    about nvarchar(max) NULL,
    CONSTRAINT pk_customers PRIMARY KEY (customer_id)
);
GO
CREATE TABLE sales.[Order Lines] (
    [Order No] bigint NOT NULL,
    line smallint NOT NULL,
    price money NOT NULL,
    quantity int NOT NULL,
    total AS (price * quantity),
    PRIMARY KEY ([Order No], line)
);
GO
CREATE TABLE dbo.notes (note varchar(20) NULL, day date NULL);
GO
CREATE TABLE dbo.empty_one (id int NOT NULL PRIMARY KEY);
GO
CREATE VIEW dbo.names AS SELECT name FROM dbo.customers;
GO
INSERT INTO dbo.customers (name, email, balance, born, seen, about) VALUES
    (N'Ada', 'ada@example.com', -12.5000, '1815-12-10', '2024-01-31T10:00:00.123', NULL),
    (N'Grace', NULL, 99.9900, '1906-12-09', '2024-02-01T00:00:00', N'admiral'),
    (N'Łukasz 😀', NULL, 0, NULL, NULL, N'x');
INSERT INTO sales.[Order Lines] ([Order No], line, price, quantity) VALUES
    (9000000000, 1, 2.5, 4), (9000000001, 1, 1, 1);
INSERT INTO dbo.notes (note, day) VALUES ('a', '2024-01-31'), ('b', NULL);
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    with sources.running(SCRIPT, tmp_path_factory.mktemp("sqlserver")) as running:
        yield running


@pytest.fixture
def client(sandbox):
    with sources.client(sandbox) as made:
        yield made
    assert sources.open_connections(sandbox.control("sqlserver")) == 0


def table_of(found, full_name):
    return next(table for table in found.tables if table.full_name == full_name)


def declarations(table):
    return {c.name: c.type.declaration for c in table.columns.columns}


def test_tables_columns_keys_and_rows(client):
    found = introspect(client)
    assert [table.full_name for table in found.tables] == [
        "dbo.customers",
        "dbo.empty_one",
        "dbo.notes",
        "sales.Order Lines",
        "dbo.names",
    ]
    assert table_of(found, "dbo.names").kind is TableKind.VIEW
    customers = table_of(found, "dbo.customers")
    assert declarations(customers) == {
        "customer_id": "int",
        "name": "nvarchar(100)",
        "email": "varchar(320)",
        "balance": "decimal(18,4)",
        "born": "date",
        "seen": "datetime2(3)",
        "about": "nvarchar(max)",
    }
    assert customers.columns.primary_key == ("customer_id",)
    assert customers.columns.column("customer_id").identity
    assert not customers.columns.column("customer_id").nullable
    assert customers.columns.column("email").nullable
    assert customers.columns.column("name").type.collation == "Latin1_General_CI_AS"
    assert customers.rows == 3
    lines = table_of(found, "sales.Order Lines")
    assert lines.columns.primary_key == ("Order No", "line")
    assert "price" in lines.columns.column("total").computed
    assert table_of(found, "dbo.notes").columns.primary_key == ()
    assert table_of(found, "dbo.empty_one").rows == 0


def test_the_server_and_what_stays_behind(client):
    found = introspect(client)
    assert found.database == "shop"
    assert found.snapshot_isolation
    assert found.version != "unknown"
    assert found.collation != "unknown"
    assert found.not_migrated["views"] == 1


def test_one_login_serves_all_queries(sandbox, client):
    before = sandbox.control("sqlserver").state().opened
    introspect(client)
    refused = sum("used instead" in n or "not known" in n for n in introspect(client).notes)
    assert sandbox.control("sqlserver").state().opened - before <= 1 + 30 * refused


def test_bounds_of_keys(client):
    found = introspect(client)
    customers = table_of(found, "dbo.customers")
    lines = table_of(found, "sales.Order Lines")
    notes = table_of(found, "dbo.notes")
    empty = table_of(found, "dbo.empty_one")
    wanted = [
        (customers, "customer_id"),
        (customers, "balance"),
        (customers, "born"),
        (customers, "seen"),
        (lines, "Order No"),
        (lines, "price"),
        (notes, "day"),
        (empty, "id"),
    ]
    assert key_bounds(client, wanted) == {
        ("dbo.customers", "customer_id"): ("1", "3"),
        ("dbo.customers", "balance"): ("-12.5000", "99.9900"),
        ("dbo.customers", "born"): ("1815-12-10", "1906-12-09"),
        ("dbo.customers", "seen"): ("2024-01-31T10:00:00.123", "2024-02-01T00:00:00"),
        ("sales.Order Lines", "Order No"): ("9000000000", "9000000001"),
        ("sales.Order Lines", "price"): ("1.0000", "2.5000"),
        ("dbo.notes", "day"): ("2024-01-31", "2024-01-31"),
        ("dbo.empty_one", "id"): None,
    }


def test_counts_and_columns_of_now(client):
    found = introspect(client)
    customers = table_of(found, "dbo.customers")
    plan = sources.plan_of(customers)
    gone = plan.model_copy(update={"source_name": "gone"})
    assert row_counts(client, [plan, gone, table_of(found, "sales.Order Lines")]) == {
        "dbo.customers": 3,
        "dbo.gone": None,
        "sales.Order Lines": 2,
    }
    check_columns(client, plan)
    with pytest.raises(ObjectNotFoundError, match="gone"):
        check_columns(client, gone)


def test_a_changed_column_is_noticed(client):
    client.query("CREATE TABLE dbo.moving (id int NOT NULL, at datetime2(3) NULL)")
    plan = sources.plan_of(table_of(introspect(client), "dbo.moving"))
    client.query("DROP TABLE dbo.moving")
    client.query("CREATE TABLE dbo.moving (id int NOT NULL, at datetime2(7) NULL)")
    with pytest.raises(SchemaDriftError, match=r"at of dbo\.moving is datetime2\(7\) now"):
        check_columns(client, plan)
    client.query("DROP TABLE dbo.moving")


@pytest.mark.parametrize(
    ("arguments", "notes"),
    [
        (["--without=sys.dm_db_partition_stats"], ["sys.partitions was used instead"]),
        (["--deny=sys.dm_db_partition_stats"], ["not permitted"]),
        (
            ["--without=sys.dm_db_partition_stats", "--without=sys.partitions"],
            ["Row estimates not known", "counted"],
        ),
        (["--without=sys.columns"], ["INFORMATION_SCHEMA.COLUMNS was used"]),
        (["--without=sys.types"], ["INFORMATION_SCHEMA.COLUMNS was used"]),
        (["--without=sys.index_columns"], ["INFORMATION_SCHEMA.KEY_COLUMN_USAGE was used"]),
        (["--deny=sys.databases"], ["Snapshot isolation not known"]),
        (["--without=sys.objects"], ["Objects that stay behind not known"]),
        (["--without=sys.computed_columns"], ["Computed columns not known"]),
        (["--without=sys.security_policies"], ["Row-level security not known"]),
    ],
)
def test_a_view_that_is_missing_or_denied_is_noted_and_nothing_else_is_lost(
    tmp_path, arguments, notes
):
    with sources.running(SCRIPT, tmp_path, *arguments) as running:
        with sources.client(running) as client:
            found = introspect(client)
        assert sources.open_connections(running.control("sqlserver")) == 0
    text = "\n".join(found.notes)
    assert [note for note in notes if note not in text] == []
    customers = table_of(found, "dbo.customers")
    assert customers.columns.primary_key == ("customer_id",)
    assert declarations(customers)["balance"] == "decimal(18,4)"
    assert declarations(customers)["about"] == "nvarchar(max)"
    assert declarations(customers)["seen"] == "datetime2(3)"
    assert customers.rows == 3
    assert len([table for table in found.tables if table.kind is TableKind.TABLE]) == 4


def test_a_wrong_password_is_one_clear_sentence_without_it(sandbox):
    with sources.client(sandbox, password="wrong-horse") as client:
        with pytest.raises(AccessDeniedError) as caught:
            client.query("SELECT 1")
        with pytest.raises(AccessDeniedError) as by_odbc, client.arrow_connection():
            pass
    for error in (caught.value, by_odbc.value):
        assert "refused the login of user 'sa' to database 'shop'" in str(error)
        assert "MSSQL_PASSWORD" in error.next_step
        assert "wrong-horse" not in repr(error)
    assert sources.open_connections(sandbox.control("sqlserver")) == 0


def test_a_wrong_database_is_named(sandbox):
    with (
        sources.client(sandbox, database="shpo") as client,
        pytest.raises(ObjectNotFoundError, match=r"no database 'shpo'.*MSSQL_DATABASE"),
    ):
        client.query("SELECT 1")
    assert sources.open_connections(sandbox.control("sqlserver")) == 0


def test_a_wrong_database_is_named_by_odbc_too(sandbox):
    with (
        sources.client(sandbox, database="shpo") as client,
        pytest.raises((ObjectNotFoundError, AccessDeniedError), match="'shpo'"),
        client.arrow_connection(),
    ):
        pass


@pytest.mark.parametrize("changes", [{"port": 1}, {"host": "no-such-host.invalid"}])
def test_a_server_that_is_not_there(sandbox, changes):
    with sources.client(sandbox, login_timeout_s=2, **changes) as client:
        with pytest.raises(ConnectionLostError) as by_freetds:
            client.query("SELECT 1")
        with pytest.raises(ConnectionLostError) as by_odbc, client.arrow_connection():
            pass
    for error in (by_freetds.value, by_odbc.value):
        assert changes.get("host", "127.0.0.1,1") in str(error)
        assert "MSSQL_HOST" in error.next_step
