"""External Iceberg catalogs of the StarRocks stand-in: Glue and S3 by moto, written by pyiceberg."""

from __future__ import annotations

import contextlib
import datetime as dt
import time
import warnings
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from moto.moto_api._internal.models import moto_api_backend
from moto.server import ThreadedMotoServer
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.expressions import EqualTo
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    BinaryType,
    DecimalType,
    FixedType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from migration_assets.sandbox.starrocks import StarRocksStandIn, catalogs
from migration_assets_tests.sandbox.starrocks_client import AE, Client

REGION = "eu-west-1"
SCHEMA = Schema(
    NestedField(1, "id", LongType(), required=True),
    NestedField(2, "v", StringType()),
    NestedField(3, "n", DecimalType(38, 4)),
    NestedField(4, "at", TimestampType()),
    NestedField(5, "b", BinaryType()),
    NestedField(6, "source_partition", IntegerType(), required=True),
)
SPEC = PartitionSpec(PartitionField(6, 1000, IdentityTransform(), "source_partition"))


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    moto_api_backend.reset()  # its buckets are this process's, and other tests may have made them
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="module")
def lake(endpoint: str) -> Catalog:
    boto3.client(
        "s3", endpoint_url=endpoint, region_name=REGION,
        aws_access_key_id="key", aws_secret_access_key="secret",
    ).create_bucket(Bucket="lake", CreateBucketConfiguration={"LocationConstraint": REGION})  # fmt: skip
    catalog = load_catalog(
        "lake",
        **{
            "type": "glue",
            "warehouse": "s3://lake/iceberg",
            "glue.endpoint": endpoint,
            "glue.region": REGION,
            "glue.access-key-id": "key",
            "glue.secret-access-key": "secret",
            "s3.endpoint": endpoint,
            "s3.region": REGION,
            "s3.access-key-id": "key",
            "s3.secret-access-key": "secret",
        },
    )
    catalog.create_namespace("shop")
    return catalog


@pytest.fixture(scope="module")
def server() -> Iterator[StarRocksStandIn]:
    with StarRocksStandIn() as running:
        yield running


def catalog_sql(name: str, endpoint: str) -> str:
    return (
        f"CREATE EXTERNAL CATALOG {name} PROPERTIES ('type'='iceberg', "
        f"'iceberg.catalog.type'='glue', 'aws.glue.endpoint'='{endpoint}', "
        f"'aws.glue.region'='{REGION}', 'aws.glue.access_key'='glue-key', "
        f"'aws.glue.secret_key'='glue-secret', 'aws.s3.endpoint'='{endpoint}', "
        f"'aws.s3.region'='{REGION}', 'aws.s3.access_key'='s3-key', "
        "'aws.s3.secret_key'='s3-secret', 'aws.s3.enable_path_style_access'='true')"
    )


@pytest.fixture
def sr(server: StarRocksStandIn, endpoint: str) -> Iterator[Client]:
    client = Client(server.port)
    client("CREATE DATABASE d")
    client("USE d")
    client(catalog_sql("ice", endpoint))
    yield client
    client.connection.close()
    with contextlib.closing(Client(server.port).connection) as cleaner, cleaner.cursor() as cursor:
        cursor.execute("DROP DATABASE d FORCE")
        cursor.execute("DROP CATALOG ice")


@pytest.fixture
def table(lake: Catalog) -> Iterator[Table]:
    created = lake.create_table("shop.orders", SCHEMA, partition_spec=SPEC)
    yield created
    with contextlib.suppress(Exception):
        lake.drop_table("shop.orders")


def rows(partition: int, ids: list[int]) -> pa.Table:
    count = len(ids)
    return pa.table(
        {
            "id": pa.array(ids, pa.int64()),
            "v": pa.array([f"v{i}é" for i in ids], pa.string()),
            "n": pa.array([Decimal(i) / 2 for i in ids], pa.decimal128(38, 4)),
            "at": pa.array(
                [dt.datetime(1955, 6, 1, 23, 59, 59, 997000)] * count, pa.timestamp("us")
            ),
            "b": pa.array([bytes([i % 256, 255]) for i in ids], pa.binary()),
            "source_partition": pa.array([partition] * count, pa.int32()),
        },
        schema=SCHEMA.as_arrow(),
    )


