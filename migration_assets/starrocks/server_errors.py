"""StarRocks' and the driver's errors become ours; what they mean is in `faults.py`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from migration_assets.errors import MigrationError
from migration_assets.starrocks.faults import FILTERED, UNKNOWN_SNAPSHOT, fault_of

_LONGEST_MESSAGE = 1500


def understand(
    number: int, message: str, *, subject: str, server: str, secrets: Sequence[str] = ()
) -> MigrationError:
    """Turn a driver's error into ours.

    Args:
        number: MySQL error number.
        message: the server's or driver's text.
        subject: the object that the statement was about: `Table shop.orders`; may be empty.
        server: `host:port`.
        secrets: values that must not appear in the result.

    Returns:
        The error to raise; `understand` raises nothing.
    """
    text = " ".join(message.split())
    for secret in secrets:
        if secret:
            text = text.replace(secret, "***")
    if len(text) > _LONGEST_MESSAGE:
        text = f"{text[:_LONGEST_MESSAGE]} …"
    fault = fault_of(number, message)
    about = f"{subject}: " if subject else ""
    numbered = f"{number}: {text}" if text else str(number)
    found = f"{about}{fault.meaning} (StarRocks at {server} says {numbered.rstrip('. ')})."
    return fault.raised(found[0].upper() + found[1:])


def is_unknown_snapshot(error: MigrationError) -> bool:
    """Whether StarRocks did not know the Iceberg snapshot; a REFRESH may help."""
    return re.search(UNKNOWN_SNAPSHOT, error.found) is not None


def is_filtered(error: MigrationError) -> bool:
    """Whether StarRocks refused rows because they do not fit the table."""
    return FILTERED in error.found
