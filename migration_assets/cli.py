"""The command `migration-assets`: its entry point, and the commands that it has.

Exit codes: 0 all is well, 1 something failed or differs, 2 wrong use (arguments, settings, plan),
130 interrupted. With `plan --detailed-exitcode` 0 no change, 1 any error, or a plan that was not
accepted and so not written, 2 changes (and wrong arguments).
"""

from __future__ import annotations

import sys
import warnings
from typing import Any

import click

from migration_assets.commands.arguments import FAILED, INTERRUPTED, OK, WRONG_USE, Group
from migration_assets.commands.clean import clean
from migration_assets.commands.environment import doctor, env, jars
from migration_assets.commands.evidence import report
from migration_assets.commands.explanation import explain
from migration_assets.commands.migration import run, status, validate
from migration_assets.commands.planning import plan
from migration_assets.commands.stand_ins import demo, dev, sandbox
from migration_assets.commands.start import init
from migration_assets.commands.upkeep import evolve, maintain, reset, snapshot
from migration_assets.errors import ConfigurationError, MigrationError, PlanError
from migration_assets.renamed_settings import warn_of_renamed_settings
from migration_assets.settings import export_env_file


def main() -> None:
    """Entry point: our errors become one sentence and an exit code, never a stack trace."""
    from migration_assets.terminal import errors, print_error, print_misuse, wrapped

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        errors.print(wrapped(f"Warning: {message}", errors), style="yellow", markup=False)

    try:
        with warnings.catch_warnings():
            # What libraries warn of is for their developers; ours are for the user.
            warnings.simplefilter("ignore")
            warnings.filterwarnings("always", category=UserWarning, module="migration_assets")
            warnings.showwarning = show
            export_env_file()
            warn_of_renamed_settings()
            code = cli.main(standalone_mode=False)
    except (ConfigurationError, PlanError) as error:
        print_error(error)
        code = WRONG_USE
    except MigrationError as error:
        print_error(error)
        code = FAILED
    except click.ClickException as error:
        print_misuse(error)
        code = WRONG_USE
    except (KeyboardInterrupt, click.Abort):
        errors.print("Interrupted.")
        code = INTERRUPTED
    sys.exit(code or OK)


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="migration-assets", message="%(prog)s %(version)s")
def cli() -> None:
    """Move a SQL Server database to StarRocks, through Apache Iceberg, as Dagster assets."""


for _command in (
    clean, demo, dev, doctor, env, evolve, explain, init, jars, maintain, plan, report, reset, run,
    sandbox, snapshot, status,
    validate,
):  # fmt: skip
    cli.add_command(_command)
