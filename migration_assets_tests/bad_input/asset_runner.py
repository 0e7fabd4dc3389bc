"""Meets a case on the Dagster definitions: spoils what lies in S3, and makes one asset."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import boto3
import dagster as dg

from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.definitions import build_definitions
from migration_assets.plan import MigrationPlan
from migration_assets_tests.bad_input.case import Kind, StoredCase, spoil
from migration_assets_tests.bad_input.runner import Bench
from migration_assets_tests.sandbox.project import iceberg_catalog, starrocks_rows

TABLE, KEY = "dbo.Items", "p000"
ROWS = [(1, "one"), (2, "two")]


@dataclass
class Assets:
    """The definitions of the bench's plan, made into the sandbox in this process."""

    bench: Bench
    plan: MigrationPlan
    definitions: dg.Definitions
    instance: dg.DagsterInstance
    settings: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = self.bench.sandbox.settings
        self.translator = MigrationTranslator()
        keys = {
            "aws_access_key_id": self.settings["AWS_ACCESS_KEY_ID"],
            "aws_secret_access_key": self.settings["AWS_SECRET_ACCESS_KEY"],
        }
        self.s3 = boto3.client(
            "s3", endpoint_url=self.settings["AWS_ENDPOINT_URL"],
            region_name=self.settings["AWS_REGION"], **keys,
        )  # fmt: skip

    def make(self, *stages: Stage, table: str = TABLE) -> str:
        """Materialize assets of a table's first partition; returns what a failure says."""
        planned = self.plan.table(table)
        wanted = [self.translator.asset_key(stage, planned) for stage in stages]
        with patch.dict(os.environ, dict(self.settings)), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Dagster's are none of ours, as in a worker process
            result = dg.materialize(
                list(self.definitions.assets or ()), selection=wanted, partition_key=KEY,
                instance=self.instance, resources=dict(self.definitions.resources or {}),
                raise_on_error=False,
            )  # fmt: skip
        if result.success:
            return ""
        failed = [event for event in result.all_events if event.is_step_failure]
        assert failed, [event.message for event in result.all_events][-5:]
        data = failed[0].step_failure_data
        assert data.user_failure_data is not None, f"no Failure of ours: {data.error}"
        return str(data.user_failure_data.description)

    def make_all(self, table: str = TABLE) -> str:
        """Migrate a table's first partition; returns what a failure says."""
        return self.make(*Stage, table=table)

    def receipt(self, stage: Stage, table: str = TABLE) -> str:
        """The S3 key of the receipt that an asset stored."""
        path = self.translator.asset_key(stage, self.plan.table(table)).path
        return "/".join(["warehouse/.migration/receipts", self.plan.database, *path, f"{KEY}.json"])

    def data_file(self, table: str = TABLE) -> str:
        """The S3 key of the data file that the newest extract wrote."""
        (file,) = json.loads(self.read(self.receipt(Stage.MSSQL, table)))["files"]
        return str(file["path"]).removeprefix("s3://lake/")

    def read(self, key: str) -> bytes:
        """An object of the lake."""
        return bytes(self.s3.get_object(Bucket="lake", Key=key)["Body"].read())

    def replace(self, key: str, content: bytes | None) -> None:
        """Put another content into an object; None removes it."""
        if content is None:
            self.s3.delete_object(Bucket="lake", Key=key)
        else:
            self.s3.put_object(Bucket="lake", Key=key, Body=content)

    def meet(self, case: StoredCase) -> str:
        """Make the assets before the case's, spoil what they stored, and make the case's."""
        before = {
            Stage.ICEBERG: (Stage.MSSQL,), Stage.STARROCKS: (Stage.MSSQL, Stage.ICEBERG),
        }[case.reader]  # fmt: skip
        if case.kind is Kind.PARQUET:
            assert self.make(*before) == ""
            key = self.data_file()
        else:
            key = self.receipt(before[-1])
        good = self.read(key)
        if case.other:
            is_file = case.kind is Kind.PARQUET
            source = self.data_file(case.other) if is_file else self.receipt(before[-1], case.other)
            content: bytes | None = self.read(source)
        else:
            content = None if case.spoilt is None else spoil(case.spoilt, good)
        self.replace(key, content)
        try:
            return self.make(case.reader)
        finally:
            self.replace(key, good)

    def rows(self) -> tuple[Sequence[Any], Sequence[Any]]:
        """What Iceberg and StarRocks hold of the table."""
        held = iceberg_catalog(self.settings).load_table(("dbo", "items"))
        found = held.scan(selected_fields=("id", "name")).to_arrow().to_pylist()
        loaded = starrocks_rows(self.settings, "SELECT id, name FROM dbo.items ORDER BY id")
        return sorted(tuple(row.values()) for row in found), loaded


@contextmanager
def assets(bench: Bench) -> Iterator[Assets]:
    """The definitions of the bench's plan, with two tables migrated."""
    plan = MigrationPlan.load(bench.good / "migration_plan.json")
    with dg.DagsterInstance.ephemeral() as instance:
        made = Assets(bench, plan, build_definitions(plan, table_jobs=False), instance)
        for table in (TABLE, "dbo.Twin"):
            assert made.make_all(table) == ""
        yield made
