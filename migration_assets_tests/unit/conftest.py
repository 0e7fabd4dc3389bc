"""A local lake, a table planned in it, and swaps of its metadata that go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migration_assets.iceberg.lake import Lake
from migration_assets.plan import TablePlan
from migration_assets_tests.unit.catalog_swaps import Swap, planned_swaps
from migration_assets_tests.unit.iceberg_tables import local_lake, planned_table


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    with local_lake(tmp_path / "warehouse") as lake:
        yield lake


@pytest.fixture
def table(lake: Lake) -> TablePlan:
    return planned_table(lake.settings.warehouse)


@pytest.fixture
def swaps(monkeypatch: pytest.MonkeyPatch) -> list[Swap]:
    """What happens at the next swaps: each takes the real swap and may call it or not."""
    return planned_swaps(monkeypatch)
