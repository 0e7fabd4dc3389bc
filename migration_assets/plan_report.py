"""The plan as a person reads it in a terminal; knows rich and the plan, nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from migration_assets.losses import TableLoss, table_losses
from migration_assets.naming import full_name
from migration_assets.plan import MigrationPlan, TablePlan

_MOST_NAMES = 100
"""More names than these for one reason nobody reads in a terminal."""
_WIDE = 100
"""From this width on, columns have their full headings."""


def render(plan: MigrationPlan, console_width: int, *, replication_num: int) -> RenderableType:
    """Show a plan: a line per table, then warnings, what is left out, notes and totals.

    Args:
        plan: the plan.
        console_width: width of the terminal in characters; made for 80 and more.
        replication_num: copies of each StarRocks tablet.
    """
    parts: list[RenderableType] = [_tables(plan, is_wide=console_width >= _WIDE)]
    names_by_warnings: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for table in plan.tables:
        if table.warnings:
            names_by_warnings[table.warnings].append(table.full_name)
    if names_by_warnings:
        parts.append(_heading("Warnings"))
    for warnings, names in names_by_warnings.items():  # tables that say the same stand together
        parts += [Padding(Text(", ".join(names), style="bold"), (0, 0, 0, 2)), _listed(warnings, 4)]
    losses = [(table, loss) for table in plan.tables for loss in table_losses(table)]
    if losses:
        parts += [_heading("What changes on the way, or may stop a load"), _losses(losses)]
    if plan.skipped:
        parts.append(_heading(f"Left out: {_counted(len(plan.skipped), 'object')}"))
        names_by_reason: dict[str, list[str]] = defaultdict(list)
        for skipped in plan.skipped:
            names_by_reason[skipped.reason].append(
                full_name(skipped.source_schema, skipped.source_name)
            )
        for reason, names in names_by_reason.items():
            parts.append(Padding(Text(_sentence(reason)), (0, 0, 0, 2)))
            parts.append(Padding(_capped(names), (0, 0, 0, 4)))
    if plan.notes:
        parts += [_heading("Notes"), _listed(plan.notes, 2)]
    parts += [_heading("Total"), _totals(plan, replication_num)]
    return Group(*parts)


def _capped(names: list[str]) -> Text:
    """Names that share a reason; of thousands of views only the first."""
    shown = Text(", ".join(names[:_MOST_NAMES]), style="bold")
    if len(names) > _MOST_NAMES:
        shown.append(
            f" and {len(names) - _MOST_NAMES:,} more, listed in the plan", style="not bold"
        )
    return shown


def _tables(plan: MigrationPlan, *, is_wide: bool) -> Table:
    """One row per table; a narrow terminal has the engine only where it differs."""
    has_engine = is_wide or len({table.engine for table in plan.tables}) > 1
    grid = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    grid.add_column("SQL Server table", ratio=1, overflow="fold")
    grid.add_column("Rows", justify="right", no_wrap=True)
    grid.add_column("Size", justify="right", no_wrap=True)
    grid.add_column("Partitions" if is_wide else "Part.", justify="right", no_wrap=True)
    if has_engine:
        grid.add_column("Engine", no_wrap=True)
    grid.add_column("Target", ratio=1, overflow="fold")
    grid.add_column("Warnings" if is_wide else "Warn.", justify="right", no_wrap=True)
    for table in plan.tables:
        grid.add_row(
            Text(table.full_name),
            f"{table.rows:,}",
            _size(table.bytes),
            _partitions(table, is_wide=is_wide),
            *([table.engine.value] if has_engine else []),
            Text(_target(table)),
            Text(str(len(table.warnings)), style="yellow") if table.warnings else "",
        )
    return grid


def _losses(losses: Iterable[tuple[TablePlan, TableLoss]]) -> Padding:
    """One entry for each kind of loss in a table: what, how many rows, and what would keep it."""
    grid = Table(box=None, pad_edge=False, show_header=False, padding=0)
    grid.add_column(overflow="fold")
    for table, loss in losses:
        heading = Text(f"{table.full_name}: {', '.join(loss.columns)}", style="bold")
        heading.append(f"  {', '.join(loss.mssql_types)}", style="not bold")
        grid.add_row(heading)
        counted = " (Not counted: plan --measure does.)" if loss.countable else ""
        if loss.affected is not None:
            counted = f" It concerns {loss.affected:,} values in {table.rows:,} rows."
        grid.add_row(Padding(Text(f"{_sentence(loss.what)}{counted}"), (0, 0, 0, 2)))
        if loss.remedy:
            grid.add_row(
                Padding(Text(f"To keep it, in migration.yaml: {loss.remedy}"), (0, 0, 0, 2))
            )
    return Padding(grid, (0, 0, 0, 2))


def _partitions(table: TablePlan, *, is_wide: bool) -> str:
    """How many, and by what where they are windows of time."""
    by = f" by {table.window.by.value}" if is_wide and table.window is not None else ""
    return f"{len(table.key_ranges)}{by}"


def _target(table: TablePlan) -> str:
    """The name in Iceberg, and that in StarRocks where it is another one."""
    iceberg = f"{table.namespace}.{table.iceberg_table}"
    starrocks = f"{table.starrocks_database}.{table.starrocks_table}"
    return iceberg if iceberg == starrocks else f"{iceberg}\n{starrocks} (StarRocks)"


def _totals(plan: MigrationPlan, replication_num: int) -> Padding:
    tables = plan.tables
    partitions = sum(len(table.key_ranges) for table in tables)
    buckets = sum(len(table.key_ranges) * table.buckets for table in tables)
    known = [table.bytes for table in tables if table.bytes is not None]
    unknown = len(tables) - len(known)
    size = _size(sum(known)) if known or not tables else "?"
    lines = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    lines.add_column(no_wrap=True)
    lines.add_column(justify="right", no_wrap=True)
    lines.add_column(overflow="fold")
    lines.add_row("Tables", f"{len(tables):,}", _warned(tables))
    lines.add_row("Rows", f"{sum(table.rows for table in tables):,}", "estimated")
    lines.add_row(
        "Size", size, f"without {_counted(unknown, 'table')} of unknown size" if unknown else ""
    )
    engines = ", ".join(sorted({table.engine.value for table in tables}))
    lines.add_row("Partitions", f"{partitions:,}", f"extracted by {engines}" if engines else "")
    lines.add_row(
        "Tablets",
        f"{buckets * replication_num:,}",
        f"in StarRocks: partitions x buckets x {_counted(replication_num, 'replica')}",
    )
    return Padding(lines, (0, 0, 0, 2))


def _warned(tables: Iterable[TablePlan]) -> str:
    count = sum(bool(table.warnings) for table in tables)
    return f"{count:,} with warnings" if count else "none with warnings"


def _heading(text: str) -> Text:
    return Text(f"\n{text}", style="bold underline")


def _listed(sentences: Iterable[str], indent: int) -> Table:
    """A list with a hanging indent, so that long sentences stay readable."""
    grid = Table(box=None, pad_edge=False, show_header=False, padding=0)
    grid.add_column(width=indent + 2)
    grid.add_column(overflow="fold")
    for sentence in sentences:
        grid.add_row(f"{' ' * indent}- ", Text(sentence))
    return grid


def _sentence(reason: str) -> str:
    text = reason[0].upper() + reason[1:]
    return text if text.endswith(".") else f"{text}."


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _size(size: int | None) -> str:
    """Bytes in the largest decimal unit: `1.2 GB`; a question mark when unknown."""
    if size is None:
        return "?"
    value = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if round(value, 1) < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:,.1f} TB"
