"""`report.json`, as `run` and `report` write it: one schema, which has a version.

The committed form is `docs/report.schema.json`; `python -m migration_assets.evidence.model` writes
it anew. Numbers come from Dagster's records of the stages and their checks; what Dagster does not
know is null, never guessed.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, Field

from migration_assets.frozen_model import FrozenModel

SCHEMA_VERSION: Literal[2] = 2
"""Version 1 was what `run` wrote before there were `report` and a schema. A reader of another
version must not guess: what is added keeps the version, what changes or goes raises it."""


class _Value(FrozenModel):
    """A value of the report: the text below each field is its description in the schema."""

    model_config = ConfigDict(use_attribute_docstrings=True)


class Check(_Value):
    """The newest outcome of one asset check of one partition."""

    check: str
    """`row_count`, `fingerprint` or `rows`; docs/verification.md says what each compares."""
    outcome: Literal["passed", "failed", "warning", "not verified"]
    """`warning`: it differs, and the source was being written to."""
    said: str
    """What was compared and found, in a sentence."""
    at: datetime
    columns: int | None = None
    """Columns whose aggregates were compared; null for a check of another kind."""
    aggregates: int | None = None
    """Aggregates (sums, NULLs, lengths, products with the key) that were compared."""
    not_compared: tuple[str, ...] = ()
    """Columns that the table's other partitions were compared by, and this one was not."""


class Stage(_Value):
    """One partition in one system: its newest materialization, and what it took."""

    stage: Literal["mssql", "iceberg", "starrocks"]
    state: str
    """`done`, `running`, `failed`, `missing`, `stale` or `check failed`."""
    rows: int | None = None
    """Rows extracted, committed or loaded."""
    ended_at: datetime | None = None
    seconds: float | None = None
    """Wall time of the stage's own work, without waiting for a slot."""
    rows_per_second: int | None = None
    bytes: int | None = None
    """Of the data files."""
    attempts: int = 0
    """Runs that were to make it, and what was tried again inside of the newest one."""
    retries: int = 0
    """Attempts of the newest materialization's step that had failed before."""
    repeated_requests: int = 0
    """Requests that were sent again within its last attempt."""
    run_id: str = ""
    """Dagster run of the newest materialization."""
    checks: tuple[Check, ...] = ()


class Rows(_Value):
    """Row counts by system; null where nobody has counted."""

    mssql: int | None = None
    iceberg: int | None = None
    starrocks: int | None = None


class Failure(_Value):
    """Why an asset partition is not there."""

    table: str
    partition: str
    stage: str
    code: str
    """Of the error, `MA-SR-003`; docs/errors.md explains each. Empty where it has none."""
    cause: str
    next_step: str
    retry: str
    """The command that makes it again."""
    run_id: str


class Partition(_Value):
    """One key range of a table, from source to target."""

    partition: str
    """Dagster's partition key; `source_partition` in the tables is its number."""
    range: str | None
    """The T-SQL condition that selects its rows; null for all rows of the table."""
    state: str
    """That of the first stage that is not done; else `done`."""
    rows: Rows
    """As counted by each system when its stage was checked."""
    stages: tuple[Stage, ...]
    snapshot_id: str | None = None
    """Iceberg snapshot that holds it."""
    consistency: str | None = None
    """How its rows were read; docs/consistency.md."""


class Comparison(_Value):
    """The newest comparison of the whole table in all systems, by `run` or `validate`."""

    at: datetime
    level: str
    """`count`, `full` or `rows`; empty where an older release did not say."""
    rows: Rows
    difference: str
    """What differs, empty when nothing does."""
    is_current: bool
    """Whether no partition was made after it."""


class Loss(_Value):
    """What the plan accepts to lose, or to stop for, in some columns."""

    columns: tuple[str, ...]
    types: tuple[str, ...]
    what: str
    values: int | None
    """Values concerned, as `plan --measure` counted them; null where it did not."""
    to_keep_it: str
    """What migration.yaml would have to say; empty when there is nothing, or it was chosen so."""


