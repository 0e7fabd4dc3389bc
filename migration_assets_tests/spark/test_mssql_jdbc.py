"""Microsoft's JDBC driver in Spark against the stand-in: the same values as through ODBC.

The JVM is in a zone with summer time, so that a value which depends on the zone shows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from py4j.protocol import Py4JJavaError

from migration_assets.assets.extractor import ExecutorExtraction, Extraction
from migration_assets.assets.spark import _jdbc_frame
from migration_assets.choices import VerificationLevel
from migration_assets.extraction import exact_cast
from migration_assets.mask_rules import FixedMask, Kept, MaskWord, PartialMask
from migration_assets.masking import mask_column
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.introspection import introspect
from migration_assets.mssql.jdbc import jdbc_table
from migration_assets.mssql.jdbc_numbers import from_numbers, numbered
from migration_assets.mssql.point_in_time import Standpoint
from migration_assets.mssql.reader import open_partition
from migration_assets.mssql.select import quote, table_name
from migration_assets.plan import TablePlan
from migration_assets.sandbox.launcher import Sandbox
from migration_assets.sandbox.sample import declared_tables
from migration_assets.schema import SourceTable
from migration_assets.settings import LakeSettings, SparkSettings
from migration_assets.type_mapping import arrow_schema
from migration_assets_tests.sandbox import canaries, sources
from migration_assets_tests.spark.sessions import LOOPBACK, WITH_UI, open_session, shown_by

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

SCALE = 0.01
NAMES = sorted(declared_tables())
DRIVER = "com.microsoft.sqlserver.jdbc.SQLServerDriver"
ZONE = "America/Sao_Paulo"
JVM_ZONE = {
    "spark.driver.extraJavaOptions": f"-Duser.timezone={ZONE}",
    "spark.sql.session.timeZone": ZONE,
}
Plans = dict[tuple[str, str], TablePlan]


@pytest.fixture(scope="module")
def spark(spark_settings: dict[str, str]) -> Iterator[SparkSession]:
    with open_session({**spark_settings, **LOOPBACK}, {**JVM_ZONE, **WITH_UI}) as session:
        yield session


@pytest.fixture(scope="module")
def sandbox(spark_settings: dict[str, str]) -> Iterator[Sandbox]:
    """The stand-in with the sample; only where Spark can be started too."""
    with Sandbox(["sqlserver"], scale=SCALE, passwords=canaries.PASSWORDS) as running:
        yield running


@pytest.fixture(scope="module")
def client(sandbox: Sandbox) -> Iterator[SqlServer]:
    with sources.client(sandbox) as made:
        yield made


@pytest.fixture(scope="module")
def plans(client: SqlServer) -> Plans:
    return {(t.schema, t.name): sources.plan_of(t) for t in introspect(client).tables}


def through_jdbc(
    spark: SparkSession, sandbox: Sandbox, query: str, words: str = "encrypt=false", **changes: str
) -> DataFrame:
    given = sandbox.settings
    properties = {
        "user": given["MSSQL_USER"],
        "password": given["MSSQL_PASSWORD"],
        "driver": DRIVER,
        "preferTimestampNTZ": "true",
    }
    url = f"jdbc:sqlserver://{given['MSSQL_HOST']}:{given['MSSQL_PORT']};databaseName="
    return spark.read.jdbc(
        f"{url}{given['MSSQL_DATABASE']};{words}",
        f"({query}) AS q",
        properties=properties | changes,
    )


def through_odbc(client: SqlServer, plan: TablePlan) -> list[pa.RecordBatch]:
    with open_partition(
        client,
        plan,
        plan.key_ranges[0],
        batch_rows=1000,
        level=VerificationLevel.NONE,
        snapshot=True,
    ) as read:
        return list(read.batches())


def planned(batches: list[pa.RecordBatch], plan: TablePlan) -> Counter[str]:
    """The rows in the planned types, whatever their order; a cast that is not exact is an error."""
    schema = arrow_schema(plan)
    names = [column.name for column in plan.columns]
    rows: Counter[str] = Counter()
    for batch in batches:
        assert batch.schema.names == names
        columns = []
        for name, values in zip(names, batch.columns, strict=True):
            wanted = schema.field(name).type
            exact = values if values.type == wanted else exact_cast(values, wanted)
            columns.append(exact.to_pylist())
        rows.update(map(repr, zip(*columns, strict=True)))
    return rows


@pytest.mark.parametrize("name", NAMES, ids=".".join)
def test_every_value_is_what_odbc_reads(
    spark: SparkSession, sandbox: Sandbox, client: SqlServer, plans: Plans, name: tuple[str, str]
) -> None:
    plan = plans[name]
    columns = ", ".join(f"{numbered(c)} AS {quote(c.name)}" for c in plan.columns)
    query = f"SELECT {columns} FROM {table_name(*name)}"
    read = through_jdbc(spark, sandbox, query).toArrow().to_batches()
    found = planned([from_numbers(batch, plan) for batch in read], plan)
    wanted = planned(through_odbc(client, plan), plan)
    assert sorted(found - wanted)[:1] == sorted(wanted - found)[:1]
    assert found == wanted


FIXED = {"boolean": "1", "integer": "7", "bigint": "7", "decimal": "0", "float": "1.5",
         "date": "1500-01-01", "timestamp": "1500-01-01T10:00:00", "time": "10:20:30", "uuid": "6f9619ff-8b86-d011-b42d-00c04fc964ff",
         "instant": "1500-01-01T10:00:00+02:00"}  # fmt: skip


def masked(table: SourceTable, plan: TablePlan, mask: Any) -> TablePlan:
    """The plan with each column but the first masked, of rows that a condition chooses."""
    columns = [plan.columns[0]]
    for column in plan.columns[1:]:
        if column.measure in FIXED or mask is MaskWord.NULL:
            chosen = mask or FixedMask(fixed=FIXED[column.measure])
        elif column.mssql_type.startswith(("char", "varchar")) and "UTF8" not in str(
            column.collation
        ):  # the stand-in cuts no text beyond the BMP
            chosen = PartialMask(partial=Kept(first=1, last=1))
        else:
            chosen = MaskWord.NULL
        columns.append(
            mask_column(
                table.columns.column(column.source_name), chosen, name=column.name,
                field_id=column.field_id, digest="", where=table.full_name,
            )
        )  # fmt: skip
    return plan.replaced(columns=tuple(columns), where="[Id] < 9 -- and no more")


@pytest.mark.parametrize("mask", [MaskWord.NULL, None], ids=["null", "fixed and partial"])
def test_masks_and_conditions_are_read_alike(
    spark: SparkSession, sandbox: Sandbox, client: SqlServer, plans: Plans, mask: Any
) -> None:
    name = ("dbo", "AllTypes")
    (table,) = (t for t in introspect(client).tables if (t.schema, t.name) == name)
    plan = masked(table, plans[name], mask)
    query = f"SELECT * FROM {jdbc_table(plan)}"
    read = through_jdbc(spark, sandbox, query).toArrow().to_batches()
    found = planned([from_numbers(batch, plan) for batch in read], plan)
    assert found == planned(through_odbc(client, plan), plan)
    assert 0 < found.total() < only_count(spark, sandbox)


def only_value(spark: SparkSession, sandbox: Sandbox, expression: str) -> str:
    (row,) = (
        through_jdbc(spark, sandbox, f"SELECT {expression} AS v").selectExpr("string(v)").collect()
    )
    return str(row[0])


@pytest.mark.parametrize(
    ("value", "kind", "wrong"),
    [
        # Every moment is off by the offset of the JVM's zone, ...
        ("2020-06-01T12:00:00", "datetime2(6)", "2020-06-01 15:00:00"),
        # ... and those of the Julian calendar by its days as well.
        ("1500-01-01T00:00:00", "datetime2(6)", "1500-01-10 03:00:00"),
        # A day that the calendar of `java.sql.Date` does not have.
        ("1582-10-10", "date", "1582-10-20"),
    ],
)
def test_as_dates_and_times_these_would_arrive_wrong(
    spark: SparkSession, sandbox: Sandbox, value: str, kind: str, wrong: str
) -> None:
    """Why `mssql/jdbc_numbers.py` is there: when this fails, it may be needed no longer."""
    assert only_value(spark, sandbox, f"CAST('{value}' AS {kind})") == wrong


def sql_server_error(error: Py4JJavaError) -> tuple[int, str]:
    """Number and text of the driver's exception, however deep it lies."""
    found = error.java_exception
    while found is not None and "SQLServerException" not in found.getClass().getName():
        found = found.getCause()
    assert found is not None, str(error)
    return found.getErrorCode(), found.getMessage()


