"""Spark's executors read from the database snapshot, with either reader, in runs that lie apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.compute as pc
import pytest

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox import bank, sources
from migration_assets_tests.sandbox.project import Project, iceberg_catalog

RULES = """
consistency: database_snapshot
namespace_prefix: {}_
defaults: {{engine: spark}}
tables: {{dbo.accounts: {{partitions: 8}}}}
"""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    script = tmp_path_factory.mktemp("bank") / "tables.sql"
    script.write_text(bank.SCRIPT, encoding="utf-8")
    words = {"sqlserver": [f"--script={script}"]}
    with Sandbox(["sqlserver", "aws"], scale=None, extra_arguments=words) as running:
        yield running


@pytest.mark.parametrize("reader", ["arrow", "jdbc"])
def test_the_total_arrives(
    sandbox: Sandbox, spark_settings: dict[str, str], tmp_path: Path, reader: str
) -> None:
    (tmp_path / "migration.yaml").write_text(RULES.format(reader), encoding="utf-8")
    given = {"S3_WAREHOUSE_PATH": reader, "SPARK_READER": reader}
    project = Project(tmp_path, {**sandbox.settings, **spark_settings, **given})
    project.run("plan").ok()
    for keys in ("p000,p001,p002", "p003,p004,p005,p006,p007"):
        project.run("run", "--partitions", keys, "--until", "iceberg").ok()
        with sources.client(sandbox) as client:
            for n in range(3):
                bank.transfer(client.query, bank.ACCOUNTS - 1 - n, n, 10)
    project.run("snapshot", "drop").ok()
    table = iceberg_catalog(project.settings).load_table((f"{reader}_dbo", "accounts"))
    assert pc.sum(table.scan().to_arrow()["balance"]).as_py() == bank.TOTAL
    for snapshot in table.snapshots():
        assert snapshot.summary is not None
        said = snapshot.summary.additional_properties
        assert said["migration.source.consistency"] == "database snapshot"
