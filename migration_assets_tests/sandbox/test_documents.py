"""Every command that README and docs/ show is typed, or the page says why not."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.documents import PAGES, ROOT, Block, blocks
from migration_assets_tests.sandbox.project import Project, Result

TABLES = (
    "dbo.Orders",
    "dbo.Products",
    "dbo.Settings",
    "hr.Salaries",
    "sales.Orders",
)
ROWS = ", ".join(f"({n}, N'row {n}', '2024-0{1 + n % 2}-0{1 + n % 9}')" for n in range(40))
SCRIPT = "CREATE SCHEMA sales;\nGO\nCREATE SCHEMA hr;\nGO\n" + "".join(
    f"CREATE TABLE {name} (Id int NOT NULL PRIMARY KEY, Name nvarchar(20), OrderedAt date);\nGO\n"
    f"INSERT INTO {name} VALUES {ROWS};\nGO\n"
    for name in TABLES
)
CHANGES_ROWS = ("reset", "clean", "evolve", "--fresh")
"""After a command with one of these words an earlier one is no longer the same."""
RULES = {
    "sandbox": "",
    "local": "include: [dbo.*]\n",
    "windows": (
        "include: [sales.Orders]\n"
        "tables: {sales.Orders: {window: {column: OrderedAt, by: month, from: 2024-01-01}}}\n"
    ),
    "database snapshot": "include: [sales.Orders]\nconsistency: database_snapshot\n",
}

PREPARED = {
    "sandbox": ("doctor --fix", "plan", "run"),
    "local": ("doctor --until iceberg", "plan", "run --until iceberg --tables 'dbo.*'"),
    "windows": ("doctor --fix", "plan"),
    "database snapshot": ("doctor --fix", "plan"),
}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    script = tmp_path_factory.mktemp("documents") / "tables.sql"
    script.write_text(SCRIPT, encoding="utf-8")
    with Sandbox(scale=None, extra_arguments={"sqlserver": [f"--script={script}"]}) as running:
        yield running


class Place:
    """A project that the blocks of one place are typed into; what was typed once is not again."""

    def __init__(self, name: str, folder: Path, sandbox: Sandbox) -> None:
        settings = dict(sandbox.settings)
        if name == "local":
            settings = {k: v for k, v in settings.items() if k.startswith("MSSQL_")}
            settings["ICEBERG_CATALOG_TYPE"] = "sql"
        else:
            # A warehouse, names and a catalog of its own: places do not meet in the targets.
            settings["S3_WAREHOUSE_PATH"] = folder.name
        self.project = Project(folder, settings)
        prefix = "".join(part[0] for part in name.split())
        rules = f"namespace_prefix: {prefix}_\n{RULES[name]}"
        (folder / "migration.yaml").write_text(rules, encoding="utf-8")
        # The page says "fill in": here it is filled in already. Dagster's own commands load `.env`
        # over the environment, empty values too.
        filled = (ROOT / ".env.example").read_text(encoding="utf-8")
        for variable, value in settings.items():
            filled = re.sub(rf"^(# )?{variable}=.*$", f"{variable}={value}", filled, flags=re.M)
        (folder / ".env.example").write_text(filled, encoding="utf-8")
        # What every page takes for granted; so each page works by itself, too.
        self._typed = {f"migration-assets {words}" for words in PREPARED[name]}
        for words in PREPARED[name]:
            self.project.run(*shlex.split(words)).ok()

    def type(self, block: Block) -> None:
        """Type the commands of a block; each must end as the page says."""
        for command in block.commands:
            if command in self._typed:
                continue
            if any(word in command for word in CHANGES_ROWS):
                self._typed.clear()
            self._typed.add(command)
            done = self._run(command)
            assert done.code in block.exits, f"{block.name}\n$ {command}\n{done}"
            assert "Traceback" not in done.out + done.err, f"{block.name}\n$ {command}\n{done}"

    def _run(self, command: str) -> Result:
        words = shlex.split(command) if "\n" not in command else []
        if words[:1] == ["migration-assets"]:
            return self.project.run(*words[1:])
        folder = self.project.folder
        return self.project.execute(
            "/bin/bash", "-ec", command,
            DAGSTER_HOME=str(folder / ".dagster"), MIGRATION_PLAN=str(folder / "migration_plan.json"),
        )  # fmt: skip


@pytest.fixture(scope="module")
def places(
    sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Place]]:
    made: dict[str, Place] = {}
    yield made
    for place in made.values():
        place.project.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_a_page_shows_works(
    page: Path,
    sandbox: Sandbox,
    places: dict[str, Place],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    typed = [b for b in blocks([page]) if b.not_run is None and b.place in RULES]
    for block in typed:
        name = block.place
        if name not in places:
            places[name] = Place(name, tmp_path_factory.mktemp(name.replace(" ", "_")), sandbox)
        places[name].type(block)
