"""Masked columns and conditions through real sockets: nothing of a masked value is anywhere.

The values of masked columns are canaries: after planning, running, validating and failing they are
looked for in all that was written or sent.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from migration_assets.sandbox.launcher import Sandbox
from migration_assets_tests.sandbox import canaries
from migration_assets_tests.sandbox.project import (
    Project,
    Statements,
    iceberg_catalog,
    starrocks_rows,
)

SALT = "Canary salt / 8Zt+Lm2Vb6Nc4Xd1"
ROWS = 240
ANN = "ann.canary@example.org"
"""In two tables, as nvarchar and as varchar."""


def person(n: int) -> tuple[Any, ...]:
    """Id, ssn, email, phone, born, salary, notes, guid, raw, status."""
    email = None if n % 10 == 9 else ANN if n == 10 else f"canary{n}é@example.org"
    return (
        n, f"CanarySsn{n:05d}", email, f"+49-canary-{n:06d}-77", date(1911, 11, 11),
        Decimal("7531975.31"), f"Canary notes {n}", "CA11A27C-0000-4000-8000-00000000CAFE",
        "0xCA11CA11CA", "draft" if n % 3 == 0 else "done",
    )  # fmt: skip


PEOPLE = [person(n) for n in range(1, ROWS + 1)]
KEPT = [row for row in PEOPLE if row[-1] == "done"]
CANARIES = [
    "CanarySsn", "canary@example.org", "é@example.org", "-canary-", "7531975.31", "1911-11-11",
    "datetime.date(1911, 11, 11)", "Canary notes", "CA11A27C-0000-4000-8000-00000000CAFE",
    "ca11a27c-0000-4000-8000-00000000cafe", "CA11CA11CA", "\\xca\\x11\\xca\\x11\\xca", SALT,
]  # fmt: skip
NEEDLES = canaries.needles_of(CANARIES)


def literal(value: Any) -> str:
    if value is None:
        return "NULL"
    text = str(value)
    return text if isinstance(value, (int, Decimal)) or text.startswith("0x") else f"N'{text}'"


SCRIPT = (
    "CREATE TABLE dbo.People (Id int NOT NULL PRIMARY KEY, Ssn nvarchar(20) NOT NULL UNIQUE, "
    "Email nvarchar(60) NULL, Phone varchar(30) NULL, Born date NOT NULL, "
    "Salary decimal(10, 2) NULL, Notes nvarchar(max) NULL, Token uniqueidentifier NULL, "
    "Raw varbinary(8) NULL, Status varchar(10) NOT NULL);\nGO\n"
    "INSERT INTO dbo.People VALUES "
    + ", ".join(f"({', '.join(map(literal, row))})" for row in PEOPLE)
    + ";\nGO\n"
    "CREATE TABLE dbo.Subscribers (Id int NOT NULL PRIMARY KEY, Mail varchar(60) NULL);\nGO\n"
    f"INSERT INTO dbo.Subscribers VALUES (1, '{ANN}'), (2, NULL);\nGO\n"
)
RULES = """
defaults: {verification: rows}
tables:
  dbo.People:
    partitions: 8
    where: Status <> 'draft' AND Id IN (SELECT Id FROM dbo.People)
    exclude_columns: [Stat*]
    columns:
      Ssn: {mask: hash}
      Email: {mask: hash, name: contact}
      Phone: {mask: {partial: {first: 3, last: 2}}}
      Born: {mask: {fixed: 1900-01-01}}
      Salary: {mask: null}
      Notes: {mask: null}
      Token: {mask: hash}
      Raw: {mask: {fixed: "0x00"}}
  dbo.Subscribers:
    columns: {mail: {mask: hash}}
