"""Load: StarRocks replaces one of its partitions by what one Iceberg snapshot has of it."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from migration_assets import events
from migration_assets.choices import VerificationLevel
from migration_assets.conversions import Loss
from migration_assets.errors import (
    ConnectionLostError,
    MigrationError,
    OperationTimeoutError,
    ServerBusyError,
    StatementError,
)
from migration_assets.fingerprint import starrocks_query
from migration_assets.key_range import KeyRange
from migration_assets.plan import TablePlan
from migration_assets.receipts import Fingerprint
from migration_assets.setting_values import MAX_STARROCKS_SECONDS
from migration_assets.starrocks import dml
from migration_assets.starrocks.faults import SLOW_TABLETS
from migration_assets.starrocks.names import literal, subject
from migration_assets.starrocks.server_errors import is_filtered, is_unknown_snapshot
from migration_assets.timeout_advice import Timeout, explained

if TYPE_CHECKING:
    from migration_assets.starrocks.resource import StarRocks
    from migration_assets.starrocks.wire import Answer

SNAPSHOT_WAITS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Waits before each further attempt when a snapshot is unknown. StarRocks' background refresh took
60 to 70 s where a REFRESH did not reach the metadata that the statement then used."""

VISIBLE_TIMEOUT_S = 300.0
"""How long a committed load may take to become visible: the cluster is publishing its version."""
_VISIBLE_POLLS_S = (0.2, 0.5, 1.0, 2.0, 5.0)

KILLED_TIMEOUT_S = 10.0
"""How long a killed load is given to end, before it is left to the next attempt."""
_KILLED_POLL_S = 0.1


def load_partition(
    client: StarRocks, table: TablePlan, partition_key: str, snapshot_id: int, *, run_id: str
) -> int:
    """Replace a partition of the target table, which must exist, by a snapshot's rows of it.

    The replacement is one atomic swap: readers see the old rows or the new ones. It can be redone
    at any time, also after an error that leaves open whether it happened.

    Args:
        client: where; one of its connections is used and given back.
        table: the plan of the table.
        partition_key: which partition, as Dagster names it.
        snapshot_id: the Iceberg snapshot to read.
        run_id: goes into the load's label, to find it in `information_schema.loads`.

    Returns:
        The rows that StarRocks says it wrote.

    Raises:
        PlanError: the plan has no such partition.
        TransientError: connection lost, server busy, snapshot unknown even after refreshes; try
            again.
        StatementError: the rows do not fit the table; the message quotes the tracking SQL.
        ObjectNotFoundError: no such external catalog, Iceberg table or data file.
    """
    source_partition = table.key_range(partition_key).source_partition
    about = f"{subject(table)}, partition {partition_key}"
    label = dml.load_label(table, source_partition, run_id)
    sql = dml.insert_overwrite_sql(
        table,
        catalog=client.settings.catalog,
        source_partition=source_partition,
        snapshot_id=snapshot_id,
        label=label,
    )
    try:
        with client.connection():
            _refuse_second_load(client, table, source_partition, about)
            with _sized(table, table.key_range(partition_key), _insert_timeout(client)):
                answer = _insert(client, table, sql, about)
            _await_visible(client, answer, label, about)
    except (ConnectionLostError, OperationTimeoutError):
        _end_abandoned(client, label)
        raise
    except StatementError as error:
        raise _with_hint(error, table) from error
    return answer.affected_rows


@contextlib.contextmanager
def _sized(table: TablePlan, key_range: KeyRange, timeout: Timeout) -> Iterator[None]:
    """Where a statement over a partition takes too long, say how large that is and what to change."""
    try:
        yield
    except OperationTimeoutError as error:
        if SLOW_TABLETS in error.found:  # which has a cause and a next step of its own
            raise
        raise explained(error, table, key_range, timeout) from error


def _insert_timeout(client: StarRocks) -> Timeout:
    return Timeout(
        "STARROCKS_INSERT_TIMEOUT_S", client.settings.insert_timeout_s, MAX_STARROCKS_SECONDS
    )


def _query_timeout(client: StarRocks) -> Timeout:
    return Timeout(
        "STARROCKS_QUERY_TIMEOUT_S", client.settings.query_timeout_s, MAX_STARROCKS_SECONDS
    )


def _with_hint(error: StatementError, table: TablePlan) -> StatementError:
    """Say what the likely reason is, where rows did not fit a table that has unbounded columns."""
    unbounded = [column.name for column in table.columns if Loss.LONG_VALUES in column.loses]
    if not unbounded or not is_filtered(error):
        return error
    return StatementError(
        error.found,
        code=error.code,
        next_step=f"{error.next_step} Values of {', '.join(unbounded)} may be longer than the "
        "1,048,576 bytes that StarRocks takes: see `long_values` of migration.yaml.",
    )


