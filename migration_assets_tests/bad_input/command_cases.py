"""What is typed: commands, options and their arguments, partition keys."""

from __future__ import annotations

import shlex

from migration_assets_tests.bad_input.case import Case, Kind

USAGE = 0
"""Lines of standard error where click explains the command before its sentence: any number."""


def typed(
    command: str, *said: str, code: int = 2, lines: int = 1, kind: Kind = Kind.ARGUMENT
) -> Case:
    return Case(kind, command or "(nothing)", said, tuple(shlex.split(command)), code, lines=lines)


def misused(command: str, *said: str) -> Case:
    """What click refuses."""
    return typed(command, *said, lines=USAGE)


def keys(given: str, named: str) -> Case:
    """`--partitions`, and the key that the sentence names."""
    return typed(f"run --partitions {given}", f"partition {named}", kind=Kind.PARTITION_KEY)


ARGUMENTS = [
    misused("nonsense", "No such command 'nonsense'"),
    misused("--verbose", "No such option '--verbose'"),
    misused("run --evrything", "No such option '--evrything'"),
    misused("run Items", "unexpected extra argument"),
    misused("run --until nowhere", "'nowhere' is not one of"),
    misused("run --tables", "requires an argument"),
    misused("run --report .", "'.' is a directory"),
    misused("validate --level all", "'all' is not one of 'count', 'full', 'rows'"),
    misused("validate --sample 5", "--sample goes with --level rows"),
    misused("validate --level rows --sample 0", "0 is not in the range"),
    misused("validate --level rows --sample many", "'many' is not a valid integer"),
    misused("validate --until mssql", "'mssql' is not one of"),
    misused("maintain --engine flink", "'flink' is not one of"),
    misused("doctor --until mssql", "'mssql' is not one of"),
    misused("reset", "Missing argument 'TABLES...'"),
    misused("evolve", "Missing argument 'TABLES...'"),
    misused("plan --assume x=1", "--assume goes with --report"),
    misused("plan --report .", "'.' is a directory"),
    misused("sandbox start oracle", "'oracle' is not one of"),
    misused("dev --port x", "'x' is not a valid integer"),
    typed("run --from starrocks --until mssql", "no stage from starrocks to mssql"),
    typed("run --tables sales.*", "No table of the plan matches 'sales.*'"),
    typed("run --tables dbo.Items dbo.Nope", "matches 'dbo.Nope'"),
    typed("run --tables ''", "matches ''"),
    typed("run --tables '['", "matches '['"),
    typed("run --tables [dbo].[Items]", "No table of the plan matches '[dbo].[Items]'"),
    typed("run --tables Items", "matches 'Items'"),
    typed("run --tables dbo.Items,dbo.Ranged", "--tables dbo.Items dbo.Ranged."),
    typed("run --report nowhere/report.json", "there is no folder nowhere"),
    typed("status --watch --tables x", "matches 'x'"),
    typed("reset dbo.Nope --yes", "matches 'dbo.Nope'"),
    typed("reset dbo.Items", "Interrupted.", code=130),
    typed("evolve dbo.Nope", "matches 'dbo.Nope'"),
    typed("maintain --tables nope", "matches 'nope'"),
    typed("maintain --compact --engine pyiceberg", "pyiceberg cannot compact"),
    typed("snapshot show", "consistency statement"),
    typed("snapshot drop", "consistency statement"),
    typed("plan --report page.pdf", ".html or .md"),
    typed("plan --report page.md --assume nope=1", "--assume knows no 'nope'"),
    typed("plan --report page.md --assume load_rows_per_s=fast", "'fast' is no number"),
    typed("plan --report page.md --assume load_rows_per_s=-1", "above zero"),
    typed("plan --report page.md --assume load_rows_per_s=nan", "above zero"),
    typed("plan --dry-run --report /proc/version/page.md", "cannot be written"),
]

PARTITION_KEYS = [
    keys("p999", "'p999'"),
    keys("P001", "'P001'"),
    keys("p1", "'p1'"),
    keys("1", "'1'"),
    keys("p0000", "'p0000'"),
    keys("p-01", "'p-01'"),
    keys("p000-p003", "'p000-p003'"),
    keys("p000..p003", "'p000..p003'"),
    keys("'p000 p001'", "'p000 p001'"),
    keys("'p000;p001'", "'p000;p001'"),
    keys("'p*'", "'p*'"),
    keys("p\uff10\uff101", "'p\uff10\uff101'"),
    keys("' p000 , p009 '", "'p009'"),
    keys("p000,,p010", "'p010'"),
    keys("dbo-items-p000", "'dbo-items-p000'"),
    keys("'[\"p000\"]'", "'[\"p000\"]'"),
    typed("run --tables dbo.Items --partitions p003", "'p003'", kind=Kind.PARTITION_KEY),
    typed("run --partitions ''", "--partitions names no partition", kind=Kind.PARTITION_KEY),
    typed("run --window 20:00", "--window: a beginning and an end are needed"),
    typed("run --window 25:00-06:00", "25:00 is no time of day"),
    typed("run --window ''", "--window: a beginning and an end"),
    typed("run --partitions ,", "--partitions names no partition", kind=Kind.PARTITION_KEY),
    typed("run --failed --partitions ' , '", "names no partition", kind=Kind.PARTITION_KEY),
    typed("run --partitions p000 --partitions p777", "'p777'", kind=Kind.PARTITION_KEY),
]

CASES = [*ARGUMENTS, *PARTITION_KEYS]
