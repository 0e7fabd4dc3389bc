"""Where Dagster keeps its history, and the instance configuration that suits migrations."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from migration_assets.assets.pool_slots import give_slots_singly
from migration_assets.assets.process_locks import alone
from migration_assets.errors import ConfigurationError
from migration_assets.operations.pool_limits import limit_extractions
from migration_assets.settings import ProjectSettings

if TYPE_CHECKING:
    import dagster as dg

_DAGSTER_YAML = """\
# Facts: https://docs.dagster.io/deployment/oss/dagster-yaml
# For more than a few concurrent runs, or several hosts, use Postgres:
# storage:
#   postgres:
#     postgres_url: {{env: DAGSTER_PG_URL}}   # postgresql+psycopg2://user:password@host/database
concurrency:
  runs:
    max_concurrent_runs: {run_slots}   # processes; one core each
  pools:
    granularity: op
    default_limit: {run_slots}         # steps that use one system at a time: mssql, iceberg, starrocks
run_coordinator:                # Dagster's queue, which can also heed MIGRATION_WINDOW
  module: migration_assets.operations.run_coordinator
  class: HoursRunCoordinator
  config:
    dequeue_use_threads: true
    dequeue_num_workers: 4
    dequeue_interval_seconds: 1
    max_user_code_failure_retries: 10   # a code server that was killed is started anew, runs wait
    user_code_failure_retry_delay: 10
run_retries:
  enabled: true
  max_retries: 0                # a run asks for retries with the tag dagster/max_retries
run_launcher:                   # Dagster's own, which can also tell a run whose process was killed
  module: migration_assets.operations.run_launcher
  class: LocalRunLauncher
run_monitoring:
  enabled: true                 # ends runs whose process died, and frees their pool slots
  poll_interval_seconds: 10
  free_slots_after_run_end_seconds: 30
backfills:
  use_threads: true
  num_workers: 2
  num_submit_workers: 4
nux:
  enabled: false                # no newsletter dialog over the page
telemetry:
  enabled: false
