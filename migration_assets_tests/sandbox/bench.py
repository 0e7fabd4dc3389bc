"""A small database whose tables all hold the same rows, and a project planned on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from migration_assets.sandbox.control import Control
from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox import canaries
from migration_assets_tests.sandbox.project import (
    Project,
    Statements,
    iceberg_catalog,
    starrocks_rows,
)

ROWS = 200
TABLES = [
    "Altered", "Ranged", "Loaded", "Fine", "Changed", "Replaced", "Swapped",
    "KilledA", "KilledB", "KilledC", "Raced", "Victim", "Cut", "Orphaned",
]  # fmt: skip
RULES = """
tables:
  dbo.Ranged: {partitions: 8}
  dbo.Killed?: {isolated: true}
"""
VALUES = {(n, f"row {n}", Decimal(n) / 4) for n in range(ROWS)}
DONE = {"mssql": "done", "iceberg": "done", "starrocks": "done"}


def script(tables: Sequence[str] = TABLES) -> str:
    rows = ", ".join(f"({n}, N'row {n}', {n / 4})" for n in range(ROWS))
    columns = "(Id int NOT NULL PRIMARY KEY, Name nvarchar(40) NOT NULL, Amount decimal(10, 2))"
    made = [f"CREATE TABLE dbo.{name} {columns};\nGO" for name in [*tables, "Empty"]]
    filled = [f"INSERT INTO dbo.{name} VALUES {rows};\nGO" for name in tables]
    return "\n".join(made + filled)


@dataclass
class Bench:
    """Three stand-ins with a database of ours, and a project planned on it."""

    sandbox: Sandbox
    project: Project
    logs: dict[str, Statements]

    @property
    def sqlserver(self) -> Control:
        return self.sandbox.control("sqlserver")

    @property
    def aws(self) -> Control:
        return self.sandbox.control("aws")

    @property
    def starrocks(self) -> Control:
        return self.sandbox.control("starrocks")

    def disarm(self) -> None:
        for name in self.sandbox.names:
            self.sandbox.control(name).arm()

    def reads(self) -> Counter[str]:
        """How often the rows of each table were asked for, from the beginning on."""
        found: Counter[str] = Counter()
        for text in self.logs["sqlserver"].matching(r"AS \[amount\] FROM \[dbo\]"):
            found[text.split("[dbo].[")[1].split("]")[0]] += 1
        return found

    def loads(self) -> Counter[str]:
        """How often StarRocks was asked to load each table."""
        found = self.logs["starrocks"].matching("^INSERT OVERWRITE `dbo`")
        return Counter(text.split("`")[3] for text in found)

    def iceberg(self, name: str) -> list[tuple[Any, ...]]:
        table = iceberg_catalog(self.project.settings).load_table(("dbo", name.lower()))
        rows = table.scan(selected_fields=("id", "name", "amount")).to_arrow()
        return [tuple(row.values()) for row in rows.to_pylist()]

    def loaded(self, name: str) -> list[tuple[Any, ...]]:
        return starrocks_rows(
            self.project.settings, f"SELECT id, name, amount FROM dbo.{name.lower()}"
        )

    def assert_arrived(self, *names: str) -> None:
        """Both targets hold each row of the source exactly once."""
        for name in names:
            for rows in (self.iceberg(name), self.loaded(name)):
                assert len(rows) == ROWS, name
                assert set(rows) == VALUES, name

    def states(self, *names: str) -> dict[tuple[str, str], dict[str, str]]:
        """The state of each partition in each system."""
        said = self.project.status(*(word for name in names for word in ("--tables", name)))
        return {key: {stage: line[stage] for stage in DONE} for key, line in said.items()}


@contextmanager
def running(folder: Path, tables: Sequence[str] = TABLES, rules: str = RULES) -> Iterator[Bench]:
    """Start the stand-ins and plan; ends them and what the project started."""
    (folder / "tables.sql").write_text(script(tables), encoding="utf-8")
    (folder / "migration.yaml").write_text(rules, encoding="utf-8")
    logs = folder / "statements"
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    with Sandbox(
        scale=None, statements_dir=logs, extra_arguments=words,
        passwords=canaries.PASSWORDS,
    ) as sandbox:  # fmt: skip
        project = Project(folder, {**sandbox.settings, **canaries.SETTINGS})
        project.run("doctor", "--fix").ok()
        project.run("plan").ok()
        try:
            statements = {name: Statements(logs / f"{name}.jsonl") for name in sandbox.names}
            yield Bench(sandbox, project, statements)
        finally:
            project.close()
