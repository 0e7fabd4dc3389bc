"""The command `plan`: make the plan, show what it changes, ask, write."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import click

from migration_assets.changes_report import render_changes
from migration_assets.errors import PlanError
from migration_assets.mssql.costs import QueryCosts
from migration_assets.operations.inventory import check_report, write_report
from migration_assets.operations.planning import make_plan, replication_num, write_plan
from migration_assets.plan import MigrationPlan
from migration_assets.plan_changes import compare_plans
from migration_assets.plan_report import render
from migration_assets.plan_source import read_plan
from migration_assets.replanning import same_but_estimates
from migration_assets.rules_file import load_rules
from migration_assets.settings import LakeSettings, MssqlSettings, ProjectSettings
from migration_assets.terminal import console, errors, print_error
from migration_assets.windows import described


@dataclass(frozen=True)
class PlanOptions:
    """The options of `migration-assets plan`, as its help explains them."""

    output: str | None
    measure: bool
    report: Path | None
    assume: tuple[str, ...]
    fresh: bool
    yes: bool
    dry_run: bool
    verbose: bool


def plan_again(options: PlanOptions) -> tuple[bool, bool]:
    """Plan, show, ask and write; returns whether the plan in force is the one made, and differs."""
    output, report, assume = options.output, options.report, options.assume
    if report:
        check_report(report, assume)
    elif assume:
        raise click.UsageError("--assume goes with --report.")
    project = ProjectSettings.load(**({} if output is None else {"plan": output}))
    path = project.plan
    # A file that somebody names has to be there: it may say what must not be migrated.
    rules = load_rules(Path(project.rules), must_exist="rules" in project.model_fields_set)
    costs = QueryCosts()
    settings = MssqlSettings.load(), LakeSettings.load()
    old, unreadable = _existing_plan(path, fresh=options.fresh)
    given = None if options.fresh else old
    made = make_plan(*settings, rules, measure=options.measure, costs=costs, old=given)
    replicas = replication_num()
    console.print(render(made, console.width, replication_num=replicas))
    if options.verbose:
        _print_costs(made, costs)
    changes = compare_plans(old, made) if old is not None else None
    if changes is not None:
        console.print("\n", render_changes(changes), sep="")
    has_changes = changes is None or bool(changes)
    if report:  # of the plan that was made, whether it is accepted or not
        write_report(
            made,
            report,
            settings[0],
            replication_num=replicas,
            assume=assume,
            measure=options.measure,
        )
        console.print(f"\nWrote {report}.", markup=False, soft_wrap=True)
    if old is not None and same_but_estimates(old, made):
        console.print(f"\n{path} stays as it is, plan {old.plan_id}.", soft_wrap=True)
        return True, has_changes
    if options.dry_run:
        console.print(f"\nNothing was written to {path}.", soft_wrap=True)
        return False, has_changes
    if unreadable is not None:
        print_error(unreadable)
    is_asked_for = unreadable is not None or (changes is not None and changes.is_to_be_accepted)
    if is_asked_for and not _is_accepted(path, yes=options.yes):
        return False, has_changes
    write_plan(made, path)
    console.print(f"\nWrote {path}, plan {made.plan_id}.", soft_wrap=True)
    return True, has_changes


def _print_costs(made: MigrationPlan, costs: QueryCosts) -> None:
    ways = Counter(table.cut_by or "one piece" for table in made.tables)
    listed = ", ".join(
        f"{count} in one piece" if way == "one piece" else f"{count} by {way}"
        for way, count in sorted(ways.items())
    )
    console.print(f"\nTables cut: {listed or 'none'}.", soft_wrap=True)
    for line in [*described(made.tables), *costs.lines()]:
        console.print(line, soft_wrap=True, markup=False, highlight=False)


def _existing_plan(path: str, *, fresh: bool) -> tuple[MigrationPlan | None, PlanError | None]:
    """The plan that is there, or why it cannot be read, which only `--fresh` puts up with."""
    try:
        return read_plan(path), None
    except FileNotFoundError:
        return None, None
    except PlanError as error:
        if not fresh:
            raise
        return None, error


def _is_accepted(path: str, *, yes: bool) -> bool:
    """Ask whether a plan that takes evolving, resetting or migrating again may be written."""
    if yes:
        return True
    if sys.stdin.isatty():
        console.print()
        if click.confirm(f"Write {path}, so that these tables wait for the commands above?"):
            return True
    else:
        errors.print(
            f"Nothing was written to {path}: `--yes` accepts what must be evolved, reset or "
            "migrated again."
        )
        return False
    console.print("Nothing was written.")
    return False
