"""Every type with its boundary values, against the servers that the settings name."""

from __future__ import annotations

from migration_assets_tests.fidelity.cases import (
    test_every_check_passed,
    test_iceberg_has_every_value,
    test_starrocks_has_every_value,
)

__all__ = [
    "test_every_check_passed",
    "test_iceberg_has_every_value",
    "test_starrocks_has_every_value",
]
