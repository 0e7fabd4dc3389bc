"""Meets a case: puts the project's folder, environment and servers into its state, and types."""

from __future__ import annotations

import io
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from migration_assets import cli
from migration_assets.definitions import load_definitions
from migration_assets.errors import PlanError
from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets.settings import LakeSettings, StarRocksSettings
from migration_assets.starrocks.catalog import create_catalog
from migration_assets.starrocks.resource import StarRocks
from migration_assets_tests.bad_input.case import FOLDER, Case, Kind, spoil
from migration_assets_tests.bad_input.certificates import tls_server, write_certificate
from migration_assets_tests.sandbox.project import run_tsql

OURS = ("MSSQL_", "AWS_", "S3_", "ICEBERG_", "STARROCKS_", "SPARK_", "MIGRATION_", "DAGSTER_")
QUICK = {"S3_MAX_ATTEMPTS": "1", "MIGRATION_CONCURRENT_RUNS": "1"}
"""Not shorter timeouts: a busy machine is not a failure. A case that waits for one sets its own."""
SCRIPT = """
CREATE TABLE dbo.Items (Id int NOT NULL PRIMARY KEY, Name nvarchar(20) NULL);
GO
INSERT INTO dbo.Items VALUES (1, N'one'), (2, N'two');
GO
CREATE TABLE dbo.Ranged (Id int NOT NULL PRIMARY KEY, Name nvarchar(20) NULL);
GO
INSERT INTO dbo.Ranged VALUES (1, N'one'), (2, N'two'), (3, N'three'), (4, N'four'), (5, N'five'),
  (6, N'six'), (7, N'seven'), (8, N'eight'), (9, N'nine'), (10, N'ten');
GO
CREATE TABLE dbo.Twin (Id int NOT NULL PRIMARY KEY, Name nvarchar(20) NULL);
GO
INSERT INTO dbo.Twin VALUES (1, N'eins'), (2, N'zwei');
GO
"""
RULES = "tables:\n  dbo.Ranged: {partitions: 8}\n"


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def __str__(self) -> str:
        return f"exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@contextmanager
def listening(*, silent: bool) -> Iterator[str]:
    """A port on which nobody listens, or one that accepts connections and never says a word."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        if silent:
            held.listen()
        yield str(held.getsockname()[1])


@dataclass
class Bench:
    """A running sandbox, and a good project planned on it.

    Attributes:
        good: the folder of the good project, whose files cases spoil copies of.
        words: what `{closed}`, `{silent}` and the like stand for.
    """

    sandbox: Sandbox
    good: Path
    words: Mapping[str, str]

    @property
    def secrets(self) -> set[str]:
        """What nothing may show."""
        named = self.sandbox.settings.items()
        return {value for name, value in named if "PASSWORD" in name or "SECRET" in name}

    def settings(self, case: Case) -> dict[str, str]:
        """The settings that are in the environment of a case."""
        given = {**self.sandbox.settings, **QUICK, **case.env}
        found = {name: value for name, value in given.items() if value is not None}
        for word, meaning in self.words.items():
            found = {name: text.replace(f"{{{word}}}", meaning) for name, text in found.items()}
        return found

    def lay_out(self, case: Case, folder: Path) -> None:
        """Copy the good project's files into a folder, and spoil what the case spoils."""
        for path in self.good.glob("migration*"):
            shutil.copy(path, folder)
        for name, content in case.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content == FOLDER:
                path.unlink(missing_ok=True)
                path.mkdir()
                continue
            good = path.read_bytes() if path.exists() else b""
            path.write_bytes(spoil(content, good))

    def environment(self, case: Case, folder: Path) -> dict[str, str]:
        """All variables of a case: its settings, and those of the machine that are not ours."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        return {**kept, "HOME": str(folder), "COLUMNS": "200", **self.settings(case)}

    def loading_definitions(self, case: Case, folder: Path) -> str:
        """Load the definitions as a code location does; returns what it fails with."""
        self.lay_out(case, folder)
        here = self.environment(case, folder)
        with chdir(folder), patch.dict(os.environ, here, clear=True):
            try:
                load_definitions()
            except PlanError as error:
                return str(error)
        raise AssertionError("it loaded")

    def enter(self, case: Case, folder: Path) -> Ended:
        """Type a case's command in this process."""
        self.lay_out(case, folder)
        here = self.environment(case, folder)
        out, err = io.StringIO(), io.StringIO()
        with (
            self.as_told(case), chdir(folder), patch.dict(os.environ, here, clear=True),
            patch.object(sys, "argv", ["migration-assets", *case.command]),
            patch.object(sys, "stdin", io.StringIO()), redirect_stdout(out), redirect_stderr(err),
        ):  # fmt: skip
            try:
                cli.main()
            except SystemExit as ended:
                code = ended.code
        assert isinstance(code, int)
        return Ended(code, out.getvalue(), err.getvalue())

    @contextmanager
    def as_told(self, case: Case) -> Iterator[None]:
        """Bring the servers into the case's state, and back."""
        for name in {name for name, _ in case.faults}:
            self.sandbox.control(name).arm(*(Fault(**f) for n, f in case.faults if n == name))
        if case.sql[0]:
            self.execute(case.sql[0])
        try:
            yield
        finally:
            for name in {name for name, _ in case.faults}:
                self.sandbox.control(name).arm()
            if case.sql[1]:
                self.execute(case.sql[1])

    def execute(self, sql: str) -> None:
        """Run T-SQL on the source as its administrator."""
        run_tsql(self.sandbox.settings, *sql.split(";"))


