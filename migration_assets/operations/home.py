"""Where Dagster keeps its history, and the instance configuration that suits migrations."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from migration_assets.settings import ProjectSettings

if TYPE_CHECKING:
    import dagster as dg

_DAGSTER_YAML = """\
# Written once by migration-assets; yours to edit. Facts: https://docs.dagster.io/deployment/oss/dagster-yaml
# For more than a few concurrent runs, or several hosts, use Postgres:
# storage:
#   postgres:
#     postgres_url: {{env: DAGSTER_PG_URL}}
concurrency:
  runs:
    max_concurrent_runs: {run_slots}   # processes; one core each
  pools:
    granularity: op
    default_limit: {run_slots}         # steps that use one system at a time: mssql, iceberg, starrocks
run_queue:
  dequeue_use_threads: true
  dequeue_num_workers: 4
  dequeue_interval_seconds: 1
run_retries:
  enabled: true
  max_retries: 0                # a run asks for retries with the tag dagster/max_retries
run_monitoring:
  enabled: true                 # ends runs whose process died, and frees their pool slots
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


def ensure_home(settings: ProjectSettings) -> Path:
    """Set `DAGSTER_HOME` to `.dagster` beside the plan unless it is set, and make it usable.

    The folder gets our `dagster.yaml` when it has none. Returns the folder.
    """
    if "DAGSTER_HOME" not in os.environ:
        plan = Path() if settings.plan.startswith("s3://") else Path(settings.plan).parent
        os.environ["DAGSTER_HOME"] = str((plan / ".dagster").resolve())
    home = Path(os.environ["DAGSTER_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.write_text(_DAGSTER_YAML.format(run_slots=settings.run_slots), encoding="utf-8")
    return home


def environment(settings: ProjectSettings) -> dict[str, str]:
    """What bare `dagster` commands need in their environment to mean this project.

    Not `DAGSTER_MODULE_NAME`: `dagster dev` hands it down to its webserver and daemon together with
    a workspace file, and those then refuse to start, silently.
    """
    return {
        "DAGSTER_HOME": str(ensure_home(settings)),
        "MIGRATION_PLAN": settings.plan
        if settings.plan.startswith("s3://")
        else str(Path(settings.plan).resolve()),
    }


@contextmanager
def open_instance(settings: ProjectSettings) -> Iterator[dg.DagsterInstance]:
    """Open the instance that the UI and bare `dagster` commands use too; closes it."""
    import dagster as dg

    ensure_home(settings)
    with dg.DagsterInstance.get() as instance:
        yield instance