def append(table: Table, data: pa.Table) -> int:
    """Append as `add_files` does, and return the new snapshot's id."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table.append(data)
    snapshot = table.current_snapshot()
    assert snapshot is not None
    return snapshot.snapshot_id


def load_sql(snapshot: int, partition: int = 1, target: str = "t") -> str:
    return (
        f"INSERT OVERWRITE {target} PARTITION(source_partition={partition}) "
        "(`id`, `v`, `n`, `at`, `b`, `source_partition`) SELECT CAST(`id` AS BIGINT), "
        "CAST(`v` AS VARCHAR(20)), CAST(`n` AS DECIMAL(38,4)), CAST(`at` AS DATETIME), `b`, "
        f"CAST(`source_partition` AS INT) FROM ice.shop.orders FOR VERSION AS OF {snapshot} "
        f"WHERE source_partition = {partition}"
    )


def create_target(sr: Client) -> None:
    sr(
        "CREATE TABLE t (id BIGINT NOT NULL, v VARCHAR(20), n DECIMAL(38,4), at DATETIME, "
        "b VARBINARY(8), source_partition INT NOT NULL) DUPLICATE KEY(id) "
        "PARTITION BY (source_partition) DISTRIBUTED BY HASH(id) BUCKETS 1"
    )


def test_catalogs_are_created_without_a_connection(sr: Client) -> None:
    sr(catalog_sql("dead", "http://127.0.0.1:9"))
    assert ("dead", "Iceberg", "") in sr("SHOW CATALOGS")
    assert "already exists" in sr.refused(catalog_sql("dead", "http://127.0.0.1:9"))[1]
    ((_, text),) = sr("SHOW CREATE CATALOG dead")
    assert '"iceberg.catalog.type"  =  "glue"' in text
    assert "glue-secret" not in text
    assert '"aws.glue.secret_key"  =  "gl******et"' in text
    sr("DROP CATALOG dead")
    assert "Unknown catalog" in sr.refused("SELECT * FROM dead.a.b")[1]


def test_a_partition_is_loaded_from_a_pinned_snapshot(sr: Client, table: Table) -> None:
    first = append(table, rows(1, [1, 2, 3]))
    second = append(table, rows(2, [4]))
    create_target(sr)
    sr(load_sql(first))
    assert sr.affected == 3
    assert sr("SELECT * FROM t ORDER BY id") == sr(
        "SELECT * FROM ice.shop.orders WHERE id < 4 ORDER BY id"
    )
    assert sr("SELECT * FROM t WHERE id = 2") == [
        (2, "v2é", Decimal(1), dt.datetime(1955, 6, 1, 23, 59, 59, 997000), b"\x02\xff", 1)
    ]
    sr(load_sql(second, partition=2))
    sr(load_sql(second, partition=3))
    assert sr("SELECT source_partition, COUNT(*) FROM t GROUP BY source_partition ORDER BY 1") == [
        (1, 3), (2, 1),
    ]  # fmt: skip
    assert sr(f"SELECT COUNT(*) FROM ice.shop.orders FOR VERSION AS OF {first}") == [(3,)]
    assert len(sr("SELECT id FROM ice.shop.orders LIMIT 1")) == 1


def test_names_are_lower_cased_for_glue(sr: Client, table: Table) -> None:
    append(table, rows(1, [1]))
    assert sr("SELECT ID FROM ice.SHOP.Orders") == [(1,)]
    sr("SET CATALOG ice")
    assert sr("SHOW DATABASES") == [("shop",)]
    sr("USE shop")
    assert sr("SHOW TABLES") == [("orders",)]
    assert sr("SELECT id FROM orders") == [(1,)]
    sr("SET CATALOG default_catalog")


def test_new_snapshots_are_seen_after_a_refresh_only(sr: Client, table: Table) -> None:
    append(table, rows(1, [1]))
    assert sr("SELECT COUNT(*) FROM ice.shop.orders") == [(1,)]
    snapshot = append(table, rows(1, [2]))
    assert sr("SELECT COUNT(*) FROM ice.shop.orders") == [(1,)]
    unknown = (1064, f"Iceberg snapshot ID does not exists: {snapshot}")
    select = f"SELECT COUNT(*) FROM ice.shop.orders FOR VERSION AS OF {snapshot}"
    assert sr.refused(select) == unknown
    assert sr.refused(select) == unknown  # asking does not refresh
    sr("REFRESH EXTERNAL TABLE ice.shop.orders")
    assert sr(select) == [(2,)]


def test_metadata_are_read_again_after_a_minute(
    sr: Client, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    append(table, rows(1, [1]))
    assert sr("SELECT COUNT(*) FROM ice.shop.orders") == [(1,)]
    append(table, rows(1, [2]))
    assert catalogs.CACHE_SECONDS == 60
    monkeypatch.setattr(catalogs, "CACHE_SECONDS", 0.1)
    time.sleep(0.2)
    assert sr("SELECT COUNT(*) FROM ice.shop.orders") == [(2,)]


def test_an_insert_refreshes_too_late_for_itself(sr: Client, table: Table) -> None:
    append(table, rows(1, [1]))
    create_target(sr)
    assert sr("SELECT COUNT(*) FROM ice.shop.orders") == [(1,)]
    snapshot = append(table, rows(1, [2]))
    expected = f"Iceberg snapshot ID does not exists: {snapshot}"
    assert sr.refused(load_sql(snapshot)) == (1064, expected)
    sr(load_sql(snapshot))
    assert sr.affected == 2


def test_ids_that_are_none(sr: Client, table: Table) -> None:
    snapshot = append(table, rows(1, [1]))
    about = "SELECT COUNT(*) FROM ice.shop.orders FOR VERSION AS OF"
    assert sr.refused(f"{about} 12345") == (1064, "Unsupported type for table version: 12345")
    assert sr.refused(f"{about} 2147483647")[1] == "Unsupported type for table version: 2147483647"
    assert sr.refused(f"{about} 2147483648")[1] == "Iceberg snapshot ID does not exists: 2147483648"
    assert "reference name" in sr.refused(f"{about} '{snapshot}'")[1]
    table.manage_snapshots().create_tag(snapshot, "kept").commit()
    sr("REFRESH EXTERNAL TABLE ice.shop.orders")
    assert sr(f"{about} 'kept'") == [(1,)]


def test_an_old_snapshot_is_read_with_the_current_schema(sr: Client, table: Table) -> None:
    snapshot = append(table, rows(1, [1]))
    with table.update_schema() as update:
        update.rename_column("v", "renamed")
        update.add_column("fresh", StringType())
    assert sr(f"SELECT renamed, fresh FROM ice.shop.orders FOR VERSION AS OF {snapshot}") == [
        ("v1é", None)
    ]
    assert (
        "cannot be resolved"
        in sr.refused(f"SELECT v FROM ice.shop.orders FOR VERSION AS OF {snapshot}")[1]
    )


def test_a_dropped_table_resolves_until_it_is_refreshed(
    sr: Client, lake: Catalog, table: Table
) -> None:
    append(table, rows(1, [1]))
    assert sr("SELECT COUNT(*) FROM ice.shop.orders") == [(1,)]
    lake.drop_table("shop.orders")
    assert sr("SELECT COUNT(*) FROM ice.shop.orders") == [(1,)]
    expected = (5502, f"{AE}Unknown table 'orders'.")
    assert sr.refused("REFRESH EXTERNAL TABLE ice.shop.orders") == expected
    assert sr.refused("SELECT COUNT(*) FROM ice.shop.orders") == expected


def test_types(sr: Client, lake: Catalog) -> None:
    schema = Schema(
        *[
            NestedField(i, name, kind)
            for i, (name, kind) in enumerate(
                {
                    "s": StringType(), "ts": TimestampType(), "tz": TimestamptzType(),
                    "tm": TimeType(), "uu": UUIDType(), "bi": BinaryType(), "fx": FixedType(4),
                    "de": DecimalType(38, 2), "p": IntegerType(),
                }.items(),
                1,
            )
        ]
    )  # fmt: skip
    spec = PartitionSpec(PartitionField(9, 1000, IdentityTransform(), "p"))
    table = lake.create_table("shop.types", schema, partition_spec=spec)
    try:
        append(
            table,
            pa.Table.from_pylist(
                [{"s": "x", "tz": dt.datetime(2020, 1, 1, tzinfo=dt.UTC), "p": 1}],
                schema=schema.as_arrow(),
            ),
        )
        assert [row[:2] for row in sr("DESC ice.shop.types")] == [
            ("s", "VARCHAR(1073741824)"), ("ts", "DATETIME"), ("tz", "DATETIME"), ("tm", "TIME"),
            ("uu", "VARBINARY"), ("bi", "VARBINARY"), ("fx", "UNKNOWN_TYPE"),
            ("de", "DECIMAL(38,2)"), ("p", "INT"),
        ]  # fmt: skip
        assert sr("DESC ice.shop.types")[-1][5] == "partition key"
        assert sr.refused("SELECT fx FROM ice.shop.types") == (
            1064,
            f"{AE}Datatype of external table column [fx] is not supported!.",
        )
        for column in ("uu", "tm"):
            assert "not supported" in sr.refused(f"SELECT {column} FROM ice.shop.types")[1]
        for zone, hour in (("UTC", 0), ("+08:00", 8), ("CST", 8)):
            sr(f"SET time_zone = '{zone}'")
            assert sr("SELECT tz FROM ice.shop.types") == [(dt.datetime(2020, 1, 1, hour),)]
    finally:
        lake.drop_table("shop.types")


def test_added_files_and_deleted_partitions(sr: Client, table: Table) -> None:
    """As the product commits: delete by partition, then add files."""
    create_target(sr)
    for attempt, ids in enumerate(([1, 2], [3])):
        path = f"{table.location()}/data/source_partition=1/{attempt}.parquet"
        with table.io.new_output(path).create(overwrite=True) as out:
            pq.write_table(rows(1, ids), out)
        with table.transaction() as transaction, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            transaction.delete(EqualTo("source_partition", 1))
            transaction.add_files([path], check_duplicate_files=False)
        snapshot = table.current_snapshot()
        assert snapshot is not None
        sr("REFRESH EXTERNAL TABLE ice.shop.orders")
        sr(load_sql(snapshot.snapshot_id))
        assert [i for (i,) in sr("SELECT id FROM t ORDER BY id")] == ids


def test_only_the_partitions_asked_for_are_read(
    sr: Client, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyiceberg.io import pyarrow as reading

    append(table, rows(1, [1]))
    snapshot = append(table, rows(2, [2]))
    create_target(sr)
    read: list[tuple[int, set[int]]] = []
    original = reading.ArrowScan.to_table

    def counted(self: Any, tasks: Any) -> pa.Table:
        tasks = list(tasks)
        read.append((len(tasks), set(self._projected_schema.field_ids)))
        return original(self, tasks)

    monkeypatch.setattr(reading.ArrowScan, "to_table", counted)
    sr(
        f"SELECT SUM(id) FROM ice.shop.orders FOR VERSION AS OF {snapshot} WHERE source_partition = 2"
    )
    assert read == [(1, {1, 6})]


def test_a_million_rows_load_in_seconds(sr: Client, table: Table) -> None:
    count = 1_000_000
    ids = pa.array(range(count), pa.int64())
    texts = pa.compute.binary_join_element_wise("v", ids.cast(pa.string()), "")
    data = pa.table(
        {
            "id": ids,
            "v": texts,
            "n": ids.cast(pa.decimal128(38, 4)),
            "at": ids.cast(pa.timestamp("us")),
            "b": pa.array([b"12"] * count, pa.binary()),
            "source_partition": pa.array([1] * count, pa.int32()),
        },
        schema=SCHEMA.as_arrow(),
    )
    snapshot = append(table, data)
    create_target(sr)
    started = time.perf_counter()
    sr(load_sql(snapshot))
    seconds = time.perf_counter() - started
    assert sr.affected == count
    assert sr("SELECT COUNT(*), SUM(CAST(id AS LARGEINT)), SUM(length(v)) FROM t") == [
        (count, str(count * (count - 1) // 2), 6_888_890)
    ]
    assert seconds < 30, f"{seconds:.1f} s"