class Target(_Value):
    """Where a table's copies are."""

    iceberg: str
    """`namespace.table`: the Glue database and table."""
    location: str
    """URI of its data."""
    starrocks: str
    """`database.table`."""


class Table(_Value):
    """One table of the plan, and the evidence for it."""

    table: str
    """`schema.table` in SQL Server."""
    table_id: str
    """Hash of what makes it this table: columns, types, targets, ranges."""
    status: Literal["done", "failed"]
    """`done` when every selected partition is, in all systems asked for."""
    partitions: int
    """Partitions that were selected."""
    done: int
    rows: Rows
    """Sums over `by_partition`; null where a partition was not counted."""
    attempts: int
    seconds: float
    """Sum over the newest materializations of all stages."""
    seconds_by_stage: dict[str, float]
    bytes: int
    """Of the data files in S3."""
    started_at: datetime | None
    ended_at: datetime | None
    checks: int
    """Partitioned checks that were evaluated; `checks_passed` those that passed."""
    checks_passed: int
    valid: bool | None
    """Whether the comparison of the whole table found it equal; null if there is no current one."""
    difference: str
    note: str
    verification: str
    """The planned level: `none`, `count`, `full` or `rows`."""
    engine: str
    targets: Target
    fingerprint_columns: tuple[str, ...]
    """Columns that fingerprints compared in every partition, by their names in the targets."""
    comparison: Comparison | None
    losses: tuple[Loss, ...]
    left_out_columns: tuple[str, ...]
    """Source columns that migration.yaml leaves out."""
    warnings: tuple[str, ...]
    by_partition: tuple[Partition, ...]


class LeftOut(_Value):
    """An object of the source that was not migrated, or a kind of objects."""

    name: str
    """`schema.table`; for what is no table, the kind: `views`."""
    reason: str
    count: int = 1
    names: tuple[str, ...] = ()
    """Of a kind, the objects, where SQL Server was asked for them (`report --inventory`)."""


class Hosts(_Value):
    """Between which systems, without credentials."""

    server: str
    """SQL Server, by the name it gives itself."""
    database: str
    warehouse: str
    """URI of the Iceberg warehouse; empty if the settings are not there."""
    catalog: str
    starrocks: str
    """`host:port`; empty if the settings are not there."""
    written_on: str
    """The host that wrote the report."""


class Run(_Value):
    """The `migration-assets run` that wrote the report; null in one that `report` wrote."""

    tables: int
    seconds: float
    interrupted: bool
    until: str


class Totals(_Value):
    """Sums over the tables."""

    tables: int
    tables_done: int
    tables_compared: int
    """With a current comparison that found them equal."""
    partitions: int
    partitions_done: int
    rows: Rows
    bytes: int
    seconds: float
    """Of all stages, one after the other."""
    attempts: int
    checks: int
    checks_passed: int
    losses: int
    started_at: datetime | None
    ended_at: datetime | None


class Head(_Value):
    """What stands before the tables."""

    schema_version: Literal[2] = SCHEMA_VERSION
    made_at: datetime
    plan_id: str
    hosts: Hosts
    versions: dict[str, str]
    """Of the programs that wrote the report."""
    run: Run | None


class Tail(_Value):
    """What stands behind the tables, since it is known only then."""

    success: bool
    """Whether everything selected is done, nothing differs and nobody stopped it."""
    totals: Totals
    failures: tuple[Failure, ...]
    not_migrated: tuple[LeftOut, ...]
    notes: tuple[str, ...]
    """Of the plan: what introspection had to do without."""


class Report(Head, Tail):
    """`report.json`."""

    tables: tuple[Table, ...] = Field()
    """In the order of the plan."""


def json_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of `report.json`."""
    made = Report.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def schema_text() -> str:
    """The text of `docs/report.schema.json`."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    from pathlib import Path

    Path("docs/report.schema.json").write_text(schema_text(), encoding="utf-8")
