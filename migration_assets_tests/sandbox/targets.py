"""Tables of our own in the stand-ins of Iceberg's lake and of StarRocks, and plans of them."""

from __future__ import annotations

import datetime as dt
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from decimal import Decimal

import pymysql
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.expressions import EqualTo
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import NestedField, PrimitiveType

from migration_assets.plan import TablePlan
from migration_assets.sandbox.launcher import Sandbox
from migration_assets.schema import MssqlType
from migration_assets.settings import LakeSettings, StarRocksSettings
from migration_assets.starrocks import catalog
from migration_assets.starrocks.resource import StarRocks
from migration_assets.type_mapping import arrow_type
from migration_assets_tests.unit.tables import INT, decimal, nvarchar, table_plan

NOW = dt.datetime(2024, 2, 29, 12, 0, 0, 123456, tzinfo=dt.UTC)


def plan(name, **changed):
    table = table_plan(
        [
            ("note", nvarchar(10)),
            ("id", INT),
            ("price", decimal(10, 2)),
            ("at", MssqlType("datetime2", 7, 26, 6)),
            ("day", MssqlType("date", 3)),
            ("flag", MssqlType("bit", 1)),
            ("raw", MssqlType("varbinary", 8)),
            ("big", decimal(38, 0)),
        ],
        key=["id"],
        cuts=["100", "200"],
        name=name,
    )
    values = {**table.model_dump(), "location": f"s3://lake/warehouse/dbo/{name}", **changed}
    return TablePlan.model_validate(values)


def row(number, source_partition, note="Grüße 😀"):
    return {
        "note": note,
        "id": number,
        "price": Decimal(number) / 4,
        "at": dt.datetime(1955, 6, 1, 12, 0, 0, 500000),
        "day": dt.date(1, 1, 1) if number % 2 else None,
        "flag": number % 2 == 0,
        "raw": bytes([0, 255, number % 256]),
        "big": -(10**37) - number,
        "migrated_at": NOW,
        "source_schema": "dbo",
        "source_partition": source_partition,
    }


def as_read(values):
    """The row as pymysql shows it: the columns in StarRocks' order, key first."""
    shown = {**values, "flag": int(values["flag"]), "big": Decimal(values["big"])}
    shown["migrated_at"] = NOW.replace(tzinfo=None)
    note = shown.pop("note")
    number = shown.pop("id")
    return (number, note, *shown.values())


@dataclass
class Bench:
    """The stand-ins, and what a test does to them from the side."""

    sandbox: Sandbox
    settings: StarRocksSettings
    lake: LakeSettings

    def __post_init__(self):
        location = {"region": self.lake.region, "endpoint": self.lake.endpoint_url}
        keys = {
            "access-key-id": self.lake.access_key_id,
            "secret-access-key": self.lake.secret_access_key.get_secret_value(),
        }
        properties = {
            f"{service}.{key}": value
            for service in ("s3", "glue")
            for key, value in {**location, **keys}.items()
        }
        self.catalog = load_catalog("lake", type="glue", **properties)
        self.catalog.create_namespace_if_not_exists("dbo")

    @property
    def control(self):
        return self.sandbox.control("starrocks")

    def create(self, table):
        """Create the Iceberg table of a plan, field ids as planned."""
        fields = [
            NestedField(
                column.field_id,
                column.name,
                PrimitiveType.model_validate(column.iceberg_type),
                required=not column.nullable,
            )
            for column in table.target_columns
        ]
        by = next(f for f in fields if f.name == "source_partition")
        spec = PartitionSpec(PartitionField(by.field_id, 1000, IdentityTransform(), by.name))
        name = f"{table.namespace}.{table.iceberg_table}"
        self.catalog.create_table(name, Schema(*fields), table.location, spec)

    def commit(self, table, source_partition, rows):
        """Replace a partition of the Iceberg table; returns the new snapshot's id."""
        import pyarrow as pa

        schema = pa.schema(
            [
                pa.field(c.name, arrow_type(c.iceberg_type), nullable=c.nullable)
                for c in table.target_columns
            ]
        )
        held = self.catalog.load_table(f"{table.namespace}.{table.iceberg_table}")
        chosen = EqualTo("source_partition", source_partition)
        with held.transaction() as transaction:
            if held.scan(chosen).to_arrow().num_rows:
                transaction.delete(chosen)
            transaction.append(pa.Table.from_pylist(rows, schema))
        return held.current_snapshot().snapshot_id

    def read(self, sql):
        """Ask StarRocks without the product."""
        connection = pymysql.connect(
            host=self.settings.host,
            port=self.settings.port,
            user=self.settings.user,
            password=self.settings.password.get_secret_value(),
            autocommit=True,
        )
        with closing(connection), connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def rows(self, table):
        """All rows of the StarRocks table, by id."""
        return self.read(f"SELECT * FROM `dbo`.`{table.starrocks_table}` ORDER BY id")

    def await_closed(self):
        """Wait until no connection is open: a server sees a closed socket a moment later."""
        deadline = time.monotonic() + 10
        while self.control.state().open and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.control.state().open


def settings_of(sandbox, **changed):
    named = {
        name.removeprefix("STARROCKS_").lower(): value
        for name, value in sandbox.settings.items()
        if name.startswith("STARROCKS_")
    }
    return StarRocksSettings(_env_file=None, **{**named, **changed})


@contextmanager
def running():
    """Start both stand-ins, with the catalog in StarRocks that reads the lake."""
    with Sandbox(["aws", "starrocks"]) as sandbox:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in sandbox.settings.items():
                patch.setenv(name, value)
            lake = LakeSettings(_env_file=None)
        bench = Bench(sandbox, settings_of(sandbox), lake)
        with StarRocks(bench.settings) as client:
            catalog.create_catalog(client, lake)
        yield bench
