"""Every type with its boundary values, through Spark's own JDBC reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.fidelity import invalid_text
from migration_assets_tests.fidelity.cases import (
    Arrived,
    migrate,
    test_every_check_passed,
    test_iceberg_has_every_value,
    test_starrocks_has_every_value,
    write,
)
from migration_assets_tests.fidelity.suite import NEWEST
from migration_assets_tests.sandbox.project import Project

__all__ = [
    "test_every_check_passed",
    "test_iceberg_has_every_value",
    "test_starrocks_has_every_value",
]


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(scale=None) as running:
        yield running


@pytest.fixture(scope="module")
def settings(sandbox: Sandbox, spark_settings: Mapping[str, str]) -> Mapping[str, str]:
    return {**sandbox.settings, **spark_settings, "SPARK_READER": "jdbc"}


@pytest.fixture(scope="module")
def arrived(
    sandbox: Sandbox, settings: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Arrived:
    folder = tmp_path_factory.mktemp("fidelity")
    tables = write(settings, NEWEST)
    Project(folder, settings).run("doctor", "--fix").ok()
    return Arrived(migrate(folder, settings, "spark"), tables)


def test_invalid_text_stops_the_partition(settings: Mapping[str, str], tmp_path: Path) -> None:
    invalid_text.write(settings)
    invalid_text.assert_refused(invalid_text.run(tmp_path / "stop", settings, engine="spark"))


def test_a_refused_snapshot_is_read_without(
    sandbox: Sandbox, settings: Mapping[str, str], tmp_path: Path
) -> None:
    """As the arrow reader does: the database switched it off, or the table does not take it."""
    invalid_text.write(settings, invalid_text.TEXTS[2:])
    control = sandbox.control("sqlserver")
    words = "Snapshot isolation transaction failed accessing database 'shop'."
    control.arm(Fault("error", match="ISOLATION LEVEL SNAPSHOT", number=3952, message=words))
    result = invalid_text.run(tmp_path / "refused", settings, engine="spark")
    control.arm()
    result.ok()
    assert len(invalid_text.arrived(settings)) == len(invalid_text.TEXTS[2:])
