"""An extraction begins only in the hours of MIGRATION_WINDOW; one that has begun goes on to its end.

The step waits as long as it takes: nothing that could go on in its run waits behind it, since steps
downstream go before further extractions. It holds its place in the pool `mssql`, where only
extractions would take it, which must wait as well.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime

from migration_assets import events
from migration_assets.extraction_hours import waits_until
from migration_assets.settings import ProjectSettings

_LOOK_EVERY_S = 20.0
"""The clock may be set meanwhile, and the machine may sleep."""


def await_hours(log: logging.Logger) -> float:
    """Wait until extractions may begin.

    Args:
        log: is told what is waited for; the UI shows it.

    Returns:
        Seconds that were waited.

    Raises:
        ConfigurationError: MIGRATION_WINDOW is malformed.
    """
    hours = ProjectSettings.load().hours
    began, told = time.monotonic(), ""
    while hours is not None and (opening := hours.opening(_now())) is not None:
        said = waits_until(hours, opening)
        if said != told:
            told = said
            log.info("%s", said)
            events.event("waiting", until=opening.isoformat(), window=str(hours))
        left = opening.timestamp() - _now().timestamp()
        time.sleep(min(max(left, 0.01), _LOOK_EVERY_S))
    return time.monotonic() - began if told else 0.0


def _now() -> datetime:
    return datetime.now(UTC)
