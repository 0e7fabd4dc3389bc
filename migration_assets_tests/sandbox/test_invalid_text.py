"""A surrogate without its partner has no form in UTF-8; the driver replaces it without a word."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.fidelity import invalid_text


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(["sqlserver", "aws"], scale=None) as running:
        yield running


@pytest.mark.parametrize("level", ["full", "none"])
def test_it_stops_the_partition(sandbox: Sandbox, tmp_path: Path, level: str) -> None:
    invalid_text.write(sandbox.settings)
    result = invalid_text.run(tmp_path / "stop", sandbox.settings, level=level)
    invalid_text.assert_refused(result)


def test_it_may_be_replaced_by_rule(sandbox: Sandbox, tmp_path: Path) -> None:
    invalid_text.write(sandbox.settings)
    invalid_text.run(tmp_path / "replace", sandbox.settings, choice="replace").ok()
    assert invalid_text.arrived(sandbox.settings) == {
        0: "a\ufffdb", 1: "\ufffd", 2: "\ufffd", 3: "?", 4: "ok 😀",
    }  # fmt: skip


def test_what_only_looks_like_it_is_copied(sandbox: Sandbox, tmp_path: Path) -> None:
    invalid_text.write(sandbox.settings, invalid_text.TEXTS[2:])
    invalid_text.run(tmp_path / "valid", sandbox.settings).ok()
