"""Every type with its boundary values, through the arrow engine; the same tests as in `live/`."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.fidelity.cases import (
    Arrived,
    migrate,
    test_every_check_passed,
    test_iceberg_has_every_value,
    test_starrocks_has_every_value,
    write,
)
from migration_assets_tests.fidelity.suite import NEWEST
from migration_assets_tests.fidelity.values import LOSSY
from migration_assets_tests.sandbox.project import Project

__all__ = [
    "test_every_check_passed",
    "test_iceberg_has_every_value",
    "test_starrocks_has_every_value",
]


@pytest.fixture(scope="module")
def arrived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Arrived]:
    folder = tmp_path_factory.mktemp("fidelity")
    with Sandbox(scale=None) as sandbox:
        # The stand-in calls itself an older one, and has the types of all.
        tables = write(sandbox.settings, NEWEST)
        Project(folder, sandbox.settings).run("doctor", "--fix").ok()
        yield Arrived(migrate(folder, sandbox.settings), tables)


def test_what_is_lost_is_counted_and_told(arrived: Arrived) -> None:
    project = arrived.projects[""]
    project.run("plan", "--measure", "--output", "measured.json").ok()
    measured = json.loads((project.folder / "measured.json").read_text())
    (table,) = [t for t in measured["tables"] if t["source_name"] == "moments"]
    affected = {column["source_name"]: column["affected"] for column in table["columns"]}
    for kind in arrived.tables["moments"]:
        lost = [
            v for v in kind.values if any(v.added.get(s) for s in LOSSY.get(kind.declaration, ()))
        ]
        wanted = len(lost) if kind.declaration in LOSSY else None
        assert affected[kind.column] == wanted, kind.declaration
