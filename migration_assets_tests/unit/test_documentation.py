"""What the documents say of the code is true: commands, targets, variables, types, files, keys."""

from __future__ import annotations

import re
import shlex
import tomllib
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import click
import pytest
import yaml
from pydantic_settings import BaseSettings

from migration_assets import settings
from migration_assets.choices import VerificationLevel
from migration_assets.cli import cli
from migration_assets.renamed_settings import RENAMED
from migration_assets.rules import Rules
from migration_assets.settings import variables
from migration_assets.table_rules import TableRules
from migration_assets.type_report import type_table
from migration_assets_tests import documents
from migration_assets_tests.documents import PLACES, blocks

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *PAGES]


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
    assert declared - {BaseSettings} == set(settings.SETTINGS)


def page(name: str) -> str:
    return (ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")


def between(text: str, name: str) -> str:
    return text.split(f"<!-- {name}: begin -->\n")[1].split(f"<!-- {name}: end -->", maxsplit=1)[0]


def test_the_type_tables_are_the_generated_ones() -> None:
    command = "python -m migration_assets.type_report"
    assert between(page("types"), "types") == type_table(), f"put `{command}` into docs/types.md"
    short = between(README, "types")
    assert short == type_table(short=True), f"put `{command} --short` into README.md"


def test_env_example_lists_exactly_the_variables_of_settings() -> None:
    text = (ROOT / ".env.example").read_text(encoding="utf-8")
    listed = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]+)=(.*)$", text, re.MULTILINE)
    expected = {name: field for cls in settings.SETTINGS for name, field in variables(cls).items()}
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
    for cls in settings.SETTINGS:
        for name in variables(cls):
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
        with suppress(click.exceptions.Exit):  # --help ends by it
            group.make_context(str(group.name), words, parent=parent)


def test_every_command_of_the_cli_is_in_a_page_that_somebody_wrote() -> None:
    written = "\n".join(
        [README, *(path.read_text("utf-8") for path in PAGES if path.stem != "cli")]
    )
    for name in cli.commands:
        assert re.search(rf"migration-assets {name}\b|make {name}\b", written), name


def test_each_block_of_commands_is_run_or_says_why_not() -> None:
    """What is run where: sandbox/test_documents.py and sandbox/test_dagster_cli.py."""
    found = blocks()
    assert len(found) > 30
    for block in found:
        assert set(block.marks) <= {"not run", "run in", "exits"}, block.name
        assert block.place in PLACES, block.name
        if block.not_run is None:
            assert not re.search(r"…|<[a-z ]+>", block.text), f"{block.name}: what stands for what?"
        else:
            assert len(block.not_run) > 10, f"{block.name}: why is it not run?"
            assert set(block.marks) == {"not run"}, block.name
            for test in re.findall(r"\b\w+/test_\w+\.py", block.not_run):
                assert (ROOT / "migration_assets_tests" / test).exists(), test


def test_the_old_script_s_settings_have_their_counterparts() -> None:
    table = between(page("from-the-old-script"), "settings")
    known = {name for cls in settings.SETTINGS for name in variables(cls)} | {"JDBC_FETCH_SIZE"}
    named = set()
    for line in table.splitlines()[2:]:
        old, new = line.strip("| ").split(" | ")
        for name in re.findall(r"`(\w+)`", old):
            named.add(name)
            stays = new.startswith("as ")
            assert (name in known) is stays, name
            assert (name in RENAMED) is not stays, name
        for name in re.findall(r"`([A-Z]+_\w+)`", new):
            assert name in known, name
    # Those of its .env.example.
    assert len(named) == 41
    assert not set(RENAMED) & known


def test_the_versions_are_those_of_the_lock_file() -> None:
    locked = {
        entry["name"]: entry["version"]
        for entry in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]
        if "version" in entry
    }
    rows = re.findall(
        r"^\| (\S+) \| ([\d.]+) \|$", between(page("compatibility"), "versions"), re.M
    )
    assert len(rows) > 8
    assert dict(rows) == {name: locked[name] for name, _ in rows}


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


def test_the_rules_table_has_the_keys_of_a_table() -> None:
    cells = [
        line.split("|")[1] for line in page("migration-yaml").splitlines() if line[:3] == "| `"
    ]
    shown = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert set(TableRules.model_fields) <= shown


def test_the_rules_examples_are_valid() -> None:
    examples = re.findall(r"```yaml\n(.*?)```", page("migration-yaml"), re.DOTALL)
    assert examples
    for example in examples:
        Rules.model_validate(yaml.safe_load(example))


def test_the_levels_are_explained() -> None:
    for level in VerificationLevel:
        assert f"**`{level.value}`**" in page("verification")


def test_the_libraries_named_are_those_that_are_looked_for() -> None:
    from migration_assets.mssql.odbc import INSTALL_COMMANDS

    for system in ("Debian, Ubuntu", "RHEL, Fedora"):
        assert f"`{INSTALL_COMMANDS[system]}`" in README
        assert INSTALL_COMMANDS[system] in " ".join(page("quickstart").split())


def test_the_python_example_uses_what_there_is() -> None:
    (example,) = re.findall(r"```python\n(.*?)```", page("dagster"), re.DOTALL)
    names = re.search(r"from migration_assets\.operations import (.*)", example)
    assert names is not None
    from migration_assets import operations

    assert {name.strip() for name in names[1].split(",")} == set(operations.__all__)
    compile(example, "docs/dagster.md", "exec")


def test_the_exit_codes_are_those_of_the_cli() -> None:
    from migration_assets.commands.arguments import FAILED, INTERRUPTED, OK, WRONG_USE

    section = page("dagster").split("## Exit codes")[1].split("##")[0]
    shown = re.findall(r"^\| (\d+) \|", section, re.MULTILINE)
    assert shown == [str(code) for code in (OK, FAILED, WRONG_USE, INTERRUPTED)]


def test_the_compute_log_manager_can_be_configured() -> None:
    (block,) = [
        block
        for block in re.findall(r"```yaml\n(.*?)```", page("dagster"), re.DOTALL)
        if "compute_logs" in block
    ]
    wanted = yaml.safe_load(block)["compute_logs"]
    import importlib

    from dagster._config import process_config

    manager = getattr(importlib.import_module(wanted["module"]), wanted["class"])
    assert process_config(manager.config_type(), wanted["config"]).success


def test_blocks_are_read_with_their_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "ROOT", tmp_path)
    path = tmp_path / "page.md"
    path.write_text(
        "text\n```sh\nmake a   # why\n\nmake b\n```\n"
        "<!-- not run: needs Kubernetes -->\n```sh\nhelm x\n```\n"
        "- item\n\n  <!-- run in: local -->\n  <!-- exits: 0 2 -->\n  ```sh\n  a | b # c\n  d\n  ```\n"
        "```yaml\nkey: value\n```\n```console\n$ make c --d 'e #f' g#h # it's\noutput\n```\n",
        encoding="utf-8",
    )
    first, second, third, fourth = blocks([path])
    assert (first.name, first.commands, first.place) == (
        "page.md:2",
        ["make a", "make b"],
        "sandbox",
    )
    assert first.exits == {0}
    assert (second.not_run, second.line) == ("needs Kubernetes", 8)
    assert (third.place, third.exits, third.commands) == ("local", {0, 2}, ["a | b # c\nd\n"])
    assert fourth.commands == ["make c --d 'e #f' g#h"]
