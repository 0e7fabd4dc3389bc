"""The evidence report: `migration-assets report`, and what `run` writes at its end.

Tables are read, written and forgotten one after the other, so a report of hundreds of tables with
hundreds of partitions each takes no more memory than its largest table and the page.
"""

from __future__ import annotations

import json
import os
import platform
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from migration_assets.assets.history import speed_up
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.errors import ConfigurationError
from migration_assets.evidence import model
from migration_assets.evidence.page import EvidencePage
from migration_assets.evidence.sums import Sums
from migration_assets.naming import full_name
from migration_assets.operations.evidence import table_evidence
from migration_assets.operations.home import open_instance
from migration_assets.operations.status import FailedStep, partition_statuses
from migration_assets.operations.status import failed_steps as find_failures
from migration_assets.settings import LakeSettings, ProjectSettings, StarRocksSettings

if TYPE_CHECKING:
    import dagster as dg

    from migration_assets.inventory import Inventory
    from migration_assets.operations.results import MigrationResult
    from migration_assets.operations.status import PartitionStatus
    from migration_assets.plan import MigrationPlan, TablePlan

PROGRAMS = (
    "migration-assets",
    "dagster",
    "pyiceberg",
    "pyarrow",
    "mssql-python",
    "pymssql",
    "pymysql",
)
"""Whose versions the report names."""


@dataclass(frozen=True)
class Files:
    """What is to be written; None for what is not."""

    json: Path | None = None
    html: Path | None = None

    def check(self) -> None:
        """Refuse folders that are not there, before any work.

        Raises:
            ConfigurationError: a folder does not exist.
        """
        for path in filter(None, (self.json, self.html)):
            if not path.parent.is_dir():
                raise ConfigurationError(
                    f"The report {path}: there is no folder {path.parent}.", code="MA-CF-028"
                )


def write_report(
    plan: MigrationPlan,
    tables: Sequence[TablePlan],
    instance: dg.DagsterInstance,
    files: Files,
    *,
    until: Stage = Stage.STARROCKS,
    result: MigrationResult | None = None,
    inventory: Inventory | None = None,
    translator: MigrationTranslator | None = None,
) -> model.Tail:
    """Write the evidence for some tables, as JSON, as a page, or both.

    Args:
        plan: the plan.
        tables: those of the plan that are reported.
        instance: whose records; the caller closes it.
        files: where to.
        until: the last stage that counts.
        result: of the run that is reported; None for whatever Dagster knows.
        inventory: what stays behind in SQL Server, if it was asked.
        translator: as given to `build_definitions`.

    Returns:
        What stands at the end of the report.

    Raises:
        ConfigurationError: a file cannot be written.
    """
    if "DAGSTER_HOME" in os.environ:
        # Thousands of small queries: four times as fast when SQLite's connections stay open.
        speed_up(Path(os.environ["DAGSTER_HOME"]))
    translator = translator or MigrationTranslator()
    selected = None if result is None else result.partition_keys
    statuses: dict[str, list[PartitionStatus]] = {table.full_name: [] for table in tables}
    for status in partition_statuses(instance, tables, translator):
        if not selected or status.partition_key in selected:
            statuses[status.table.full_name].append(status)
    if result is None:
        every = [one for found in statuses.values() for one in found]
        failures = find_failures(instance, every, translator)
    else:
        failures = result.failures
    results = {} if result is None else {one.table: one for one in result.tables}
    head, sums, page = _head(plan, until, result), Sums(), EvidencePage()
    with _replaced(files.json) as out:
        writer = None if out is None else _Writer(out, head)
        for table in tables:
            if not statuses[table.full_name]:
                continue
            found = table_evidence(
                instance,
                table,
                statuses.pop(table.full_name),
                translator,
                until=until,
                result=results.get(table.full_name),
            )
            sums.add(found)
            if writer is not None:
                writer.add(found)
            if files.html is not None:
                page.add(found)
        tail = model.Tail(
            success=sums.is_complete if result is None else result.success,
            totals=sums.totals(),
            failures=tuple(map(_failure, failures)),
            not_migrated=tuple(_not_migrated(plan, tables, inventory)),
            notes=plan.notes,
        )
        if writer is not None:
            writer.close(tail)
    with _replaced(files.html) as out:
        if out is not None:
            page.write(out, head, tail)
    return tail


