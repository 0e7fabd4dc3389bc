"""How commits that lost against another writer are tried again."""

from __future__ import annotations

from tenacity import (
    retry,
    retry_if_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_random_exponential,
)

from migration_assets import events
from migration_assets.errors import CommitConflictError

MOST_ATTEMPTS = 100
LONGEST_TIME_S = 900

# Waits are drawn from the whole range (full jitter): with pyiceberg's own exponential waits, which
# vary by a tenth only, writers that began together keep colliding and the unlucky one starves.
retry_conflicts = retry(
    retry=retry_if_exception_type(CommitConflictError),
    stop=stop_after_attempt(MOST_ATTEMPTS) | stop_after_delay(LONGEST_TIME_S),
    wait=wait_random_exponential(multiplier=0.05, max=1),
    before_sleep=events.before_sleep("commit"),
    reraise=True,
)
"""Decorator: calls the function again, which must reload the table, on `CommitConflictError`."""