def measure(
    client: StarRocks, table: TablePlan, key_range: KeyRange, level: VerificationLevel
) -> Fingerprint:
    """Aggregate one loaded partition in StarRocks.

    Args:
        client: where.
        table: the plan of the table.
        key_range: which partition.
        level: `full` for all measures, else the number of rows.

    Raises:
        MigrationError: see `faults.FAULTS`.
    """
    query = starrocks_query(table, level)
    sql = dml.measure_sql(table, key_range.source_partition, query.expressions)
    about = f"{subject(table)}, source_partition {key_range.source_partition}"
    with _sized(table, key_range, _query_timeout(client)):
        (row,) = client.query(sql, about=about)
    return query.decode(row)


def partition_rows(client: StarRocks, table: TablePlan) -> dict[int, int]:
    """Count the rows of each partition that has any: `source_partition` to rows."""
    rows = client.query(dml.partition_rows_sql(table), about=subject(table))
    return {int(source_partition): int(count) for source_partition, count in rows}


def _insert(client: StarRocks, table: TablePlan, sql: str, about: str) -> Answer:
    """Run the overwrite; refresh and try again while StarRocks does not know the snapshot."""
    catalog = client.settings.catalog
    refresh = dml.refresh_sql(table, catalog)
    iceberg = f"Iceberg table {table.namespace}.{table.iceberg_table} through catalog {catalog}"
    for wait_s in (*SNAPSHOT_WAITS_S, None):
        # Always before the first attempt as well: the analysis of FOR VERSION AS OF comes before
        # the INSERT's own refresh, so a new snapshot would be unknown.
        client.execute(refresh, about=iceberg)
        try:
            return client.execute(sql, about=about, timeout_s=client.settings.insert_timeout_s)
        except MigrationError as error:
            if wait_s is None or not is_unknown_snapshot(error):
                raise
            events.retried("load", wait_s=wait_s, error=error.found)
            time.sleep(wait_s)
    raise AssertionError("unreachable")


def _await_visible(client: StarRocks, answer: Answer, label: str, about: str) -> None:
    """Wait until a load can be read.

    After `tx_visible_wait_timeout` (10 s) StarRocks answers with status COMMITTED: the rows are
    durable, and become visible later
    (https://docs.starrocks.io/docs/loading/loading_introduction/troubleshooting_loading/).
    """
    if _word(answer.info, "status") == "VISIBLE":
        return
    label = _word(answer.info, "label") or label
    sql = f"SELECT STATE FROM information_schema.loads WHERE LABEL = {literal(label)}"
    events.event("not visible yet", label=label, said=answer.info or None)
    deadline = time.monotonic() + VISIBLE_TIMEOUT_S
    polls = iter(_VISIBLE_POLLS_S)
    while time.monotonic() < deadline:
        states = {str(state).upper() for (state,) in client.query(sql, about=about)}
        if "FINISHED" in states:
            return
        if "CANCELLED" in states:
            raise ServerBusyError(
                f"{about}: StarRocks at {client.server} cancelled the load {label} after it had "
                "taken it.",
                code="MA-SR-118",
                next_step="It is safe to try again.",
            )
        time.sleep(next(polls, _VISIBLE_POLLS_S[-1]))
    raise OperationTimeoutError(
        f"{about}: the load {label} was committed, but is not visible after "
        f"{VISIBLE_TIMEOUT_S:.0f} s (StarRocks at {client.server} says {answer.info or 'nothing'}).",
        code="MA-SR-116",
        next_step="Look at the backends with SHOW BACKENDS; it is safe to load the partition again.",
    )


def _word(info: str, key: str) -> str:
    """A value in the text of an OK packet: `{'label':'…', 'status':'VISIBLE', 'txnId':'2'}`."""
    match = re.search(rf"'{key}'\s*:\s*'([^']*)'", info)
    return match[1] if match else ""


def _refuse_second_load(
    client: StarRocks, table: TablePlan, source_partition: int, about: str
) -> None:
    """Raise when another load of the partition is still running.

    An INSERT whose client vanished goes on, and of two overwrites the one that ends last stays: an
    abandoned one could put old rows over those that we are about to load.
    """
    running = _connections_loading(client, dml.label_prefix(table, source_partition), about)
    if running:
        raise ServerBusyError(
            f"{about}: connection {running[0]} of StarRocks at {client.server} is still loading "
            "the same partition.",
            code="MA-SR-117",
            next_step=f"It is tried again; KILL {running[0]} ends that load.",
        )


def _end_abandoned(client: StarRocks, label: str) -> None:
    """End the INSERT that our lost connection may have left running, if the server lets us.

    KILL answers before the statement has ended; the next attempt must not meet it.
    """
    with contextlib.suppress(MigrationError):
        running = _connections_loading(client, label, "")
        for connection_id in running:
            client.execute(f"KILL {connection_id}")
        deadline = time.monotonic() + KILLED_TIMEOUT_S
        while running and time.monotonic() < deadline:
            time.sleep(_KILLED_POLL_S)
            running = _connections_loading(client, label, "")


def _connections_loading(client: StarRocks, label: str, about: str) -> list[int]:
    """Connections whose statement holds a label; of our own user, on the frontend that we reach."""
    listed = client.execute("SHOW FULL PROCESSLIST", about=about)
    names = [name.lower() for name in listed.columns]
    found = (dict(zip(names, row, strict=True)) for row in listed.rows)
    return [int(row["id"]) for row in found if label in str(row["info"])]
