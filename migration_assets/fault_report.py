"""The tables of `docs/faults.md`, rendered from the `faults.py` modules.

`python -m migration_assets.fault_report` puts them into the file.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from migration_assets.faults import FaultRule
from migration_assets.iceberg.faults import FAULTS as ICEBERG
from migration_assets.mssql.faults import FAULTS as MSSQL
from migration_assets.starrocks.faults import FAULTS as STARROCKS

SYSTEMS: Mapping[str, Sequence[FaultRule]] = {
    "mssql": MSSQL,
    "iceberg": ICEBERG,
    "starrocks": STARROCKS,
}
_HEAD = ("Code", "Fault", "Recognized by", "Tried again", "Error", "Next step")


def fault_table(system: str) -> str:
    """Render the rules of a system as a Markdown table, in the order in which they are asked."""
    lines = [_line(_HEAD), _line(["---"] * len(_HEAD))]
    lines += [_line(_cells(rule)) for rule in SYSTEMS[system]]
    return "\n".join(lines) + "\n"


def markers(system: str) -> tuple[str, str]:
    """The comments between which a table stands."""
    return f"<!-- {system}: begin -->\n", f"<!-- {system}: end -->"


def with_tables(document: str) -> str:
    """The document with all its tables as they should be."""
    for system in SYSTEMS:
        begin, end = markers(system)
        before, rest = document.split(begin)
        document = f"{before}{begin}{fault_table(system)}{end}{rest.split(end, 1)[1]}"
    return document


def _cells(rule: FaultRule) -> Sequence[str]:
    # A vertical line would end the cell, also within code.
    signs = ", ".join(f"`{sign}`".replace("|", r"\|") for sign in rule.signs)
    again = "no"
    if rule.transient:
        again = f"yes, after {rule.wait_s:g} s or more" if rule.wait_s else "yes"
    meaning = f"[{rule.meaning}]({rule.source})"
    return (
        f"[{rule.code}](errors.md#{rule.code.lower()})",
        meaning,
        signs or "anything else",
        again,
        rule.error.__name__,
        rule.next_step,
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell or '-' for cell in cells)} |"


if __name__ == "__main__":
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/faults.md")
    path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
