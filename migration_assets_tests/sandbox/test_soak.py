"""Many tables in one go through few connections and a failing S3; `make soak` is the large one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from migration_assets_tests.reliability.soak import LIMITS, SMALL, Soak, sandbox_of, soak

TABLES = sum(size.tables for size in SMALL)
ROWS = sum(size.tables * size.rows for size in SMALL)
FEW = 4
"""Descriptors and threads that may come and go."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Soak]:
    folder = tmp_path_factory.mktemp("soak")
    with sandbox_of(folder, SMALL) as sandbox:
        yield soak(folder, sandbox, every=3, settings={"MIGRATION_CONCURRENT_RUNS": "2"})


def test_all_arrives(found: Soak) -> None:
    assert found.code == 0, found.report.get("failures")
    assert len(found.report["tables"]) == TABLES
    assert found.rows == {"mssql": ROWS, "iceberg": ROWS, "starrocks": ROWS}
    assert found.failed_requests > 0


@pytest.mark.parametrize("server", LIMITS)
def test_connections_stay_below_the_cap_and_none_is_left(found: Soak, server: str) -> None:
    assert found.counters[server].refused == 0
    assert 1 <= found.counters[server].max_open <= LIMITS[server]
    assert found.still_open[server] == 0


def test_what_the_processes_hold_does_not_grow_with_the_tables(found: Soak) -> None:
    looks = found.looks
    assert looks[-1].tables - looks[0].tables >= TABLES // 2
    # The most of the first against the least of the last: what is under way at a look comes on top.
    for held in ("files", "threads"):
        begun = max(getattr(look, held) for look in looks[:2])
        ended = min(getattr(look, held) for look in looks[-2:])
        assert ended <= begun + FEW, looks