"""

_HEAD = """\
# Written by migration-assets for MIGRATION_CONCURRENT_RUNS, and again when that changes, until you
# edit it: from then on it is yours. What was written: {digest}
"""
_WRITTEN = re.compile(_HEAD.replace(".", r"\.").format(digest="([0-9a-f]{16})"))
_LONGEST_SAID = 200
_OPENED = "opening.lock"
_OTHER_HOME = "Correct DAGSTER_HOME; without it the folder is .dagster beside the plan."
_FROM_SETTINGS = re.compile(r" +(max_concurrent_runs|default_limit): *(\d+)\b")
"""The lines of the file that a setting decides."""


def home_of(settings: ProjectSettings) -> Path:
    """The folder that `DAGSTER_HOME` names, else `.dagster` beside the plan; nothing is made."""
    if "DAGSTER_HOME" in os.environ:
        return Path(os.environ["DAGSTER_HOME"])
    plan = Path() if settings.plan.startswith("s3://") else Path(settings.plan).parent
    return (plan / ".dagster").resolve()


def ensure_home(settings: ProjectSettings) -> Path:
    """Set `DAGSTER_HOME` to `.dagster` beside the plan unless it is set, and make it usable.

    The folder gets our `dagster.yaml` when it has none. One that is as we wrote it follows the
    settings; one that somebody edited stays as it is, with a warning where it contradicts
    `MIGRATION_CONCURRENT_RUNS`. Returns the folder.

    Raises:
        ConfigurationError: there can be no such folder, or nothing can be written there.
    """
    home = home_of(settings)
    os.environ["DAGSTER_HOME"] = str(home)
    if not home.is_absolute():
        raise ConfigurationError(
            f"DAGSTER_HOME is {home}, which is no absolute path.",
            code="MA-DG-002",
            next_step=_OTHER_HOME,
        )
    try:
        home.mkdir(parents=True, exist_ok=True)
        _write_config(home / "dagster.yaml", settings)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"Dagster's history cannot be kept in {home}: {error}.",
            code="MA-DG-002",
            next_step=_OTHER_HOME,
        ) from None
    return home


def _write_config(path: Path, settings: ProjectSettings) -> None:
    body = _DAGSTER_YAML.format(run_slots=settings.run_slots)
    wanted = _HEAD.format(digest=_digest(body)) + body
    found = path.read_text(encoding="utf-8") if path.exists() else None
    if found == wanted:
        return
    if found is None or _is_as_written(found):
        # In one step: Dagster's processes may be reading it.
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        partial.write_text(wanted, encoding="utf-8")
        partial.replace(path)
    elif settings.concurrent_runs is not None:  # else the file is the only wish there is
        _warn_of_lines(path, found, settings.concurrent_runs)


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def _is_as_written(text: str) -> bool:
    head = _WRITTEN.match(text)
    return head is not None and head[1] == _digest(text[head.end() :])


def _warn_of_lines(path: Path, text: str, concurrent_runs: int) -> None:
    different = [
        f"line {number} says {line[1]}: {line[2]}"
        for number, said in enumerate(text.splitlines(), start=1)
        if (line := _FROM_SETTINGS.match(said)) and int(line[2]) != concurrent_runs
    ]
    if different:
        _warn_once(
            f"MIGRATION_CONCURRENT_RUNS is {concurrent_runs}, but in {path}, which was edited by "
            f"hand and is left alone, {' and '.join(different)}."
        )


@cache
def _warn_once(text: str) -> None:
    """A command looks at the file more than once."""
    warnings.warn(text, UserWarning, stacklevel=1)


def make_pools(instance: dg.DagsterInstance, pools: Iterable[str]) -> None:
    """Make the pools that are not there yet, before several processes do so at once.

    A step makes the pool that it finds missing. With Postgres as storage, of two that do so at the
    same time one fails, and its run: Dagster goes on in a transaction that the duplicate has ended
    (`SqlEventLogStorage.initialize_concurrency_limit_to_default`). The daemon makes them itself
    before it starts a run.
    """
    storage = instance.event_log_storage
    if (
        instance.global_op_concurrency_default_limit is None
        or not storage.supports_global_concurrency_limits
    ):
        return
    known = {limit.name for limit in storage.get_pool_limits()}
    for pool in pools:
        if pool not in known:
            storage.initialize_concurrency_limit_to_default(pool)


def environment(settings: ProjectSettings) -> dict[str, str]:
    """What bare `dagster` commands need in their environment to mean this project.

    Not `DAGSTER_MODULE_NAME`: `dagster dev` hands it down to its webserver and daemon together with
    a workspace file, and those then refuse to start, silently.

    A history that is not there yet is made, as `open_instance` makes it: bare `dagster` commands
    that make it at the same time as another process spoil it.
    """
    if not (home_of(settings) / _OPENED).exists():
        with open_instance(settings):
            pass
    return {
        "DAGSTER_HOME": str(ensure_home(settings)),
        "MIGRATION_PLAN": settings.plan
        if settings.plan.startswith("s3://")
        else str(Path(settings.plan).resolve()),
    }


@contextmanager
def open_instance(settings: ProjectSettings) -> Iterator[dg.DagsterInstance]:
    """Open the instance that the UI and bare `dagster` commands use too; closes it.

    Raises:
        ConfigurationError: its folder, its `dagster.yaml` or its storage cannot be used.
    """
    import dagster as dg

    home = ensure_home(settings)
    try:
        # Its SQLite storage looks whether its tables are there, and makes them, with no lock around
        # both: two first runs at once leave two rows where its version belongs, and nothing opens
        # the history any more (`SqliteRunStorage.from_local`).
        with alone(home / _OPENED):
            opened = dg.DagsterInstance.get()
    except Exception as error:  # noqa: BLE001 - YAML's, Dagster's, or any storage's own
        said = " ".join(str(error).split("\n[SQL")[0].split())[:_LONGEST_SAID]
        raise ConfigurationError(
            f"Dagster's history in {home} cannot be opened: {type(error).__name__}: {said}.",
            code="MA-DG-003",
            next_step=f"Correct {home / 'dagster.yaml'}, or move the folder away.",
        ) from None
    give_slots_singly()
    with opened as instance:
        limit_extractions(instance, settings.max_extractions)
        yield instance