def test_a_wrong_password_is_18456(spark: SparkSession, sandbox: Sandbox) -> None:
    with pytest.raises(Py4JJavaError) as raised:
        through_jdbc(spark, sandbox, "SELECT 1 AS one", password="wrong")
    number, text = sql_server_error(raised.value)
    assert number == 18456
    assert text.startswith("Login failed for user 'sa'.")


def test_no_password_is_shown(
    spark: SparkSession, sandbox: Sandbox, plans: Plans, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read as the product reads, looked at in every way that Spark has."""
    plan = plans["dbo", "AllTypes"]
    settings = sources.settings(sandbox, encrypt="no")
    extraction = Extraction(
        table=plan, run_id="r", level=VerificationLevel.NONE,
        standpoint=Standpoint(snapshot=False), batch_rows=1000,
    )  # fmt: skip
    task = ExecutorExtraction(extraction, settings, LakeSettings(_env_file=None))
    resource: Any = SimpleNamespace(settings=SparkSettings(_env_file=None))
    frame = _jdbc_frame(spark, plan.partition_keys, spark=resource, task=task)
    # It has (max) columns.
    limit = spark.conf.get("spark.sql.execution.arrow.maxBytesPerBatch")
    assert limit == str(extraction.memory.batch_bytes)
    assert frame.toArrow().num_rows > 0
    frame.createOrReplaceTempView("all_types")
    frame.explain(extended=True)
    spark.sql("DESCRIBE EXTENDED all_types").collect()
    said = capsys.readouterr().out
    shown = {"explain": said.encode(), **shown_by(spark)}
    assert "JDBCRelation" in said
    assert any(b"JDBCRelation" in page for path, page in shown.items() if "/sql?" in path)
    secret = canaries.PASSWORDS["sqlserver"]
    assert settings.password.get_secret_value() == secret
    assert {path for path, page in shown.items() if canaries.secrets_in(page)} == set()


def test_a_missing_table_is_208(spark: SparkSession, sandbox: Sandbox) -> None:
    with pytest.raises(Py4JJavaError) as raised:
        through_jdbc(spark, sandbox, "SELECT * FROM dbo.nowhere")
    assert sql_server_error(raised.value)[0] == 208


def test_a_certificate_that_nobody_signed_is_refused_unless_it_is_trusted(
    spark: SparkSession, sandbox: Sandbox
) -> None:
    with pytest.raises(Py4JJavaError) as raised:
        through_jdbc(spark, sandbox, "SELECT 1 AS one", "encrypt=true;trustServerCertificate=false")
    assert "PKIX path building failed" in sql_server_error(raised.value)[1]
    trusting = "encrypt=true;trustServerCertificate=true"
    rows = through_jdbc(spark, sandbox, "SELECT 1 AS one", trusting).collect()
    assert [row.one for row in rows] == [1]


def test_each_predicate_is_a_connection_and_none_stays_open(
    spark: SparkSession, sandbox: Sandbox
) -> None:
    control = sandbox.control("sqlserver")
    before = control.state()
    given = sandbox.settings
    rows = spark.read.jdbc(
        f"jdbc:sqlserver://{given['MSSQL_HOST']}:{given['MSSQL_PORT']};"
        f"databaseName={given['MSSQL_DATABASE']};encrypt=false",
        "(SELECT [Id] FROM [dbo].[AllTypes]) AS q",
        predicates=["[Id] IS NULL OR [Id] < 3", "[Id] >= 3 AND [Id] < 10", "[Id] >= 10"],
        properties={
            "user": given["MSSQL_USER"],
            "password": given["MSSQL_PASSWORD"],
            "driver": DRIVER,
        },
    )
    assert rows.rdd.getNumPartitions() == 3
    found = [row[0] for row in rows.collect()]
    assert len(found) == len(set(found)) == only_count(spark, sandbox)
    assert control.state().opened - before.opened >= 4
    assert sources.open_connections(control) == 0


def only_count(spark: SparkSession, sandbox: Sandbox) -> int:
    return int(only_value(spark, sandbox, "(SELECT COUNT(*) FROM [dbo].[AllTypes])"))
