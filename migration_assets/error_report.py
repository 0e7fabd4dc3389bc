"""`docs/errors.md`, rendered from the registry of error codes.

`python -m migration_assets.error_report` writes the file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from migration_assets.error_codes.entry import ErrorCode
from migration_assets.error_codes.registry import AREAS, CODES

_HEAD = """\
# Error codes

Every error begins with its code: in the terminal, in the log, as the first words of a failure in
Dagster, and in the JSON of `migration-assets status --json` and of reports. A code stands for one cause.
It never changes its meaning, and a code that is no longer used is not given to another cause, so it may
stand in runbooks and alerts. What a message says beside its code may change at any time.

`migration-assets explain MA-SR-014` prints an entry. Codes below 100 of SQL Server, Iceberg and StarRocks
are what those systems answered ([docs/faults.md](faults.md) says which of them are tried again); the
others are what the tool found itself.

This page is made of `migration_assets/error_codes` by `python -m migration_assets.error_report`.
"""


def document() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_contents(), *(line for area in AREAS for line in _section(area))])


def anchor(code: str) -> str:
    """Where the entry of a code begins, as the end of an address of the page."""
    return f"#{code.lower()}"


def _contents() -> Iterator[str]:
    yield "| Area | Codes |"
    yield "| --- | --- |"
    for area, name in AREAS.items():
        linked = ", ".join(f"[{entry.code[3:]}]({anchor(entry.code)})" for entry in _of(area))
        yield f"| {name} | {linked} |"
    yield ""


def _section(area: str) -> Iterator[str]:
    yield f"## {AREAS[area]}\n"
    for entry in _of(area):
        # The title would be a part of the anchor if it stood in the heading.
        yield f"### {entry.code}\n"
        yield f"**{entry.title[0].upper()}{entry.title[1:]}**\n"
        yield f"- Cause: {entry.cause}"
        yield f"- How to see it: {entry.see}"
        yield f"- What to do: {entry.remedy}\n"


def _of(area: str) -> list[ErrorCode]:
    return [entry for entry in CODES.values() if entry.code[3:5] == area]


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/errors.md")
    path.write_text(document().rstrip("\n") + "\n", encoding="utf-8")
