"""What a source and its two copies hold, and which files nothing names: read without the product."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
import pymssql
from pyiceberg.table import Table

from migration_assets_tests.sandbox.project import iceberg_catalog, starrocks_rows

RECEIPTS = ".migration/"
"""Where receipts, intents and notes are, below the warehouse: none of them is an orphan."""

Rows = Counter[tuple[Any, ...]]


@dataclass(frozen=True)
class Difference:
    """How a copy differs from its source.

    Attributes:
        lost: rows of the source that the copy has not, or not as often.
        doubled: rows of the copy that the source has not, or not as often.
    """

    lost: int = 0
    doubled: int = 0


def difference(source: Rows, copy: Rows) -> Difference:
    """Compare by value; a changed row is one lost and one doubled."""
    return Difference((source - copy).total(), (copy - source).total())


def rows_in(settings: Mapping[str, str], table: Mapping[str, Any]) -> dict[str, Rows]:
    """The rows of a table in each of the three systems, its planned columns in their order.

    Args:
        settings: of the sandbox.
        table: of the plan, as plain JSON; its types must read the same from all three drivers.
    """
    columns = [(column["source_name"], column["name"]) for column in table["columns"]]
    sources = ", ".join(f"[{source}]" for source, _ in columns)
    names = [name for _, name in columns]
    with (
        closing(
            pymssql.connect(
                server=settings["MSSQL_HOST"], port=settings["MSSQL_PORT"],
                user=settings["MSSQL_USER"], password=settings["MSSQL_PASSWORD"],
                database=settings["MSSQL_DATABASE"],
            )
        ) as connection,
        connection.cursor() as cursor,
    ):  # fmt: skip
        cursor.execute(f"SELECT {sources} FROM [{table['source_schema']}].[{table['source_name']}]")
        source = Counter(cursor.fetchall())
    held = iceberg_catalog(settings).load_table((table["namespace"], table["iceberg_table"]))
    lake = held.scan(selected_fields=tuple(names)).to_arrow().select(names)
    loaded = starrocks_rows(
        settings,
        f"SELECT {', '.join(f'`{name}`' for name in names)} "
        f"FROM `{table['starrocks_database']}`.`{table['starrocks_table']}`",
    )
    return {
        "mssql": source,
        "iceberg": Counter(zip(*(column.to_pylist() for column in lake.columns), strict=True)),
        "starrocks": Counter(loaded),
    }


@dataclass(frozen=True)
class Leftovers:
    """What lies in the bucket and is named by no snapshot, no metadata and no receipt.

    Attributes:
        files: keys of objects.
        uploads: keys of uploads that were never completed; they are no objects.
    """

    files: frozenset[str] = frozenset()
    uploads: tuple[str, ...] = ()

    def of(self, table: Mapping[str, Any], folder: str) -> list[str]:
        """Those of a table in its folder, `data` or `metadata`."""
        root = f"{_key(table['location'])}/{folder}/"
        return sorted(key for key in self.files if key.startswith(root))


def leftovers(settings: Mapping[str, str]) -> Leftovers:
    """Look through the whole warehouse."""
    keys = {
        "endpoint_url": settings["AWS_ENDPOINT_URL"], "region_name": settings["AWS_REGION"],
        "aws_access_key_id": settings["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": settings["AWS_SECRET_ACCESS_KEY"],
    }  # fmt: skip
    bucket, root = settings["S3_BUCKET"], settings["S3_WAREHOUSE_PATH"] + "/"
    with closing(boto3.client("s3", **keys)) as s3:
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=root)
        stored = {entry["Key"] for page in pages for entry in page.get("Contents", [])}
        begun = s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
        ours = {key for key in stored if key.startswith(root + RECEIPTS)}
        named: set[str] = set()
        for key in ours:
            text = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            if key.endswith(".json"):
                named |= set(_paths(json.loads(text)))
    with closing(iceberg_catalog(settings)) as catalog:
        for namespace in catalog.list_namespaces():
            for name in catalog.list_tables(namespace):
                named |= set(_referred(catalog.load_table(name)))
    found = stored - ours - {_key(uri) for uri in named}
    return Leftovers(frozenset(found), tuple(sorted(upload["Key"] for upload in begun)))


def _referred(table: Table) -> Iterator[str]:
    """Every file that the table's metadata leads to, its listed snapshots and earlier metadata."""
    yield table.metadata_location
    yield from (entry.metadata_file for entry in table.metadata.metadata_log)
    for snapshot in table.snapshots():
        yield snapshot.manifest_list
        for manifest in snapshot.manifests(table.io):
            yield manifest.manifest_path
            for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
                yield entry.data_file.file_path


def _paths(value: Any) -> Iterable[str]:
    """The URIs anywhere in JSON."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [path for one in value for path in _paths(one)]
    return [value] if isinstance(value, str) and value.startswith("s3://") else []


def _key(uri: str) -> str:
    return urlsplit(uri).path.lstrip("/")
