"""What the documents say of the code is true: commands, targets, variables, types, files, keys."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from pydantic_settings import BaseSettings

from migration_assets import settings
from migration_assets.choices import VerificationLevel
from migration_assets.cli import cli
from migration_assets.rules import DefaultRules, Rules, TableRules
from migration_assets.type_report import type_table

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
SETTINGS = [
    settings.MssqlSettings,
    settings.LakeSettings,
    settings.StarRocksSettings,
    settings.SparkSettings,
    settings.RetrySettings,
    settings.AlertSettings,
    settings.ProjectSettings,
]


def variables(cls: type[BaseSettings]) -> Iterator[tuple[str, Any]]:
    """Each environment variable of a settings class with its field."""
    for name, field in cls.model_fields.items():
        alias = field.validation_alias
        prefix = cls.model_config.get("env_prefix", "")
        yield alias if isinstance(alias, str) else f"{prefix}{name}".upper(), field


def code_lines(text: str, language: str) -> list[str]:
    """Lines of the fenced blocks of a language, continuation lines joined."""
    blocks = re.findall(rf"^[ ]*```{language}\n(.*?)^[ ]*```", text, re.MULTILINE | re.DOTALL)
    return "\n".join(blocks).replace("\\\n", " ").splitlines()


def test_all_settings_classes_are_looked_at() -> None:
    declared = {
        value
        for name, value in vars(settings).items()
        if isinstance(value, type) and issubclass(value, BaseSettings) and not name.startswith("_")
    }
    assert declared - {BaseSettings} == set(SETTINGS)


def test_readme_s_type_table_is_the_generated_one() -> None:
    shown = README.split("<!-- types: begin -->\n")[1].split("<!-- types: end -->")[0]
    assert shown == type_table(), "put `python -m migration_assets.type_report` into README.md"


def test_env_example_lists_exactly_the_variables_of_settings() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    listed = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", text, re.MULTILINE)
    expected = {name: field for cls in SETTINGS for name, field in variables(cls)}
    assert sorted(name for name, _ in listed) == sorted(expected)
    for name, shown in listed:
        default = expected[name].default
        if expected[name].is_required() or default in (None, "") or "Secret" in str(type(default)):
            assert shown == "", name
        else:
            assert shown == str(default).replace("True", "true").replace("False", "false"), name


def test_env_example_explains_each_variable_in_one_line() -> None:
    lines = (ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    for before, line in pairwise(lines):
        if re.match(r"(# )?[A-Z][A-Z0-9_]+=", line):
            assert re.match(r"# [A-Za-z].*[^=]$", before), line
            assert not re.match(r"# [A-Z0-9_]+=", before), line


def test_env_example_as_it_stands_sets_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that nobody filled in is the same as no file: empty values do not count."""
    for cls in SETTINGS:
        for name, _ in variables(cls):
            monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    before = settings.LakeSettings.load()
    (tmp_path / ".env").write_text((ROOT / ".env.example").read_text(encoding="utf-8"))
    assert settings.LakeSettings.load() == before


def commands() -> list[str]:
    lines = [line for path in DOCUMENTS for line in code_lines(path.read_text("utf-8"), "sh")]
    inline = [
        text
        for path in DOCUMENTS
        for text in re.findall(r"`(migration-assets [^`]+)`", path.read_text("utf-8"))
    ]
    in_blocks = [
        found
        for line in lines
        for found in re.findall(r"(migration-assets [^;\"#)]*)", line.split(" #")[0])
    ]
    return sorted({text.strip() for text in [*inline, *in_blocks]})


def test_there_are_commands_to_look_at() -> None:
    assert len(commands()) > 15


@pytest.mark.parametrize("command", commands())
def test_a_documented_command_exists_with_its_options(command: str) -> None:
    words = [word for word in shlex.split(command)[1:] if not re.search(r"…|^\[", word)]
    group: click.Command = cli
    while isinstance(group, click.Group):
        group = group.commands[words.pop(0)]
    # Parsing checks options and choices, and runs nothing. Below the real parent: a command keeps
    # the help option of its first context.
    parent = click.Context(cli, **cli.context_settings)
    if not any(isinstance(p, click.Argument) and p.required for p in group.params) or words:
        group.make_context(str(group.name), words, parent=parent)


