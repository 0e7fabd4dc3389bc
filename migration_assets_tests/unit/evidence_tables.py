"""Evidence of tables that nobody migrated, for the page and the sums."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from migration_assets.evidence import model

BEGAN = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
SYSTEMS = ("mssql", "iceberg", "starrocks")
HEAD = model.Head(
    made_at=datetime(2026, 11, 23, 6, 30, tzinfo=UTC),
    plan_id="59d2f1c0a7b34e66",
    hosts=model.Hosts(
        server="SQL1",
        database="shop",
        warehouse="s3://lake/warehouse",
        catalog="glue",
        starrocks="starrocks:9030",
        written_on="operator-1",
    ),
    versions={"python": "3.11.2", "migration-assets": "0.1.0", "dagster": "1.13.27"},
    run=None,
)


def check(name: str, at: datetime, outcome: str = "passed") -> model.Check:
    said = "Equal." if outcome == "passed" else "rows: expected 10, found 9."
    made = {"check": name, "outcome": outcome, "said": said, "at": at}
    return model.Check.model_validate(made | ({"columns": 4} if name == "fingerprint" else {}))


def partition(
    key: str, rows: int, began: datetime, *, retries: int = 0, state: str = "done"
) -> model.Partition:
    """A partition that went through all stages, or failed in the last one."""
    stages = []
    counts: dict[str, int | None] = dict.fromkeys(SYSTEMS)
    for stage, cost in zip(SYSTEMS, (20e-6, 1e-6, 8e-6), strict=True):
        seconds = 0.4 + rows * cost
        began += timedelta(seconds=seconds)
        is_made = stage != "starrocks" or state == "done"
        names = {"mssql": ("row_count", "fingerprint"), "iceberg": ("row_count",)}.get(
            stage, ("row_count", "fingerprint")
        )
        counts[stage] = rows if is_made else None
        stages.append(
            model.Stage(
                stage=stage,  # type: ignore[arg-type] - one of the three
                state="done" if is_made else state,
                rows=rows if is_made else None,
                ended_at=began if is_made else None,
                seconds=round(seconds, 3) if is_made else None,
                rows_per_second=int(rows / seconds) if is_made else None,
                bytes=rows * 40 if stage == "mssql" else None,
                attempts=1 + (retries if stage == "mssql" else 0),
                retries=retries if stage == "mssql" else 0,
                run_id="0a1b2c3d-0000-0000-0000-000000000000",
                checks=tuple(check(name, began) for name in names) if is_made else (),
            )
        )
    return model.Partition(
        partition=key,
        range=f"[id] >= {rows}",
        state=state,
        rows=model.Rows(**counts),
        stages=tuple(stages),
        snapshot_id="8043162279816537102",
        consistency="snapshot",
    )


def table(
    name: str,
    sizes: list[int],
    *,
    began: datetime = BEGAN,
    retried: bool = False,
    state: str = "done",
    losses: tuple[model.Loss, ...] = (),
) -> model.Table:
    """A table whose last partition ends in a state."""
    partitions = []
    for number, rows in enumerate(sizes):
        is_last = number == len(sizes) - 1
        partitions.append(
            partition(
                f"p{number:03d}",
                rows,
                began + timedelta(seconds=number),
                retries=int(retried and number == 0),
                state=state if is_last else "done",
            )
        )
    stages = [stage for one in partitions for stage in one.stages]
    ends = [stage.ended_at for stage in stages if stage.ended_at]
    is_done = state == "done"
    checks = sum(len(stage.checks) for stage in stages)
    return model.Table(
        table=f"sales.{name}",
        table_id="t1",
        status="done" if is_done else "failed",
        partitions=len(sizes),
        done=len(sizes) - (not is_done),
        rows=model.Rows(
            mssql=sum(sizes), iceberg=sum(sizes), starrocks=sum(sizes) if is_done else None
        ),
        attempts=sum(stage.attempts for stage in stages),
        seconds=round(sum(stage.seconds or 0 for stage in stages), 3),
        seconds_by_stage={
            system: round(sum(s.seconds or 0 for s in stages if s.stage == system), 3)
            for system in SYSTEMS
        },
        bytes=sum(sizes) * 40,
        started_at=began,
        ended_at=max(ends),
        checks=checks,
        checks_passed=checks,
        valid=True if is_done else None,
        difference="",
        note="",
        verification="full",
        engine="arrow",
        targets=model.Target(
            iceberg=f"sales.{name}",
            location=f"s3://lake/warehouse/sales/{name}",
            starrocks=f"sales.{name}",
        ),
        fingerprint_columns=("id", "name", "placed", "price"),
        comparison=None,
        losses=losses,
        left_out_columns=(),
        warnings=(),
        by_partition=tuple(partitions),
    )


def many(count: int) -> list[model.Table]:
    """Tables as a database has them: many small ones, a few large ones, some that gave trouble."""
    draw = random.Random(7)
    loss = model.Loss(
        columns=("placed",),
        types=("datetime2(7)",),
        what="the seventh digit (100 ns) is cut off",
        values=1_234,
        to_keep_it="fractions: column or text",
    )
    made = []
    for number in range(count):
        parts = draw.choice((1, 1, 1, 1, 8, 8, 64 if number % 9 == 0 else 16))
        rows = int(draw.lognormvariate(9, 2))
        sizes = [int(rows / parts * draw.uniform(0.6, 1.5)) + 1 for _ in range(parts)]
        made.append(
            table(
                f"{draw.choice(('orders', 'invoice', 'customer', 'shipment_line', 'price'))}_{number:03d}",
                sizes,
                began=BEGAN
                + timedelta(seconds=number * 40 + (7_200 if number > count // 2 else 0)),
                retried=number % 17 == 3,
                state="failed" if number == 5 else "done",
                losses=(loss,) if number % 11 == 0 else (),
            )
        )
    return made


def tail(*, totals: model.Totals, success: bool, failures: int = 1) -> model.Tail:
    """What stands at the end."""
    failed = model.Failure(
        table="sales.price_005",
        partition="p000",
        stage="starrocks",
        code="MA-SR-003",
        cause="StarRocks refused the load: Access denied; you need the INSERT privilege.",
        next_step="Grant INSERT on sales.price_005.",
        retry="migration-assets run --failed --tables sales.price_005 --partitions p000",
        run_id="0a1b2c3d",
    )
    return model.Tail(
        success=success,
        totals=totals,
        failures=(failed,) * failures,
        not_migrated=(
            model.LeftOut(name="dbo.Import", reason="it has no columns"),
            model.LeftOut(
                name="views", reason="it is no table, and stays in SQL Server", count=2,
                names=("sales.v_one", "sales.v_two"),
            ),
        ),
        notes=("sys.dm_db_partition_stats could not be read: sizes are unknown.",),
    )  # fmt: skip
