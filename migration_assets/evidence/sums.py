"""Sums over tables that are looked at one after the other."""

from __future__ import annotations

from datetime import datetime

from migration_assets.evidence import model

_SYSTEMS = ("mssql", "iceberg", "starrocks")


class Sums:
    """Adds up the evidence of tables; keeps nothing of a table but numbers."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._totals = model.Totals(
            tables=0, tables_done=0, tables_compared=0, partitions=0, partitions_done=0,
            rows=model.Rows(mssql=0, iceberg=0, starrocks=0), bytes=0, seconds=0.0, attempts=0,
            checks=0, checks_passed=0, losses=0, started_at=None, ended_at=None,
        )  # fmt: skip
        self._is_wrong = False

    def add(self, table: model.Table) -> None:
        """Add a table."""
        so_far = self._totals
        self._totals = model.Totals(
            tables=so_far.tables + 1,
            tables_done=so_far.tables_done + (table.status == "done"),
            tables_compared=so_far.tables_compared + (table.valid is True),
            partitions=so_far.partitions + table.partitions,
            partitions_done=so_far.partitions_done + table.done,
            rows=model.Rows(
                **{
                    system: _plus(getattr(so_far.rows, system), getattr(table.rows, system))
                    for system in _SYSTEMS
                }
            ),
            bytes=so_far.bytes + table.bytes,
            seconds=round(so_far.seconds + table.seconds, 3),
            attempts=so_far.attempts + table.attempts,
            checks=so_far.checks + table.checks,
            checks_passed=so_far.checks_passed + table.checks_passed,
            losses=so_far.losses + len(table.losses),
            started_at=_first(so_far.started_at, table.started_at),
            ended_at=_last(so_far.ended_at, table.ended_at),
        )
        self._is_wrong = self._is_wrong or table.status != "done" or table.valid is False

    @property
    def is_complete(self) -> bool:
        """Whether every table is done and none is known to differ; not for no table at all."""
        return self._totals.tables > 0 and not self._is_wrong

    def totals(self) -> model.Totals:
        """The sums; rows of a system are None where a table's are not known."""
        return self._totals


def _plus(one: int | None, other: int | None) -> int | None:
    return None if one is None or other is None else one + other


def _first(one: datetime | None, other: datetime | None) -> datetime | None:
    return min((at for at in (one, other) if at is not None), default=None)


def _last(one: datetime | None, other: datetime | None) -> datetime | None:
    return max((at for at in (one, other) if at is not None), default=None)
