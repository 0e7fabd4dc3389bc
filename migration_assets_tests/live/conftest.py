"""Tests against real servers: collected when MIGRATION_LIVE is set, with the product's settings.

They make a schema `fidelity` in MSSQL_DATABASE, databases `plain_fidelity`, `column_fidelity` and
`text_fidelity` in Glue and StarRocks, and remove them before and after.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import pytest

from migration_assets_tests.fidelity.cases import (
    CHOICES,
    Arrived,
    catalog_of,
    migrate,
    mssql,
    starrocks,
    write,
)
from migration_assets_tests.fidelity.suite import SCHEMA, tables

collect_ignore_glob = [] if os.environ.get("MIGRATION_LIVE") else ["test_*.py"]
_PREFIXES = ("MSSQL_", "AWS_", "S3_", "ICEBERG_", "STARROCKS_", "MIGRATION_")


@pytest.fixture(scope="module")
def arrived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arrived]:
    settings = {k: v for k, v in os.environ.items() if k.startswith(_PREFIXES)}
    clean(settings)
    found = write(settings)
    yield Arrived(migrate(tmp_path_factory.mktemp("fidelity"), settings), found)
    clean(settings)


def clean(settings: Mapping[str, str]) -> None:
    """Remove what these tests make, wherever it is there."""
    with mssql(settings) as connection, connection.cursor() as cursor:
        for name in tables():
            cursor.execute(f"DROP TABLE IF EXISTS {SCHEMA}.{name}")
        cursor.execute(f"DROP SCHEMA IF EXISTS {SCHEMA}")
    catalog = catalog_of(settings)
    for choice in CHOICES:
        namespace = f"{choice or 'plain'}_{SCHEMA}"
        if catalog.namespace_exists(namespace):
            for name in catalog.list_tables(namespace):
                catalog.purge_table(name)
            catalog.drop_namespace(namespace)
        with starrocks(settings) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS `{namespace}` FORCE")
