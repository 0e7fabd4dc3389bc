"""What happens while partitions are migrated: one line of log per event, and a tally of retries.

Each line says which table, partition, stage, attempt and run it is about, as `key=value` or, with
`MIGRATION_LOG_FORMAT=json`, as one JSON object. The lines go through Python's `logging`, below the
logger `migration_assets`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenacity import RetryCallState

_PACKAGE = logging.getLogger("migration_assets")
_log = logging.getLogger(__name__)


@dataclass
class Tally:
    """What was tried again inside one attempt of a step, without the step's failing.

    Attributes:
        place: what every line says: table, partition, stage, attempt, run.
        retries: requests that were sent again.
        waited_s: seconds waited before them; S3's client does not tell of its own waits.
    """

    place: dict[str, Any] = field(default_factory=dict)
    retries: int = 0
    waited_s: float = 0.0


_current: ContextVar[Tally | None] = ContextVar("tally", default=None)


@contextmanager
def place(**fields: Any) -> Iterator[Tally]:
    """Put these fields into every line that is written inside; yields the tally of the block."""
    outer = _current.get()
    tally = Tally(place=fields)
    _current.set(tally)
    try:
        yield tally
    finally:
        # Not by a token: Dagster may end a step's generator in another context than it began.
        _current.set(outer)


def event(name: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Write one line.

    Args:
        name: what happened: `started`, `retry`, `failed`.
        level: of `logging`.
        fields: what else to say; None is left out.
    """
    tally = _current.get()
    said = {"event": name, **(tally.place if tally is not None else {}), **fields}
    said = {key: value for key, value in said.items() if value is not None}
    _log.log(level, "%s", pairs(said), extra={"fields": said})


def retried(what: str, *, wait_s: float | None, error: BaseException | str, times: int = 1) -> None:
    """Write that something inside a step is tried again, and count it; outside of one do nothing.

    Args:
        what: `commit`, `S3 PutObject`.
        wait_s: seconds before the next attempt; None when they are not known.
        error: why.
        times: how many attempts failed.
    """
    tally = _current.get()
    if tally is None:
        return  # a command says at its end what is wrong
    tally.retries += times
    tally.waited_s += wait_s or 0.0
    shown = None if wait_s is None else round(wait_s, 3)
    event("repeated", level=logging.WARNING, what=what, times=times, wait_s=shown, cause=str(error))


def before_sleep(what: str) -> Callable[[RetryCallState], None]:
    """For tenacity's `before_sleep`: write and count each retry of `what`."""

    def tell(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        wait_s = state.next_action.sleep if state.next_action is not None else 0.0
        retried(what, wait_s=wait_s, error=error or "")

    return tell


def watch_retries(client: Any, service: str) -> None:
    """Write and count what a boto3 client had to send more than once.

    https://boto3.amazonaws.com/v1/documentation/api/latest/guide/events.html
    """

    def tell(parsed: dict[str, Any], model: Any, **_: Any) -> None:
        times = parsed.get("ResponseMetadata", {}).get("RetryAttempts", 0)
        if times:
            cause = "busy, failed, or the connection broke"
            retried(f"{service} {model.name}", wait_s=None, error=cause, times=times)

    client.meta.events.register("after-call", tell)


def pairs(fields: dict[str, Any]) -> str:
    """`key=value` of each field, a value in quotes where it is not one word."""
    return " ".join(f"{key}={_word(value)}" for key, value in fields.items())


def _word(value: Any) -> str:
    text = " ".join(str(value).split())
    plain = bool(text) and not any(character in text for character in ' ="\\')
    return text if plain else json.dumps(text, ensure_ascii=False)


class Lines(logging.Formatter):
    """Formats a record as one line, whatever it is: our events by field, others by message."""

    def __init__(self, *, as_json: bool) -> None:
        """Choose between JSON and `key=value`."""
        super().__init__()
        self._as_json = as_json

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = getattr(record, "fields", None) or {
            "event": "message", "logger": record.name, "text": record.getMessage(),
        }  # fmt: skip
        fields = {"at": at, "level": record.levelname, **fields}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if self._as_json:
            return json.dumps(fields, default=str, ensure_ascii=False)
        return pairs(fields)


class _Stderr(logging.Handler):
    """Writes to what `sys.stderr` is at that moment: workers and Dagster put files in its place."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()
        except Exception:  # noqa: BLE001 - what logging itself does: an event must not fail a step
            self.handleError(record)


def write_lines(*, as_json: bool) -> None:
    """Write the events of this process to its standard error. Can be called again."""
    for handler in [h for h in _PACKAGE.handlers if isinstance(h, _Stderr)]:
        _PACKAGE.removeHandler(handler)
    handler = _Stderr()
    handler.setFormatter(Lines(as_json=as_json))
    _PACKAGE.addHandler(handler)
    _PACKAGE.setLevel(logging.INFO)
