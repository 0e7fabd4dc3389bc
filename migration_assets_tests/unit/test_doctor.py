"""The doctor's probe of a local lake, with its real catalog and files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from migration_assets.operations.doctor import PROBE, _examine_lake


@pytest.fixture
def warehouse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A local lake's folder, not made yet."""
    for name in list(os.environ):
        if name.startswith(("AWS_", "S3_", "ICEBERG_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ICEBERG_CATALOG_TYPE", "sql")
    return tmp_path / "warehouse"


def left_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_it_leaves_nothing_behind_in_a_local_warehouse(warehouse: Path) -> None:
    for _ in range(2):
        findings = list(_examine_lake())
        assert [finding.ok for finding in findings] == [True] * len(findings), findings
        assert left_in(warehouse) == {"catalog.db"}


def test_it_leaves_what_is_not_its_own(warehouse: Path) -> None:
    kept = [
        warehouse / PROBE / "mine.txt",
        warehouse / ".migration" / "receipts" / "shop" / "p000.json",
        warehouse / "dbo" / "t" / "data.parquet",
    ]
    for path in kept:
        path.parent.mkdir(parents=True)
        path.touch()
    (warehouse / "empty").mkdir()
    assert all(finding.ok for finding in _examine_lake())
    assert {path for path in warehouse.rglob("*") if path.is_file()} == {
        *kept, warehouse / "catalog.db"
    }  # fmt: skip
    assert (warehouse / "empty").is_dir()
