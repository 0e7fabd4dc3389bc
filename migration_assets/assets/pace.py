"""Steps of one stage, in all runs of a Dagster instance, slow down together.

When a server says that it has too much to do, a step's retry waits, and Dagster gives its place in
the pool to another: without more, each step would ask in its turn, be refused, and add to the load.
So whoever is told writes down until when, where all processes see it, and each step looks before it
begins. It is advice and no lock: where it cannot be read or written, nothing is waited for.
"""

from __future__ import annotations

import contextlib
import random
import time

import dagster as dg

from migration_assets import events
from migration_assets.assets.translator import Stage
from migration_assets.settings import RetrySettings


def ask_for_patience(instance: dg.DagsterInstance, stage: Stage, wait_s: float) -> None:
    """Let other steps of a stage wait before they begin.

    Args:
        instance: whose storage all processes share.
        stage: which steps.
        wait_s: what the system needs to recover; bounded by `MIGRATION_RETRY_LONGEST_WAIT_S`.
    """
    until = time.time() + RetrySettings.load().bounded(wait_s)
    with contextlib.suppress(Exception):  # advice: a database that is busy must not fail a step
        if until > (_until(instance, stage) or 0.0):
            instance.daemon_cursor_storage.set_cursor_values({_key(stage): repr(until)})


def be_patient(instance: dg.DagsterInstance, stage: Stage) -> float:
    """Wait as long as the stage's system was said to need, and a random while after that.

    Returns:
        Seconds that were waited.
    """
    settings = RetrySettings.load()
    remaining = 0.0
    with contextlib.suppress(Exception):  # see above
        remaining = (_until(instance, stage) or 0.0) - time.time()
    # What is longer than anybody can have asked for was written by a clock that was wrong.
    if not 0 < remaining <= settings.longest_wait_s:
        return 0.0
    wait_s = remaining * (1 + random.random() / 2)  # noqa: S311 - it spreads steps, guards nothing
    events.event("slowed down", wait_s=round(wait_s, 3), cause=f"{stage.value} has too much to do")
    time.sleep(wait_s)
    return wait_s


def _until(instance: dg.DagsterInstance, stage: Stage) -> float | None:
    key = _key(stage)
    found = instance.daemon_cursor_storage.get_cursor_values({key}).get(key)
    return None if found is None else float(found)


def _key(stage: Stage) -> str:
    return f"migration_assets/slow_down/{stage.value}"
