"""The page as Markdown, for a repository or an issue; the plots are numbers here."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from migration_assets.inventory import LeftBehind
from migration_assets.inventory_page.content import SPREAD_NOTE, KindGroup, Page
from migration_assets.inventory_page.table_design import TableDesign
from migration_assets.inventory_page.wording import counted, duration, visible


def markdown(page: Page) -> str:
    """Write the page down."""
    return "\n".join(_lines(page)) + "\n"


_SPECIAL = re.compile(r"[\\`*_\[\]|~$]|^[-+#=>]")
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "@": "&#64;"}
"""`@` would call a person of that name to an issue."""


def text(value: object) -> str:
    """Plain text in which nothing is markup, be it Markdown's or HTML's."""
    shown = visible(str(value))
    escaped = _NUMBERED.sub(r"\1\\\2", _SPECIAL.sub(r"\\\g<0>", shown))
    return "".join(_ENTITIES.get(character, character) for character in escaped)


def fenced(content: str, language: str) -> str:
    """A block of code whose fence is longer than any in it."""
    longest = max((len(run) for run in re.findall(r"`+", content)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{content}\n{fence}"


def _table(
    heads: Sequence[str], rows: Sequence[Sequence[object]], right: str = ""
) -> Iterator[str]:
    """Rows of escaped cells; `right` has an `r` for each column that stands to the right."""
    if not rows:
        return
    marks = right.ljust(len(heads))
    yield f"| {' | '.join(heads)} |"
    yield f"| {' | '.join('---:' if mark == 'r' else '---' for mark in marks)} |"
    for row in rows:
        yield f"| {' | '.join(text(cell) for cell in row)} |"
    yield ""


def _lines(page: Page) -> Iterator[str]:
    yield f"# Migration of {text(page.database)} on {text(page.server)}"
    yield ""
    yield f"Plan `{page.plan_id}`, {page.made_at}."
    yield ""
    yield from _table(["", "", ""], [(f.label, f.value, f.note) for f in page.facts], " r")
    if page.decisions:
        yield "## To be decided"
        yield ""
        yield from _listed(page.decisions)
    yield "## Sizes"
    yield ""
    columns = ["Schema", "Tables", "Rows", "Size", "Partitions"]
    yield from _table(
        columns,
        [(s.name, f"{s.tables:,}", s.rows, s.size, f"{s.partitions:,}") for s in page.schemas],
        " rrrr",
    )
    columns = ["Table", "Rows", "Size", "Partitions", "Engine", "Target", "Work", "Warnings"]
    yield from _table(
        columns,
        [
            (t.name, t.rows, t.size, t.partitions, t.engine, t.target, t.seconds, t.warnings)
            for t in page.tables
        ],
        " rrr  rr",
    )
    yield from _partitions(page)
    yield from _duration(page)
    yield from _losses(page)
    yield "## Left out"
    yield ""
    if not page.skipped:
        yield "No table is left out."
        yield ""
    for group in page.skipped:
        yield f"**{text(group.reason)}** {counted(len(group.names), 'object')}: {_names(group.names)}"
        yield ""
    yield "## Not migrated"
    yield ""
    yield "What is no table stays in SQL Server. Listed is what this login may see."
    yield ""
    for kind in page.left_behind:
        yield from _kind(kind)
    yield from _listed(page.inventory_notes)
    yield "## Tables in StarRocks"
    yield ""
    for _, designs in page.designs:
        for design in designs:
            yield from _design(design)
    yield "## Notes"
    yield ""
    yield from _listed(page.notes or ("None.",))


def _listed(sentences: Sequence[str]) -> Iterator[str]:
    for sentence in sentences:
        yield f"- {text(sentence)}"
    yield ""


def _names(names: Sequence[str]) -> str:
    return ", ".join(map(text, names))


def _partitions(page: Page) -> Iterator[str]:
    yield "## Partitions"
    yield ""
    yield from _table(
        ["Rows of a partition", ""], [(b.label, b.text) for b in page.partition_sizes]
    )
    if page.balance_notes:
        yield from _listed(page.balance_notes)
    yield from _table(
        ["Table", "Partitions", "Mean rows", "Largest", "x mean", "Rows are"],
        [
            (
                *(b.table, len(b.rows), f"{b.mean:,.0f}", f"{max(b.rows):,}", f"{b.ratio:.2f}"),
                "estimated" if b.estimated else "counted",
            )
            for b in page.balances
        ],
        " rrrr ",
    )


def _duration(page: Page) -> Iterator[str]:
    expected = page.estimate
    yield "## Duration"
    yield ""
    yield (
        f"An estimate of **{duration(expected.seconds)}**; {duration(expected.fastest)} or "
        f"{duration(expected.slowest)} {SPREAD_NOTE}. It is arithmetic over the rows and bytes of "
        "the plan, not a measurement of your servers. What it waits for most: "
        f"{text(expected.bound)}."
    )
    yield ""
    yield from _table(["Assumption", "Value", "Unit", "From"], page.assumptions, " r")


def _losses(page: Page) -> Iterator[str]:
    yield "## What changes on the way"
    yield ""
    if not page.losses:
        yield "Nothing: every column of the plan arrives exactly."
        yield ""
    for group in page.losses:
        yield f"**{text(group.what)}**"
        yield ""
        yield from _table(
            ["Table", "Columns", "Type", "Values in rows", "To keep it"],
            [
                (
                    name,
                    ", ".join(loss.columns),
                    ", ".join(loss.mssql_types),
                    "not counted" if loss.affected is None else f"{loss.affected:,} in {rows:,}",
                    loss.remedy,
                )
                for name, loss, rows in group.places
            ],
            "   r",
        )
    if page.warnings:
        yield "### Warnings"
        yield ""
        for warned in page.warnings:
            yield f"- {text(warned.reason)} {_names(warned.names)}"
        yield ""


def _kind(kind: KindGroup) -> Iterator[str]:
    if kind.count is None:
        yield f"**{kind.kind}**: not known."
        yield ""
    elif kind.count:
        yield f"**{kind.kind}**: {kind.count:,}. {kind.advice}"
        yield ""
        for schema, objects in kind.by_schema:
            place = f"{text(schema)}: " if schema else ""
            yield f"- {place}{'; '.join(map(_left, objects))}"
        if kind.hidden:
            yield f"- and {kind.hidden:,} more"
        yield ""


def _left(one: LeftBehind) -> str:
    return text(" ".join(filter(None, (one.name, one.of and f"on {one.of}", one.detail))))


def _design(design: TableDesign) -> Iterator[str]:
    yield f"### {text(design.name)}"
    yield ""
    yield f"From {text(design.source)}."
    yield ""
    for name, reason in design.reasons:
        yield f"- {name}: {text(reason)}"
    yield ""
    yield fenced(f"{design.ddl};", "sql") if design.ddl else text(design.refusal)
    yield ""