def test_every_command_of_the_cli_is_in_the_readme() -> None:
    for name in cli.commands:
        assert re.search(rf"migration-assets {name}\b|make {name}\b", README), name


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):(?!=)", text, re.MULTILINE))


def test_documented_make_targets_exist() -> None:
    named = {
        target
        for path in DOCUMENTS
        for target in re.findall(
            r"(?:^|[`(;&] ?)make ([a-z-]+)", path.read_text("utf-8"), re.MULTILINE
        )
    }
    assert {"demo", "test", "dev"} <= named
    assert named <= make_targets()


def test_the_layout_names_what_exists() -> None:
    layout = README.split("## Layout")[1].split("```")[1]
    named = 0
    for line in layout.splitlines():
        folder = ROOT / "migration_assets" if line.startswith("  ") else ROOT
        for entry in re.findall(r"[\w/-]+\.(?:py|md|yaml)|^ *\w+/", line):
            assert (folder / entry.strip()).exists(), entry
            named += 1
    assert named > 20


def test_every_package_and_module_is_in_the_layout() -> None:
    layout = README.split("## Layout")[1].split("```")[1]
    for path in sorted((ROOT / "migration_assets").iterdir()):
        if path.name.startswith(("_", ".")) or path.suffix not in {"", ".py"}:
            continue
        assert re.search(rf"\b{re.escape(path.name)}\b", layout), path.name


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text("utf-8")):
        assert "://" in target or (path.parent / target).exists(), target


def test_the_rules_table_has_exactly_the_keys_of_a_table() -> None:
    section = README.split("## migration.yaml")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    shown = {(name, star) for cell in cells for name, star in re.findall(r"`(\w+)`(\*?)", cell)}
    common = set(DefaultRules.model_fields)
    assert shown == {
        (name, "" if name in common else "*") for name in TableRules.model_fields
    }  # fmt: skip


def test_the_rules_example_is_valid() -> None:
    example = "\n".join(code_lines(README.split("## migration.yaml")[1], "yaml")[:11])
    rules = Rules.model_validate(yaml.safe_load(example))
    assert rules.for_table("sales.Orders").exclude_columns == ("Shape",)
    assert rules.for_table("sales.Orders").partitions == 64


def test_the_levels_are_explained() -> None:
    verification = (ROOT / "docs" / "verification.md").read_text(encoding="utf-8")
    for level in VerificationLevel:
        assert f"**`{level.value}`**" in verification
        assert f"| `{level.value}`" in README


def test_the_libraries_named_are_those_that_are_looked_for() -> None:
    from migration_assets.mssql.odbc import INSTALL_COMMANDS

    for system in ("Debian, Ubuntu", "RHEL, Fedora"):
        assert f"`{INSTALL_COMMANDS[system]}`" in README


def test_the_python_example_uses_what_there_is() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = re.search(r"from migration_assets\.operations import (.*)", example)
    assert names is not None
    from migration_assets import operations

    assert {name.strip() for name in names[1].split(",")} == set(operations.__all__)
    compile(example, "README.md", "exec")


def test_the_exit_codes_are_those_of_the_cli() -> None:
    from migration_assets.commands.arguments import FAILED, INTERRUPTED, OK, WRONG_USE

    section = README.split("### Exit codes")[1].split("###")[0]
    shown = re.findall(r"^\| (\d+) \|", section, re.MULTILINE)
    assert shown == [str(code) for code in (OK, FAILED, WRONG_USE, INTERRUPTED)]


def test_the_compute_log_manager_of_the_readme_can_be_configured() -> None:
    (block,) = [
        block
        for block in re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
        if "compute_logs" in block
    ]
    wanted = yaml.safe_load(block)["compute_logs"]
    import importlib

    from dagster._config import process_config

    manager = getattr(importlib.import_module(wanted["module"]), wanted["class"])
    assert process_config(manager.config_type(), wanted["config"]).success
