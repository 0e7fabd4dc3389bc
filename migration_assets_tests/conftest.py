"""What all tests need."""

from __future__ import annotations

import pytest

from migration_assets.errors import ConfigurationError
from migration_assets.mssql.odbc import require_odbc_libraries


def pytest_configure() -> None:
    """Name a missing system library once, not as a linker error in every test."""
    try:
        require_odbc_libraries()
    except ConfigurationError as error:
        pytest.exit(str(error), returncode=2)
