"""Begin a project: write the files that it is set up by, and overwrite none."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from migration_assets.errors import ConfigurationError
from migration_assets.operations.home import ensure_home, home_of
from migration_assets.rules_schema import schema_text
from migration_assets.settings import ProjectSettings

ENV, RULES, SCHEMA, DAGSTER = ".env", "migration.yaml", "migration.schema.json", "dagster.yaml"


@dataclass(frozen=True)
class ProjectFile:
    """A file of a project: what it is for, and whether it was written just now."""

    path: Path
    purpose: str
    is_new: bool


def begin_project(folder: Path) -> Iterator[ProjectFile]:
    """Write the files of a project that are not there yet.

    `dagster.yaml` goes into the folder that `DAGSTER_HOME` names, else `.dagster` in the project's.

    Args:
        folder: made when it is missing.

    Raises:
        ConfigurationError: something cannot be written there.
    """
    texts = {
        ENV: (_unset, "addresses and logins: take the # away from what you fill in"),
        RULES: (lambda: _packaged(RULES), "what you wish about the plan: all optional"),
        SCHEMA: (schema_text, "for editors, which complete and check migration.yaml by it"),
    }
    for name, (text, purpose) in texts.items():
        path = folder / name
        yield ProjectFile(path, purpose, is_new=_write(path, text(), is_secret=name == ENV))
    project = ProjectSettings.load(plan=str(folder / "migration_plan.json"))
    path = home_of(project) / DAGSTER
    is_new = not path.exists()
    if is_new:
        ensure_home(project)
    yield ProjectFile(path, "Dagster: concurrency, where its history is", is_new=is_new)


def env_example() -> str:
    """The commented `.env`: the project's `.env.example`, which a wheel has beside this package."""
    packaged = files("migration_assets.project_files") / "env.example"
    checkout = Path(__file__).parents[2] / ".env.example"
    return (packaged if packaged.is_file() else checkout).read_text(encoding="utf-8")


def _unset() -> str:
    """`.env.example` that sets nothing.

    Dagster's own commands let an empty variable of `.env` go before that of the environment.
    """
    return re.sub(r"^(?=[A-Z][A-Z0-9_]*=$)", "# ", env_example(), flags=re.MULTILINE)


def _packaged(name: str) -> str:
    return (files("migration_assets.project_files") / name).read_text(encoding="utf-8")


def _write(path: Path, text: str, *, is_secret: bool) -> bool:
    """Write a file that is not there; returns whether it was not."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Passwords go into it: nobody else reads them.
        mode = 0o600 if is_secret else 0o666
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        if path.parent.is_dir():
            return False
        raise ConfigurationError(f"{path.parent} is no folder.", code="MA-CF-042") from None
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror}.", code="MA-CF-042"
        ) from None
    return True