@contextmanager
def running(folder: Path) -> Iterator[Bench]:
    """Start a sandbox and plan a good project in `folder`; ends what it started."""
    (folder / "tables.sql").write_text(SCRIPT, encoding="utf-8")
    (folder / "migration.yaml").write_text(RULES, encoding="utf-8")
    words = {"sqlserver": [f"--script={folder / 'tables.sql'}"]}
    with (
        Sandbox(scale=None, extra_arguments=words) as sandbox,
        listening(silent=False) as closed, listening(silent=True) as silent, ExitStack() as stack,
    ):  # fmt: skip
        trusted = write_certificate(folder / "trusted.pem")
        expired = write_certificate(folder / "expired.pem", days=-1)
        other = write_certificate(folder / "other.pem", address="127.0.0.2")
        words = {
            **{name: str(sandbox.port(name)) for name in sandbox.names},
            "password": sandbox.settings["MSSQL_PASSWORD"], "closed": closed, "silent": silent, "folder": str(folder),
            "self_signed": stack.enter_context(tls_server(trusted)),
            "expired": stack.enter_context(tls_server(expired)),
            "misnamed": stack.enter_context(tls_server(other)),
        }  # fmt: skip
        bench = Bench(sandbox, folder, words)
        with (
            patch.dict(os.environ, sandbox.settings),
            StarRocks(StarRocksSettings.load()) as client,
        ):
            create_catalog(client, LakeSettings.load())
        (folder / "made").mkdir()
        plan = Case(
            Kind.PLAN, "good", (), ("plan", "--output", str(folder / "migration_plan.json"))
        )
        ended = bench.enter(plan, folder / "made")
        assert ended.code == 0, str(ended)
        yield bench


def typed_in_a_shell(bench: Bench, case: Case, folder: Path) -> Ended:
    """Type a case's command in a process of its own, where drivers write to the real streams."""
    bench.lay_out(case, folder)
    command = [sys.executable, "-m", "migration_assets", *case.command]
    done = subprocess.run(
        command, cwd=folder, env=bench.environment(case, folder), capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=60, check=False,
    )  # fmt: skip
    return Ended(done.returncode, done.stdout, done.stderr)
