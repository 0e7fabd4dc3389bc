"""Plans that are no plans, or were changed; and places where no plan can be."""

from __future__ import annotations

from typing import Any

from migration_assets_tests.bad_input.case import (
    FOLDER,
    REMOVED,
    Case,
    Content,
    Edited,
    Kind,
    Spoilt,
)

PLAN = "migration_plan.json"
FRESH = "Run `migration-assets plan --fresh` to write a new one."
ITEMS = ("tables", 0)
RANGES = ("tables", 1, "key_ranges")


def of_plan(name: str, content: Content, *said: str, command: str = "status", **other: Any) -> Case:
    """What stands in the plan's file."""
    fragments = (*said, PLAN) if said else (PLAN, FRESH)
    return Case(Kind.PLAN, name, fragments, tuple(command.split()), files={PLAN: content}, **other)


def edited(name: str, path: tuple[str | int, ...], value: Any, *said: str) -> Case:
    """A plan with one value changed, its id made good."""
    return of_plan(name, Edited(path, value), *said)


def twice(found: list[Any]) -> list[Any]:
    return [found[0], *found]


def at(location: str, *said: str, code: int = 2, command: str = "status", **env: str) -> Case:
    """A place that MIGRATION_PLAN names."""
    name = f"{command}: MIGRATION_PLAN={location[:30]}"
    settings = {"MIGRATION_PLAN": location, **env}
    return Case(Kind.PLAN, name, said, tuple(command.split()), code, env=settings)


def output(location: str, *said: str, code: int = 2) -> Case:
    """A place where the plan shall be written."""
    command = ("plan", "--yes", "--output", location)
    return Case(Kind.PLAN, f"--output {location[:30]}", said, command, code)


CASES = [
    of_plan("an empty file", "", "not valid JSON"),
    of_plan("null", "null", "not a migration plan"),
    of_plan("a list", "[]", "not a migration plan"),
    of_plan("another object", "{}", "not a migration plan"),
    *(of_plan(f"the first {share:.1%}", Spoilt(keep=share), "not valid JSON")
      for share in (0.001, 0.13, 0.37, 0.5, 0.71, 0.93, 0.995)),
    of_plan("a byte order mark, and a tables that is null",
            Spoilt(before=b"\xef\xbb\xbf", swap=(('"tables": [', '"tables": null, "x": ['),)), "tables"),
    of_plan("UTF-16", Spoilt(encoding="utf-16"), "no UTF-8 text"),
    of_plan("text behind", Spoilt(after=b"}"), "not valid JSON"),
    of_plan("a merge conflict", Spoilt(before=b"<<<<<<< HEAD\n"), "not valid JSON"),
    of_plan("half a character pair", Spoilt(swap=(('"server": "', '"server": "\\ud800'),)), "not valid"),
    of_plan("brackets without end", "[" * 100_000, "not valid JSON"),
    of_plan("a number without end", f'{{"version": {"9" * 5000}}}', "not valid JSON"),
    of_plan("a folder", FOLDER, "cannot be read: Is a directory"),
    edited("a newer version", ("version",), 2, "format version 2, this release reads version 1"),
    edited("the version as text", ("version",), "1", "format version '1'"),
    edited("no version", ("version",), REMOVED, "not a migration plan"),
    edited("a key of a later release", ("future",), 1, "corrupt at future, or of a later release"),
    edited("a key of a later release in a table", (*ITEMS, "future"), 1, "tables.0.future"),
    of_plan("no id", Edited(("plan_id",), REMOVED, signed=False), "was changed by hand"),
    of_plan("another id", Edited(("plan_id",), "0" * 16, signed=False), "was changed by hand"),
    of_plan("a change by hand", Edited(("server",), "db", signed=False), "was changed by hand"),
    edited("an unknown engine", (*ITEMS, "engine"), "flink", "tables.0.engine", "'arrow' or 'spark'"),
    edited("an unknown consistency", ("consistency",), "barrier", "corrupt at consistency"),
    edited("no tables", ("tables",), REMOVED, "corrupt at tables"),
    edited("rows as a word", (*ITEMS, "rows"), "many", "tables.0.rows"),
    edited("a table twice", ("tables",), twice, "the table dbo.Items twice"),
    edited("two tables of one target", ("tables", 1, "iceberg_table"), "items", "dbo.items twice"),
    edited("two tables of one location", ("tables", 1, "location"), "s3://lake/warehouse/dbo/items",
           "the location s3://lake/warehouse/dbo/items twice"),
    edited("a partition twice", RANGES, twice, "the partition 0 twice"),
    edited("no partitions", RANGES, [], "has no partition"),
    edited("a negative partition", (*RANGES, 0, "source_partition"), -1, "a negative number"),
    edited("no columns", (*ITEMS, "columns"), [], "has no column"),
    edited("a column twice", (*ITEMS, "columns"), twice, "the column id twice"),
    edited("a field id twice", (*ITEMS, "columns", 1, "field_id"), 1, "the field id 1 twice"),
    edited("a column without a name", (*ITEMS, "columns", 1, "name"), "", "without a name"),
    edited("a sort key that is no column", (*ITEMS, "sort_key"), ["nope"], "the sort key nope"),
    *(of_plan(f"half of it, for {command}", Spoilt(keep=0.5), "not valid JSON", command=command)
      for command in ("run", "evolve dbo.Items", "reset dbo.Items --yes", "snapshot show", "maintain",
                      "plan --dry-run")),
    of_plan("half of it, for plan --fresh", Spoilt(keep=0.5), "--yes", command="plan --fresh", code=1,
            lines=2),
    of_plan("half of it, for plan --fresh --yes", Spoilt(keep=0.5), "Wrote", code=0,
            command="plan --fresh --yes", lines=1),
    at("nowhere.json", "There is no plan at nowhere.json"),
    at("migration.yaml/plan.json", "There is no plan at"),
    at("a" * 300, "File name too long"),
    at("~/none.json", "There is no plan at", "none.json"),
    at("s3://", "s3://bucket/key"),
    at("s3://lake", "s3://bucket/key"),
    at("s3://lake/folder/", "s3://bucket/key"),
    at("s3a://lake/plan.json", "s3://bucket/key", "s3a://"),
    at("gs://lake/plan.json", "not gs://", command="plan --dry-run"),
    at("https://host/plan.json", "not https://"),
    at("s3://nowhere/plan.json", "There is no plan at s3://nowhere/plan.json"),
    at("s3://lake/none.json", "There is no plan at s3://lake/none.json"),
    at("s3://lake/x.json", "could not be reached", code=1,
       AWS_ENDPOINT_URL="http://127.0.0.1:{closed}"),
    output("migration.yaml/plan.json", "cannot be written"),
    output("/proc/version/plan.json", "cannot be written"),
    output(".", "Is a directory"),
    output("", "a path or s3://bucket/key is needed"),
    output("s3://nowhere/plan.json", "no such bucket", code=1),
    output("ftp://host/plan.json", "not ftp://"),
]  # fmt: skip
