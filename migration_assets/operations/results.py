"""What came of a run, and how far it is: what `run` shows, and writes to `report.json`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from migration_assets.errors import ConfigurationError
from migration_assets.operations.status import FailedStep


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
    """

    plan_id: str
    tables: list[TableResult]
    failures: list[FailedStep]
    seconds: float
    interrupted: bool = False

    @property
    def success(self) -> bool:
        """Whether everything selected is done and nothing that was validated differs."""
        return not self.interrupted and all(
            table.status == "done" and table.valid is not False for table in self.tables
        )

    def write(self, path: Path) -> None:
        """Write `report.json`.

        Raises:
            ConfigurationError: it cannot be written there.
        """
        body = {
            "version": 1,
            "plan_id": self.plan_id,
            "success": self.success,
            "interrupted": self.interrupted,
            "seconds": round(self.seconds, 1),
            "tables": [
                {
                    "table": table.table,
                    "status": table.status,
                    "partitions": table.partitions,
                    "done": table.done,
                    "rows": table.rows,
                    "attempts": table.attempts,
                    "seconds": round(table.seconds, 1),
                    "checks": table.checks,
                    "checks_passed": table.checks_passed,
                    "valid": table.valid,
                    "difference": table.difference,
                    "note": table.note,
                }
                for table in self.tables
            ],
            "failures": [
                {
                    "table": failure.table,
                    "partition": failure.partition_key,
                    "stage": failure.stage.value,
                    "code": failure.code,
                    "cause": failure.cause,
                    "next_step": failure.next_step,
                    "retry": failure.retry,
                    "run_id": failure.run_id,
                }
                for failure in self.failures
            ],
        }
        text = json.dumps(body, indent=1, ensure_ascii=False) + "\n"
        try:
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"The report cannot be written to {path}: {error.strerror}; what was migrated stays.",
                code="MA-CF-028",
                next_step="`migration-assets status` shows it.",
            ) from None


@dataclass
class Progress:
    """How far a run is; given to the caller after every step.

    Attributes:
        steps: asset partitions to make; `done_steps`, `failed_steps` those that ended.
        weight: rows to move through all stages, `done_weight` those that were.
    """

    steps: int
    weight: int
    tables: int
    done_steps: int = 0
    failed_steps: int = 0
    done_weight: int = 0
    started: float = field(default_factory=time.monotonic)
    message: str = ""
    is_draining: bool = False

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the weight done so far; None before there is any."""
        elapsed = time.monotonic() - self.started
        if self.done_weight == 0:
            return None
        return elapsed * (self.weight - self.done_weight) / self.done_weight


Report = Callable[[Progress], None]
