"""What boto3, pyarrow, pyiceberg and SQLAlchemy raise becomes ours; what it means is in `faults.py`.

It goes by names and error codes, so that no driver is imported to look at its errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from migration_assets.errors import MigrationError
from migration_assets.iceberg.faults import fault_of

_DRIVERS = {"botocore", "boto3", "pyiceberg", "sqlalchemy", "requests", "urllib3", "pyarrow"}
_LONGEST_DETAIL = 300


@contextmanager
def translate_errors(target: str) -> Iterator[None]:
    """Turn driver errors raised inside into ours.

    Args:
        target: what is being touched, as the beginning of a sentence: `Iceberg table ns.t`.

    Raises:
        MigrationError: one of ours, with the driver's as its cause. Errors that no driver raised
            (defects, `KeyboardInterrupt`) pass through as they are.
    """
    try:
        yield
    except Exception as error:
        ours = translated(error, target)
        if ours is error:
            raise
        raise ours from error


def translated(error: Exception, target: str) -> Exception:
    """Return our error for a driver's; errors of ours or of no driver are returned as they are."""
    if isinstance(error, MigrationError) or not _of_driver(error):
        return error
    symptom = _symptom(error)
    detail = " ".join(_text(error).split())
    if len(detail) > _LONGEST_DETAIL:
        detail = f"{detail[:_LONGEST_DETAIL]}…"
    fault = fault_of(symptom)
    return fault.raised(f"{target}: {fault.meaning} ({detail}).")


def _of_driver(error: Exception) -> bool:
    if isinstance(error, OSError) or str(error).startswith("Invalid endpoint"):
        return True
    return any(base.__module__.split(".")[0] in _DRIVERS for base in type(error).__mro__)


def _symptom(error: Exception) -> str:
    """What says which error it is, and nothing that names an object: a table may be `Timeouts`."""
    response = getattr(error, "response", None)
    if isinstance(response, dict) and "Error" in response:
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
        return f"{response['Error'].get('Code', '')} HTTP {status}"
    names = " ".join(base.__name__ for base in type(error).__mro__ if base is not object)
    text = str(error)
    if "SSLError" in names or "[SSL: " in text:  # what comes first is an address
        found = re.search(r"(\[(SSL|X509|Errno)|hostname ).*", text)
        return f"SSLError {names} {found[0] if found else ''}"
    if isinstance(error, OSError):
        # pyarrow: "When reading key 'k' in bucket 'b': AWS Error SLOW_DOWN during …".
        return f"{names.replace('OSError', '')} {error.strerror or text[text.find('AWS Error') :]}"
    return f"{names} {text}"


def _text(error: Exception) -> str:
    """The driver's own words; of SQLAlchemy's errors without statement and parameters."""
    original = getattr(error, "orig", None)
    return f"{type(error).__name__}: {original or error}"
