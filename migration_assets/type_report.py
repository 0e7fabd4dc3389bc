"""The table of types in docs/types.md, rendered from `TYPE_MAPPINGS`, and README's shorter one.

`python -m migration_assets.type_report` writes the first to its output, with `--short` the second.
Types that become the same share a line. `n`, `p` and `s` stand for the numbers of a declaration;
the choices are those of `migration.yaml` (`conversions.py`).
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Sequence

from migration_assets.losses import remedy
from migration_assets.type_mapping import TYPE_MAPPINGS, TypeMapping

_HEAD = ("SQL Server", "Iceberg", "StarRocks", "Kept", "Note", "Choices")
_DECLARED = {
    "decimal": "decimal(p,s)",
    "numeric": "numeric(p,s)",
    "datetime2": "datetime2(0) to (6)",
    "datetimeoffset": "datetimeoffset(0) to (6)",
    "char": "char(n)",
    "varchar": "varchar(n)",
    "nchar": "nchar(n)",
    "nvarchar": "nvarchar(n)",
    "binary": "binary(n)",
    "varbinary": "varbinary(n)",
    "timestamp": "rowversion (timestamp)",
    "vector": "vector(n)",
    "clr": "CLR types of your own",
}
"""How T-SQL declares a type where the name in `sys.types` says less."""


def type_table(*, short: bool = False) -> str:
    """Render every row of `TYPE_MAPPINGS` as a Markdown table, in the order of first occurrence.

    Args:
        short: leave out notes and choices.
    """
    width = _HEAD.index("Note") if short else len(_HEAD)
    names: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for row in TYPE_MAPPINGS:
        names[_target(row)[: width - 1]].append(_DECLARED.get(row.mssql, row.mssql))
    lines = [_line(_HEAD[:width]), _line(["---"] * width)]
    lines += [_line([", ".join(sources), *target]) for target, sources in names.items()]
    return "\n".join(lines) + "\n"


def _target(row: TypeMapping) -> tuple[str, ...]:
    """What a type becomes, as cells."""
    # Each of the n units of a text may need 3 bytes of UTF-8; a binary value has its own n.
    width = "n" if row.measure == "binary" else "3n"
    iceberg, starrocks = (
        text.format(precision="p", scale="s", bytes=width) for text in (row.iceberg, row.starrocks)
    )
    choices = "; ".join(f"`{remedy(loss, row.iceberg)}`" for loss in row.loses)
    return iceberg, starrocks, row.fidelity.value, row.note, choices


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell or '-' for cell in cells)} |"


if __name__ == "__main__":
    sys.stdout.write(type_table(short="--short" in sys.argv[1:]))
