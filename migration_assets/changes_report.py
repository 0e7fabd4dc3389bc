"""Changes of a plan as a person reads them in a terminal; knows rich, nothing of servers."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from migration_assets.plan_changes import Area, Change, Kind, PlanChanges, Remedy, TableChange

_MARKS = {Kind.ADDED: ("+", "green"), Kind.REMOVED: ("-", "red"), Kind.CHANGED: ("~", "yellow")}

_COMMANDS = {
    Remedy.EVOLVE: (
        "Columns change in place, and the rows stay:",
        "migration-assets evolve",
    ),
    Remedy.RESET: (
        "What was migrated is not valid under the new plan; delete and migrate again:",
        "migration-assets reset",
    ),
    Remedy.RUN: (
        "Partitions get other keys or must show one point in time: migrate them again:",
        "migration-assets run --failed --tables",
    ),
    Remedy.WINDOWS: (
        "The window that was open has got an end: it is migrated again, then the new ones:",
        "migration-assets run --failed --tables",
    ),
}


def render_changes(changes: PlanChanges) -> RenderableType:
    """Show what differs, table by table, then the commands that follow from it.

    Readable from 80 columns on.

    Args:
        changes: what `compare_plans` found.
    """
    if not changes:
        return Text("No changes: the plan still fits the source and migration.yaml.")
    parts: list[RenderableType] = [Text("What changes", style="bold underline")]
    parts += [_line(change, 0) for change in changes.plan]
    for table in changes.tables:
        parts += _table(table)
    counts = ", ".join(f"{changes.count(kind)} {kind.value}" for kind in Kind)
    parts.append(Text(f"\nTables: {counts}."))
    for remedy, (heading, command) in _COMMANDS.items():
        if tables := changes.needing(remedy):
            parts.append(Text(f"\n{heading}", style="bold"))
            parts += [Padding(Text(f"{command} {_quoted(t.table)}"), (0, 0, 0, 2)) for t in tables]
    if changes.count(Kind.REMOVED):
        parts.append(Text("\nRemoved tables stay where they are in Iceberg and StarRocks."))
    return Group(*parts)


def _quoted(name: str) -> str:
    """A table's name as a shell takes it."""
    import shlex

    return shlex.quote(name)


def _table(table: TableChange) -> list[RenderableType]:
    mark, style = _MARKS[table.kind]
    said = {
        Remedy.EVOLVE: "evolves, its rows stay",
        Remedy.RESET: "must be reset",
        Remedy.RUN: "is migrated again",
        Remedy.WINDOWS: "one window is migrated again, new ones follow",
    }.get(table.remedy, "")
    heading = Text(f"{mark} {table.table}", style=style)
    if table.kind is not Kind.CHANGED:
        partitions = "1 partition" if table.partitions == 1 else f"{table.partitions} partitions"
        said = f"{table.rows:,} rows, {partitions}"
    if said:
        heading.append(f"  {said}", style="bold" if table.kind is Kind.CHANGED else "not bold")
    parts: list[RenderableType] = [heading]
    for area in Area:
        found = [change for change in table.changes if change.area is area]
        if found:
            parts.append(Padding(Text(area.value, style="italic"), (0, 0, 0, 4)))
            parts += [_line(change, 4) for change in found]
    if table.remedy is Remedy.RESET:
        parts.append(Padding(Text(f"because {'; '.join(table.reasons)}"), (0, 0, 0, 4)))
    return parts


def _line(change: Change, indent: int) -> RenderableType:
    """`~ name: old` and below it `-> new`, with a hanging indent; one line for what comes or goes."""
    mark, style = _MARKS[change.kind]
    grid = Table(box=None, pad_edge=False, show_header=False, padding=0)
    grid.add_column(width=indent + 4)
    grid.add_column(overflow="fold")
    name = f"{change.name}: " if change.name else ""
    first = change.new if change.kind is Kind.ADDED else change.old
    grid.add_row(Text(f"{' ' * (indent + 2)}{mark} ", style=style), Text(f"{name}{first}"))
    if change.kind is Kind.CHANGED:
        grid.add_row("", Text(f"=> {change.new}"))
    return grid
