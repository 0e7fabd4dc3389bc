"""The tree that errors.py draws is the tree that it has."""

from __future__ import annotations

import re

from migration_assets import errors
from migration_assets.errors import MigrationError, PermanentError, TransientError


def drawn() -> dict[str, str]:
    """Class name to base name, as the docstring draws them by indentation."""
    assert errors.__doc__ is not None
    found: dict[str, str] = {}
    above: list[str] = []
    for line in errors.__doc__.split("```")[1].strip().splitlines():
        match = re.match(r"( *)(\w+)", line)
        assert match is not None
        depth = len(match[1]) // 2
        above[depth:] = [match[2]]
        found[match[2]] = above[depth - 1] if depth else "Exception"
    return found


def declared() -> dict[str, str]:
    return {
        name: value.__base__.__name__
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }


def test_the_drawing_is_the_tree() -> None:
    assert drawn() == declared()
    assert len(drawn()) > 15


def test_every_error_says_whether_it_is_retried() -> None:
    leaves = set(declared()) - {"MigrationError"}
    for name in leaves:
        kind = getattr(errors, name)
        assert issubclass(kind, PermanentError) != issubclass(kind, TransientError), name


def test_a_message_is_what_was_found_and_the_next_step() -> None:
    error = MigrationError("There is no plan.", next_step="Run `migration-assets plan`.")
    assert str(error) == "There is no plan. Run `migration-assets plan`."
    assert (error.found, error.next_step) == ("There is no plan.", "Run `migration-assets plan`.")
    assert str(MigrationError("Alone.")) == "Alone."
