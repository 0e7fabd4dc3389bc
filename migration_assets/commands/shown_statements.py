"""`plan --show-sql`: print what a plan will have the systems do; no target is touched."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from migration_assets.assets.validation import select_tables
from migration_assets.errors import ConfigurationError, MigrationError
from migration_assets.operations.planning import make_plan
from migration_assets.plan import MigrationPlan
from migration_assets.plan_source import read_plan
from migration_assets.plan_statements import StarRocksNames, table_statements
from migration_assets.rules_file import load_rules
from migration_assets.settings import (
    LakeSettings,
    MssqlSettings,
    ProjectSettings,
    StarRocksSettings,
)
from migration_assets.statement_layout import commented


def show_statements(tables: Sequence[str], output: str | None, *, fresh: bool) -> None:
    """Print the statements of some tables, of the plan that is there or of one that is made now.

    Args:
        tables: patterns of `schema.table`; empty for all.
        output: where the plan is, instead of what the settings say.
        fresh: plan afresh although there is a plan.

    Raises:
        MigrationError: there is no plan and none can be made.
    """
    project = ProjectSettings.load(**({} if output is None else {"plan": output}))
    plan, origin = _plan(project, fresh=fresh)
    chosen, names = select_tables(plan, tables), _names()
    click.echo(commented(f"{origin}, plan {plan.plan_id}. Nothing below was executed.") + "\n")
    for table in chosen:
        try:
            click.echo(table_statements(plan, table, names))
        except MigrationError as error:  # of what the others have nothing to do with
            click.echo(commented(f"{table.full_name}: {error}") + "\n")


def _plan(project: ProjectSettings, *, fresh: bool) -> tuple[MigrationPlan, str]:
    if not fresh:
        try:
            return read_plan(project.plan), project.plan
        except FileNotFoundError:
            pass
    rules = load_rules(Path(project.rules), must_exist="rules" in project.model_fields_set)
    return make_plan(MssqlSettings.load(), LakeSettings.load(), rules), "Planned now, not written"


def _names() -> StarRocksNames:
    """Catalog and replicas as the settings have them; a plan can be shown before there are any."""
    try:
        # A password that is given keeps one in Secrets Manager from being fetched.
        settings = StarRocksSettings.load(host="-", user="-", password="-")  # noqa: S106 - none
    except ConfigurationError:
        fields = StarRocksSettings.model_fields
        return StarRocksNames(fields["catalog"].default, fields["replication_num"].default)
    return StarRocksNames(settings.catalog, settings.replication_num)
