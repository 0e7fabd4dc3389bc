"""What came of a run, and how far it is: what `run` shows; `report.py` writes it down."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from migration_assets.assets.translator import Stage
from migration_assets.operations.status import FailedStep
from migration_assets.operations.time_left import TimeLeft
from migration_assets.plan import MigrationPlan


@dataclass
class TableResult:
    """What became of one table.

    Attributes:
        rows: by system, from the receipts' row counts; filled by the validation.
        attempts: steps that were tried, retries included.
        seconds: sum over its steps.
        checks: partitioned checks evaluated so far, `checks_passed` those that passed.
        note: what the reader should know although nothing failed.
    """

    table: str
    partitions: int
    done: int = 0
    rows: dict[str, int | None] = field(default_factory=dict)
    attempts: int = 0
    seconds: float = 0.0
    checks: int = 0
    checks_passed: int = 0
    valid: bool | None = None
    difference: str = ""
    note: str = ""

    @property
    def status(self) -> str:
        """`done` when every selected partition is, else `failed`."""
        return "done" if self.done == self.partitions else "failed"


@dataclass
class MigrationResult:
    """What became of a run.

    Attributes:
        interrupted: a person stopped it.
        failures: why each failed partition failed.
        plan: what was migrated by; None in a result that nobody reports.
        partition_keys: those that were selected; empty for all.
        last: the last stage that was asked for.
    """

    plan_id: str
    tables: list[TableResult]
    failures: list[FailedStep]
    seconds: float
    interrupted: bool = False
    plan: MigrationPlan | None = None
    partition_keys: tuple[str, ...] = ()
    last: Stage = Stage.STARROCKS

    @property
    def success(self) -> bool:
        """Whether everything selected is done and nothing that was validated differs."""
        return not self.interrupted and all(
            table.status == "done" and table.valid is not False for table in self.tables
        )


@dataclass
class Progress:
    """How far a run is; given to the caller after every step.

    Attributes:
        steps: asset partitions to make; `done_steps`, `failed_steps` those that ended.
        weight: rows to move through all stages, `done_weight` those that were, or never will be
            because their steps failed.
        pause: what is waited for, and until when; empty where nothing is.
        time_left: what the estimate is made from.
    """

    steps: int
    weight: int
    tables: int
    done_steps: int = 0
    failed_steps: int = 0
    done_weight: int = 0
    started: float = field(default_factory=time.monotonic)
    message: str = ""
    pause: str = ""
    is_draining: bool = False
    time_left: TimeLeft = field(default_factory=TimeLeft)

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the pace so far; None while too little is known."""
        return self.time_left.estimate(time.monotonic() - self.started)

    def end(self, stage: str, weight: int, *, made: bool) -> None:
        """Take off the work of a step that ended."""
        self.done_weight += weight
        self.time_left.end(stage, weight, made=made)


Report = Callable[[Progress], None]