"""
COLUMNS = ["id", "ssn", "contact", "phone", "born", "salary", "notes", "token", "raw"]


def hashed(value: str | None) -> str | None:
    if value is None:
        return None
    return hmac.new(SALT.encode(), value.encode("utf-16-le"), hashlib.sha256).hexdigest()


EXPECTED = [
    (n, hashed(ssn), hashed(email), f"{phone[:3]}***{phone[-2:]}", date(1900, 1, 1), None, None,
     hashed(token), b"\0")
    for n, ssn, email, phone, _, _, _, token, _, _ in KEPT
]  # fmt: skip


class Bench:
    """A project of its own, beside the folder with the source's script and statements."""

    def __init__(self, folder: Path, sandbox: Sandbox, logs: Path) -> None:
        folder.mkdir()
        self.folder, self.settings = folder, sandbox.settings
        self.project = Project(folder, {**sandbox.settings, "MIGRATION_MASK_SALT": SALT})
        self.log = Statements(logs / "sqlserver.jsonl")
        self.logs = logs
        self.said: list[str] = []
        self.rules(RULES)

    def rules(self, text: str) -> None:
        (self.folder / "migration.yaml").write_text(text, encoding="utf-8")

    def run(self, *arguments: str, code: int = 0, **changes: str | None) -> str:
        """What a command printed; kept for the search."""
        done = self.project.run(*arguments, **changes)
        self.said.append(str(done))
        assert done.code == code, str(done)
        return done.out + done.err

    def iceberg(self, name: str, columns: list[str]) -> list[tuple[Any, ...]]:
        scan = iceberg_catalog(self.settings).load_table(("dbo", name)).scan()
        rows = scan.select(*columns).to_arrow().to_pylist()
        return sorted(tuple(row[c] for c in columns) for row in rows)

    def loaded(self, name: str, columns: list[str]) -> list[tuple[Any, ...]]:
        listed = ", ".join(f"`{column}`" for column in columns)
        return sorted(starrocks_rows(self.settings, f"SELECT {listed} FROM dbo.{name}"))


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("masking")
    (folder / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    logs = folder / "statements"
    with Sandbox(scale=None, statements_dir=logs, extra_arguments=words) as sandbox:
        made = Bench(folder / "project", sandbox, logs)
        made.run("doctor", "--fix")
        yield made
        made.project.close()


def test_the_search_finds_each_canary() -> None:
    """It would, if a value were written as the source has it."""
    for row in PEOPLE:
        data = repr(row).encode() + b" " + (row[2] or "").encode()
        assert {"CanarySsn", "-canary-", "Canary notes"} <= canaries.secrets_in(data, NEEDLES)
    raw = repr(bytes.fromhex("ca11ca11ca")).encode()
    assert canaries.secrets_in(raw, NEEDLES) == {"\\xca\\x11\\xca\\x11\\xca"}


def test_masked_values_are_nowhere_but_in_the_source(bench: Bench) -> None:
    run, log = bench.run, bench.log
    planned = run("plan", "--measure", "--report", "report.html", "-v")
    assert "Rows are left out (80 of 240)" in planned
    assert "Masked: a keyed SHA-256" in planned
    assert len(bench.project.table("dbo.People")["key_ranges"]) == 8

    # Another salt is refused before a row is read.
    other = "another salt that is long enough"
    refused = run("run", "--tables", "dbo.Subscribers", code=1, MIGRATION_MASK_SALT=other)
    assert "two hashes" in refused
    assert not log.matching(r"AS \[mail\]")

    run("run")
    assert bench.iceberg("people", COLUMNS) == EXPECTED
    assert bench.loaded("people", COLUMNS) == EXPECTED
    for found in (
        bench.iceberg("subscribers", ["id", "mail"]),
        bench.loaded("subscribers", ["id", "mail"]),
    ):
        assert found == [(1, hashed(ANN)), (2, None)]
    assert hashed(ANN) in {row[2] for row in EXPECTED}  # so tables can still be joined by it

    # Digests of rows, and the server's own aggregates of masked values again.
    run("validate", "--level", "full")
    run("validate", "--sample", "50", "--level", "rows")
    assert log.matching(r"DECLARE @mask_inner_\w+ binary\(64\) = @P1")

    # A condition that fails is told without the value that it fails by.
    bench.rules(RULES.replace("Status <> 'draft' AND", "Email = 5 OR"))
    refused = run("plan", "--measure", "--dry-run", code=1)
    assert "onversion failed" in refused

    places = [("output", canaries.secrets_in(said.encode(), NEEDLES)) for said in bench.said]
    places += canaries.places_in(bench.folder, NEEDLES)
    # What was sent; the server's own words about a failed conversion are in the source's log too.
    for name in ("sqlserver", "starrocks"):
        sent = "\n".join(Statements(bench.logs / f"{name}.jsonl").matching(""))
        places.append((f"sent to {name}", canaries.secrets_in(sent.encode(), NEEDLES)))
    places += canaries.places_in_aws(bench.settings, "dbo", NEEDLES)
    for name in ("people", "subscribers"):
        rows = starrocks_rows(bench.settings, f"SELECT * FROM dbo.{name}")
        places.append((f"StarRocks {name}", canaries.secrets_in(repr(rows).encode(), NEEDLES)))
    assert [(place, found) for place, found in places if found] == []
    names = " ".join(place for place, _ in places)
    for kind in ("report.html", "migration_plan.json", ".db:event_logs", "receipts", ".parquet",
                 "metadata.json", "sent to starrocks", "sent to sqlserver", "compute_logs"):  # fmt: skip
        assert kind in names, f"{kind} was not looked at"
