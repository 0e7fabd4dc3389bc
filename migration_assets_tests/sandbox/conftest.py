"""The database whose tables all hold the same rows, for the tests of faults and resumption."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from migration_assets_tests.sandbox.bench import Bench, running


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Stand-ins and a planned project, for one module."""
    with running(tmp_path_factory.mktemp("faults")) as made:
        yield made
