"""The generated pages are those that the code would write now."""

from __future__ import annotations

from pathlib import Path

import pytest

from migration_assets import settings
from migration_assets.cli import cli
from migration_assets.cli_report import cli_page, helps
from migration_assets.settings_report import fields, settings_page

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("name", "page"), [("settings", settings_page), ("cli", cli_page)], ids=["settings", "cli"]
)
def test_the_page_is_the_one_that_is_written_now(name: str, page) -> None:
    shown = (DOCS / f"{name}.md").read_text(encoding="utf-8")
    command = f"python -m migration_assets.{name}_report > docs/{name}.md"
    assert shown == page(), f"run `{command}`"


def test_every_variable_has_a_line_with_its_type_default_and_secrecy() -> None:
    lines = {line.split("`")[1]: line for line in settings_page().splitlines() if line[:3] == "| `"}
    assert lines.keys() == fields().keys()
    expected = {
        "MSSQL_PORT": "whole number from 1 to 65535 | `1433` | - |",
        "MSSQL_PASSWORD": "text | required | secret |",
        "STARROCKS_PASSWORD": "text | - | secret |",
        "STARROCKS_TLS": "`no`, `prefer`, `yes` | `prefer` | - |",
        "MIGRATION_TABLE_JOBS": "`true`, `false` | `true` | - |",
        "MIGRATION_RETRY_WITHIN_S": "number above 0 | `7200.0` | - |",
        "MIGRATION_CONCURRENT_RUNS": f"whole number from 1 to {settings.MAX_CONCURRENT_RUNS} | - |",
        "MIGRATION_PLAN": "text | `migration_plan.json` | - |",
    }
    for name, cells in expected.items():
        assert f"| `{name}` | {cells}" in lines[name]


def test_a_variable_that_settings_do_not_know_is_no_line_of_its_own() -> None:
    with pytest.raises(KeyError):
        settings_page("# --- A\n# What.\n# NOBODY=1\n")


def test_every_command_is_there_with_the_help_that_a_terminal_shows() -> None:
    shown = dict(helps())
    for name in cli.commands:
        assert shown["migration-assets", name].startswith(f"Usage: migration-assets {name} ")
    assert "migration-assets sandbox start" in shown["migration-assets", "sandbox", "start"]
    assert max(len(line) for text in shown.values() for line in text.splitlines()) <= 80
