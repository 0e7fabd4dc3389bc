"""Upkeep of Iceberg tables by Spark, through Iceberg's procedures.

https://iceberg.apache.org/docs/1.12.0/spark-procedures/. What may go is decided by the caller: the
procedures know no receipts and no loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Row, SparkSession

MINIMUM_ORPHAN_AGE = timedelta(hours=24)
"""Iceberg's procedure refuses to look for younger orphans, with an error."""

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Compaction:
    """What a compaction did: data files that were rewritten, their bytes, and the new files."""

    rewritten: int = 0
    added: int = 0
    bytes: int = 0


@dataclass(frozen=True)
class SparkTable:
    """A table as Spark SQL calls it."""

    catalog: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """The quoted name."""
        return ".".join(map(_quote, (self.catalog, self.namespace, self.name)))

    def call(self, procedure: str, **arguments: str) -> str:
        """The CALL of a procedure on it; the arguments are SQL already."""
        named = {"table": _text(str(self)), **arguments}
        listed = ", ".join(f"{name} => {value}" for name, value in named.items())
        return f"CALL {_quote(self.catalog)}.system.{procedure}({listed})"


def compact(
    session: SparkSession, table: SparkTable, *, target_bytes: int, min_input_files: int
) -> Compaction:
    """Rewrite small data files of each partition into fewer, in one `replace` snapshot.

    Args:
        session: that knows the catalog.
        table: which.
        target_bytes: size of the new files; files of 75 % to 180 % of it stay as they are.
        min_input_files: a partition with fewer files to rewrite is left alone.
    """
    options = {
        "target-file-size-bytes": target_bytes,
        "min-input-files": min_input_files,
    }
    listed = ", ".join(f"{_text(key)}, {_text(str(value))}" for key, value in options.items())
    done = _only(session, table.call("rewrite_data_files", options=f"map({listed})"))
    return Compaction(
        rewritten=done["rewritten_data_files_count"],
        added=done["added_data_files_count"],
        bytes=done["rewritten_bytes_count"],
    )


def expire(session: SparkSession, table: SparkTable, snapshot_ids: Sequence[int]) -> int:
    """Remove these snapshots and no other, and the files that only they had.

    Args:
        session: that knows the catalog.
        table: which.
        snapshot_ids: of listed snapshots that no branch or tag points to.

    Returns:
        How many data files were removed.
    """
    if not snapshot_ids:
        return 0
    done = _only(
        session,
        table.call(
            "expire_snapshots",
            snapshot_ids=f"array({', '.join(f'{number}L' for number in snapshot_ids)})",
            # Else the procedure would also take whatever is older than
            # `history.expire.max-snapshot-age-ms`, five days.
            older_than=_timestamp(_BEGINNING),
        ),
    )
    return int(done["deleted_data_files_count"])


def find_orphans(session: SparkSession, table: SparkTable, older_than: datetime) -> list[str]:
    """List files below the table's location that its metadata do not name; removes nothing.

    Files of receipts that wait for their commit are among them.

    Args:
        session: that knows the catalog.
        table: which.
        older_than: younger files are left out; at least `MINIMUM_ORPHAN_AGE` ago.
    """
    call = table.call(
        "remove_orphan_files",
        older_than=_timestamp(older_than),
        dry_run="true",
        # By the table's own S3 client; Hadoop's, which would list otherwise, is not there.
        prefix_listing="true",
    )
    return [row["orphan_file_location"] for row in session.sql(call).collect()]


def _only(session: SparkSession, statement: str) -> Row:
    (row,) = session.sql(statement).collect()
    return row


def _quote(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _timestamp(moment: datetime) -> str:
    """A literal that means the same whatever the session's time zone."""
    return f"TIMESTAMP '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f} UTC'"
