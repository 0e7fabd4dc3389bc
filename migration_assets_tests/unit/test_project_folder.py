"""What `init` writes: what people read anyway, valid as it is and with every line uncommented."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from migration_assets.errors import ConfigurationError
from migration_assets.operations.project_folder import begin_project
from migration_assets.rules import Rules
from migration_assets.rules_file import load_rules

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # Set and taken away again, so that what the code sets is undone, too.
    for name in ("DAGSTER_HOME", "MIGRATION_PLAN"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "project"


def test_every_file_is_written_once_and_never_over_another(folder: Path) -> None:
    folder.mkdir()
    (folder / "migration.yaml").write_text("exclude: [a]\n", encoding="utf-8")
    written = {file.path.name: file.is_new for file in begin_project(folder)}
    assert written == {
        ".env": True, "migration.yaml": False, "migration.schema.json": True, "dagster.yaml": True,
    }  # fmt: skip
    assert (folder / "migration.yaml").read_text(encoding="utf-8") == "exclude: [a]\n"
    for path in (folder / ".env", folder / ".dagster" / "dagster.yaml"):
        assert path.is_file()
        path.write_text("mine", encoding="utf-8")
    assert not any(file.is_new for file in begin_project(folder))
    assert (folder / ".env").read_text(encoding="utf-8") == "mine"
    assert (folder / ".dagster" / "dagster.yaml").read_text(encoding="utf-8") == "mine"


def test_env_is_the_one_that_is_documented_and_nobody_else_reads_it(folder: Path) -> None:
    list(begin_project(folder))
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    written = (folder / ".env").read_text(encoding="utf-8")
    assert written != example
    # Nothing is set, not even to nothing, which Dagster would let go before the environment.
    assert all(line.startswith("#") for line in written.splitlines() if line)
    assert [line.removeprefix("# ") for line in written.splitlines()] == [
        line.removeprefix("# ") for line in example.splitlines()
    ]
    assert (folder / ".env").stat().st_mode & 0o077 == 0


def test_a_wheel_gets_the_example_under_the_name_that_is_looked_for() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '".env.example" = "migration_assets/project_files/env.example"' in text


def test_the_rules_are_valid_as_they_are_and_with_every_line_in_force(folder: Path) -> None:
    list(begin_project(folder))
    path = folder / "migration.yaml"
    text = path.read_text(encoding="utf-8")
    assert load_rules(path) == Rules()
    head, *lines = text.splitlines()
    assert head == "# yaml-language-server: $schema=migration.schema.json"
    is_rule = re.compile(r"# ( *[\w\".*]+:( .*)?)$")
    in_force = [found[1] for line in lines if (found := is_rule.match(line))]
    path.write_text("\n".join(in_force), encoding="utf-8")
    rules = load_rules(path)
    assert len(yaml.safe_load("\n".join(in_force))) >= 9
    assert rules.for_table("sales.Orders").partitions == 64
    assert rules.for_table("sales.Orders").buckets == 4


def test_the_schema_is_that_of_the_rules(folder: Path) -> None:
    list(begin_project(folder))
    schema = json.loads((folder / "migration.schema.json").read_text(encoding="utf-8"))
    assert schema["properties"].keys() == Rules.model_fields.keys()
    assert schema["additionalProperties"] is False


def test_a_folder_that_cannot_be_one_is_told_in_a_sentence(folder: Path) -> None:
    folder.write_text("a file", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="project is no folder"):
        list(begin_project(folder))
