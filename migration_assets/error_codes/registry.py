"""All codes: those of the tables of faults, and those of what we find ourselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from migration_assets.error_codes import configuration, lake, planning, runs, source, spark, target
from migration_assets.error_codes.answers import ANSWERS
from migration_assets.error_codes.entry import ErrorCode
from migration_assets.faults import FaultRule
from migration_assets.iceberg.faults import FAULTS as ICEBERG
from migration_assets.mssql.faults import FAULTS as MSSQL
from migration_assets.starrocks.faults import FAULTS as STARROCKS

AREAS: Mapping[str, str] = {
    "CF": "Configuration",
    "PL": "Plan",
    "MS": "SQL Server",
    "IC": "Iceberg, S3 and the catalog",
    "SR": "StarRocks",
    "SP": "Spark",
    "RC": "Receipts",
    "VE": "Verification",
    "DG": "Dagster and its runs",
    "SB": "Sandbox",
}
"""What the two letters of a code stand for, in the order of `docs/errors.md`."""

_FAULTS: Mapping[str, Sequence[FaultRule]] = {
    "SQL Server": MSSQL,
    "S3 or the catalog": ICEBERG,
    "StarRocks": STARROCKS,
}


def _of_faults(system: str, rules: Sequence[FaultRule]) -> Iterator[ErrorCode]:
    """One entry per code: rules that mean the same share one."""
    by_code: dict[str, list[FaultRule]] = {}
    for rule in rules:
        by_code.setdefault(rule.code, []).append(rule)
    for code, same in by_code.items():
        rule = same[0]
        signs = ", ".join(f"`{sign}`" for one in same for sign in one.signs)
        again = " It is tried again by itself before it is shown." if rule.transient else ""
        known = f" Recognized by {signs} ([source]({rule.source}))." if signs else ""
        cause, see = ANSWERS[code]
        yield ErrorCode(
            code=code,
            title=rule.meaning,
            cause=f"{cause}{again}",
            see=f"{see if see.endswith('.') else f'{see}.'} The message quotes {system}.{known}",
            remedy=rule.next_step or "Do what the quoted words ask for.",
        )


def _by_code(entries: Iterable[ErrorCode]) -> Mapping[str, ErrorCode]:
    found: dict[str, ErrorCode] = {}
    for entry in entries:
        if entry.code in found:
            raise ValueError(f"{entry.code} is given twice")
        found[entry.code] = entry
    order = list(AREAS)
    return dict(sorted(found.items(), key=lambda one: (order.index(one[0][3:5]), one[0])))


CODES: Mapping[str, ErrorCode] = _by_code(
    [
        *(entry for system, rules in _FAULTS.items() for entry in _of_faults(system, rules)),
        *configuration.ENTRIES,
        *planning.ENTRIES,
        *source.ENTRIES,
        *lake.ENTRIES,
        *target.ENTRIES,
        *spark.ENTRIES,
        *runs.ENTRIES,
    ]
)
"""Code to entry, by area and number."""
