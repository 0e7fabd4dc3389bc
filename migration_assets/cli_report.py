"""docs/cli.md: the help of every command, as a terminal of 80 columns shows it: `python -m migration_assets.cli_report`."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from migration_assets.cli import cli

PROGRAM = "migration-assets"
WIDTH = 80
_HEAD = """\
# Commands

Written by `python -m migration_assets.cli_report` from what `--help` prints.

Exit codes: 0 all is well; 1 something failed or differs; 2 wrong use (arguments, settings, plan);
130 interrupted. With `plan --detailed-exitcode` 0 no change, 1 error or not written, 2 changes.
"""


def cli_page() -> str:
    """Render the page."""
    parts = [_HEAD]
    for path, shown in helps():
        parts.append(f"## {' '.join(path)}\n\n```text\n{shown}\n```\n")
    return "\n".join(parts)


def helps(
    command: click.Command = cli,
    path: tuple[str, ...] = (PROGRAM,),
    parent: click.Context | None = None,
) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every command below one, itself first: the words that are typed, and its help.

    Args:
        command: where to begin.
        path: the words that lead to it.
        parent: context of the group that it is in.
    """
    context = click.Context(
        command,
        info_name=path[-1],
        parent=parent,
        terminal_width=WIDTH,
        max_content_width=WIDTH,
        **(cli.context_settings if parent is None else {}),
    )
    yield path, command.get_help(context)
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from helps(command.commands[name], (*path, name), context)


if __name__ == "__main__":
    sys.stdout.write(cli_page())
