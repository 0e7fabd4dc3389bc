"""What `--help` and `--version` say, in a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version

import click
import pytest
from click.testing import CliRunner

from migration_assets.cli import cli


def all_commands(
    group: click.Group = cli, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and group below a group, with the words that lead to it."""
    for name, command in group.commands.items():
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from all_commands(command, (*path, name))


COMMANDS: dict[tuple[str, ...], click.Command] = {(): cli, **dict(all_commands())}


def said(*words: str) -> str:
    result = CliRunner().invoke(cli, words, prog_name="migration-assets", terminal_width=80)
    assert result.exit_code == 0
    return result.output


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_fits_80_columns_and_explains_every_option(path: tuple[str, ...]) -> None:
    help_ = said(*path, "--help")
    assert help_.startswith("Usage: ")
    assert max(map(len, help_.splitlines())) <= 80
    assert "-h, --help" in help_
    options = [one for one in COMMANDS[path].params if isinstance(one, click.Option)]
    assert [one.opts for one in options if not one.help] == []


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_says_what_it_does(path: tuple[str, ...]) -> None:
    help_ = COMMANDS[path].help
    assert help_
    assert help_.partition("\n\n")[0].rstrip().endswith((".", '".', ')".'))


def test_the_overview_lists_every_command_and_cuts_nothing_off() -> None:
    shown = said("--help")
    for name in cli.commands:
        assert f"\n  {name} " in shown
    assert "..." not in shown.partition("Commands:")[2]


def test_the_version_is_that_of_the_package() -> None:
    assert said("--version") == f"migration-assets {version('migration-assets')}\n"
