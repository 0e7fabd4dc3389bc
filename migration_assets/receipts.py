"""What one stage proves to the next, as frozen JSON values."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from pydantic import Field

from migration_assets.frozen_model import FrozenModel


class DataFile(FrozenModel):
    """One Parquet file: its URI, size in bytes and number of rows."""

    path: str
    bytes: int
    rows: int


class Fingerprint(FrozenModel):
    """Exact, order-free aggregates of a partition.

    Attributes:
        rows: number of rows.
        values: `<target column>.<measure>` to an exact integer; empty at level `count`.
    """

    rows: int
    values: dict[str, int] = Field(default_factory=dict)

    def without(self, columns: Collection[str], measures: Collection[str] = ()) -> Fingerprint:
        """Leave out what was measured of some columns: all of it, or only some measures."""
        kept = {
            name: value
            for name, value in self.values.items()
            if not (
                name.rpartition(".")[0] in columns
                and (not measures or name.rpartition(".")[2] in measures)
            )
        }
        return Fingerprint(rows=self.rows, values=kept)

    def differences(self, other: Fingerprint) -> list[Difference]:
        """Compare what both sides measured, rows first, then columns in order.

        Measures that only one side has (text lengths come in two units) are not compared.
        """
        found = []
        if self.rows != other.rows:
            found.append(Difference(what="rows", expected=self.rows, found=other.rows))
        for name, expected in self.values.items():
            if name in other.values and other.values[name] != expected:
                found.append(Difference(what=name, expected=expected, found=other.values[name]))
        return found


class Difference(FrozenModel):
    """One aggregate that differs: `rows` or `<column>.<measure>`."""

    what: str
    expected: int
    found: int


def columns_of(differences: Sequence[Difference]) -> tuple[str, ...]:
    """The columns in which aggregates differ, in their order."""
    named = (difference.what.rpartition(".")[0] for difference in differences)
    return tuple(dict.fromkeys(filter(None, named)))


class Receipt(FrozenModel):
    """What all receipts say.

    Attributes:
        table_id: the table's id in the plan it was made under.
        attempt: unique id of the extraction that everything downstream goes back to.
        range_id: of the range its rows were extracted by, see `TablePlan.range_id`; empty where
            the table id says it.
        run_id: Dagster run that made it.
        seconds: wall time of the stage.
    """

    table_id: str
    partition_key: str
    source_partition: int
    attempt: str
    run_id: str
    rows: int
    seconds: float
    range_id: str = ""


SNAPSHOT = "snapshot"
DATABASE_SNAPSHOT = "database snapshot"
BARRIER = "barrier"
TABLE_LOCK = "table lock"
READ_COMMITTED = "read committed"
READ_COMMITTED_SNAPSHOT = "read committed snapshot"
ROWS_OF_A_STATEMENT = "statement"
"""How rows were read: values of `ExtractReceipt.consistency`. `BARRIER` and `TABLE_LOCK`: as all other
partitions with the same `PointInTime.barrier`, while writers went on or waited. The last one is
Spark's JDBC reader's under SNAPSHOT: of the rows, but not of what SQL Server aggregates afterwards."""

ONE_STATE = frozenset({SNAPSHOT, DATABASE_SNAPSHOT, BARRIER, TABLE_LOCK})
"""What makes rows and the server's fingerprint show the same state, whoever writes meanwhile."""


class PointInTime(FrozenModel):
    """Which state of the source was read, as far as the server can tell.

    Attributes:
        database_snapshot: the database snapshot it was read from; empty if none.
        created: when that was made, or the barrier stood, by the server's clock and in its time zone.
        barrier: id of the set of transactions that show this state, empty if there was none; a
            partition with another id shows another one.
        change_tracking_version: what `CHANGE_TRACKING_CURRENT_VERSION()` said before the read (of
            the database snapshot: what it will always say); None where it is off.
        lsn: the highest log sequence number that Change Data Capture knows, as `0x…`; empty where
            it is off.
    """

    database_snapshot: str = ""
    created: datetime | None = None
    change_tracking_version: int | None = None
    lsn: str = ""
    barrier: str = ""

    @property
    def named(self) -> dict[str, str]:
        """What is known, by name; for properties and metadata."""
        created = self.created.isoformat() if self.created else ""
        values = {
            "database-snapshot": self.database_snapshot,
            "database-snapshot-created": created if self.database_snapshot else "",
            "barrier": self.barrier,
            "barrier-at": created if self.barrier else "",
            "change-tracking-version": ""
            if self.change_tracking_version is None
            else str(self.change_tracking_version),
            "lsn": self.lsn,
        }
        return {name: value for name, value in values.items() if value}


class ExtractReceipt(Receipt):
    """Files that hold the rows of one key range; nothing points to them yet.

    Attributes:
        fingerprint: of the rows as written, computed while they passed.
        source_fingerprint: SQL Server's own aggregates of the same key range; None if not asked.
        consistency: how the rows were read: `snapshot` (one transaction with the fingerprint
            query), `database snapshot`, `barrier`, `table lock`, `read committed snapshot`, `read
            committed` or `statement`.
        point_in_time: which state of the source was read; None in receipts of older releases.
        moved: the source's counters that were others after the read than before it, which were
            expected to stay.
        extracted_at: when the read began; also the value of `migrated_at`.
        doubtful: columns in which the reader may have replaced what was no valid text, when SQL
            Server is still to be asked; empty otherwise.
    """

    files: tuple[DataFile, ...]
    fingerprint: Fingerprint
    source_fingerprint: Fingerprint | None
    consistency: str
    extracted_at: datetime
    doubtful: tuple[str, ...] = ()
    point_in_time: PointInTime | None = None
    moved: tuple[Difference, ...] = ()


class CommitReceipt(Receipt):
    """The partition as one Iceberg snapshot holds it.

    Attributes:
        snapshot_id: the snapshot that this commit made (or found in place).
        fingerprint: of the extract, passed on: what StarRocks must show.
    """

    snapshot_id: int
    files: tuple[DataFile, ...]
    fingerprint: Fingerprint


class LoadReceipt(Receipt):
    """The partition as StarRocks holds it.

    Attributes:
        snapshot_id: the Iceberg snapshot that was read.
        fingerprint: StarRocks' own aggregates after the load; None if not asked.
    """

    snapshot_id: int
    fingerprint: Fingerprint | None


def to_json(receipt: FrozenModel) -> str:
    """Serialize a receipt."""
    return receipt.model_dump_json(indent=1)