def report_run(result: MigrationResult, files: Files) -> None:
    """Write what came of a run.

    Raises:
        ConfigurationError: a file cannot be written.
    """
    plan = result.plan
    if plan is None:
        raise ValueError("a result without its plan has nothing to be reported by")
    names = {one.table for one in result.tables}
    tables = [table for table in plan.tables if table.full_name in names]
    with open_instance(ProjectSettings.load()) as instance:
        write_report(plan, tables, instance, files, until=result.last, result=result)


def _head(plan: MigrationPlan, until: Stage, result: MigrationResult | None) -> model.Head:
    return model.Head(
        made_at=datetime.now(UTC),
        plan_id=plan.plan_id,
        hosts=_hosts(plan),
        versions=dict(_versions()),
        run=None
        if result is None
        else model.Run(
            tables=len(result.tables),
            seconds=round(result.seconds, 1),
            interrupted=result.interrupted,
            until=until.value,
        ),
    )


def _hosts(plan: MigrationPlan) -> model.Hosts:
    """Where from and to; settings that are not there leave their part empty."""
    warehouse = catalog = starrocks = ""
    try:
        lake = LakeSettings.load()
        warehouse, catalog = lake.warehouse, lake.catalog_type.value
        target = StarRocksSettings.load()
        starrocks = f"{target.host}:{target.port}"
    except ConfigurationError:
        pass  # the evidence is Dagster's; a report can be made where nothing can be reached
    return model.Hosts(
        server=plan.server,
        database=plan.database,
        warehouse=warehouse,
        catalog=catalog,
        starrocks=starrocks,
        written_on=socket.gethostname(),
    )


def _versions() -> Iterator[tuple[str, str]]:
    yield "python", platform.python_version()
    for name in PROGRAMS:
        try:
            yield name, version(name)
        except PackageNotFoundError:
            continue


def _failure(failed: FailedStep) -> model.Failure:
    return model.Failure(
        table=failed.table,
        partition=failed.partition_key,
        stage=failed.stage.value,
        code=failed.code,
        cause=failed.cause,
        next_step=failed.next_step,
        retry=failed.retry,
        run_id=failed.run_id,
    )


def _not_migrated(
    plan: MigrationPlan, tables: Sequence[TablePlan], inventory: Inventory | None
) -> Iterator[model.LeftOut]:
    """What the plan leaves out, what was not selected, and what is no table."""
    for skipped in plan.skipped:
        name = full_name(skipped.source_schema, skipped.source_name)
        yield model.LeftOut(name=name, reason=skipped.reason)
    reported = {table.full_name for table in tables}
    for table in plan.tables:
        if table.full_name not in reported:
            reason = "it is in the plan and was not selected for this report"
            yield model.LeftOut(name=table.full_name, reason=reason)
    if inventory is None:
        return
    for kind, objects in inventory.objects.items():
        if objects:
            yield model.LeftOut(
                name=str(kind.value),
                reason="it is no table, and stays in SQL Server",
                count=len(objects),
                names=tuple(full_name(one.schema, one.name) for one in objects),
            )


class _Writer:
    """Writes the JSON document piece by piece: the head, each table, the tail."""

    def __init__(self, out: TextIO, head: model.Head) -> None:
        self._out = out
        text = _text(head)
        out.write(text.removesuffix("\n}") + ',\n "tables": [')
        self._is_first = True

    def add(self, table: model.Table) -> None:
        self._out.write(("\n" if self._is_first else ",\n") + _text(table))
        self._is_first = False

    def close(self, tail: model.Tail) -> None:
        self._out.write(
            ("" if self._is_first else "\n ") + "],\n" + _text(tail).removeprefix("{\n")
        )
        self._out.write("\n")


def _text(value: model.Head | model.Table | model.Tail) -> str:
    return json.dumps(value.model_dump(mode="json"), indent=1, ensure_ascii=False)


@contextmanager
def _replaced(path: Path | None) -> Iterator[TextIO | None]:
    """Yield what is to become a file; nobody sees it before it is whole.

    Raises:
        ConfigurationError: it cannot be written there.
    """
    if path is None:
        yield None
        return
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("w", encoding="utf-8", errors="replace") as out:
            yield out
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(
            f"The report cannot be written to {path}: {error.strerror}; what was migrated stays.",
            code="MA-CF-028",
            next_step="`migration-assets status` shows it.",
        ) from None
    finally:
        partial.unlink(missing_ok=True)
