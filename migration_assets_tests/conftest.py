"""What all tests need."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import HealthCheck, settings

from migration_assets.errors import ConfigurationError
from migration_assets.mssql.odbc import require_odbc_libraries

SPARK_TESTS = "migration_assets_tests/spark"

# How long an example takes says more about the machine's other work than about the code.
settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any machine")


def pytest_configure() -> None:
    """Name a missing system library once, not as a linker error in every test."""
    try:
        require_odbc_libraries()
    except ConfigurationError as error:
        pytest.exit(str(error), returncode=2)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end which tests of the Spark engine were left out, why, and how to run them."""
    skipped = [
        report
        for report in terminalreporter.stats.get("skipped", [])
        if report.nodeid.startswith(SPARK_TESTS)
    ]
    if not skipped:
        return
    terminalreporter.section("left out: tests of the Spark engine", yellow=True)
    files = Counter(report.nodeid.split("::")[0] for report in skipped)
    reasons = {report.longrepr[2].removeprefix("Skipped: ") for report in skipped}
    for file, number in sorted(files.items()):
        terminalreporter.line(f"{file}: {number}")
    for reason in sorted(reasons):
        terminalreporter.line(f"Why: {reason}")
    terminalreporter.line(f"Then run them: make test, or .venv/bin/pytest {SPARK_TESTS}")
