"""Everything that can go wrong, by what a caller should do about it.

```
MigrationError
  PermanentError            never retried: a person has to change something first
    ConfigurationError        a setting, rule or argument is missing or wrong
    AccessDeniedError         a login or a privilege was refused
    PlanError                 the plan is missing, corrupt, outdated, or not the one materialized
    UnsupportedError          a type, name or object that cannot be migrated
    ObjectNotFoundError       a table, database, bucket or catalog that should be there is not
    ExistingObjectError       a target object is there already and is not ours
    SchemaDriftError          source or target no longer look as planned
    ReceiptError              a receipt is missing, spent or does not fit what is stored
    ForeignRowsError          a partition holds rows that no run of ours left there
    ForeignCommitError        somebody else changed a partition after it was committed
    VerificationError         the copy differs from the source
    StatementError            a server refused a statement for good
  TransientError            retried with backoff: trying again may well work
    ConnectionLostError       a server could not be reached, or went away
    ConnectionLimitError      a server or our own pool has no connection to give
    OperationTimeoutError     an operation took longer than its timeout
    CommitConflictError       another writer was first
    SupersededError           a newer commit of ours came meanwhile
    EarlierWindowError        an earlier time window has rows that belong to this one
    ServerBusyError           throttled, deadlock victim, out of some resource for now
```

A message begins with the code of its cause (`error_codes` says what each means and never changes
it), names the object, what was found and the next step, and never contains a secret.
`migration_assets_tests/unit/test_errors.py` compares the drawing with the classes.
"""

from __future__ import annotations

import re


class MigrationError(Exception):
    """Base of all our errors.

    Attributes:
        code: of the cause, `MA-SR-003`; a class whose cause is always the same has it for all.
        found: what was found where, a full sentence.
        next_step: what the reader should do, a full sentence; may be empty.
        wait_s: a retry waits at least so long.
    """

    code: str = ""

    def __init__(
        self, found: str, *, code: str = "", next_step: str = "", wait_s: float = 0.0
    ) -> None:
        """Say what was found where.

        Args:
            found: names the object and what is wrong with it, a full sentence.
            code: of the cause, one of `error_codes`; the class's where it is empty.
            next_step: what to do about it, a full sentence.
            wait_s: what whoever was asked needs to recover; of no meaning where nothing is retried.
        """
        self.found = found
        self.next_step = next_step
        self.wait_s = wait_s
        self.code = code or type(self).code
        super().__init__(coded(self.code, self.message))

    @property
    def message(self) -> str:
        """What was found and what to do, without the code: for use within another text."""
        return f"{self.found} {self.next_step}".strip()


def coded(code: str, text: str) -> str:
    """Put a code first in a text that people read."""
    return f"{code}: {text}" if code else text


def code_of(text: str) -> str:
    """The code that a text begins with; empty where it begins with none."""
    found = re.match(r"MA-[A-Z]{2}-\d{3}(?=: )", text)
    return found[0] if found else ""


class PermanentError(MigrationError):
    """Trying again changes nothing."""


class ConfigurationError(PermanentError):
    """A setting, rule or argument is missing or wrong."""


class AccessDeniedError(PermanentError):
    """A login or a privilege was refused."""


class PlanError(PermanentError):
    """The plan is missing, corrupt, outdated, or not the one that was materialized."""


class UnsupportedError(PermanentError):
    """A type, name or object that cannot be migrated."""


class ObjectNotFoundError(PermanentError):
    """A table, database, bucket or catalog that should be there is not."""


class ExistingObjectError(PermanentError):
    """A target object is there already and is not ours."""


class SchemaDriftError(PermanentError):
    """Source or target no longer look as planned."""


class ReceiptError(PermanentError):
    """A receipt is missing, spent, or does not fit what is stored."""


class ForeignRowsError(PermanentError):
    """A partition that is to be replaced holds rows that no run of ours left there."""

    code = "MA-VE-003"

    def __init__(self, found: str) -> None:
        """Say what was found where: what to do about it is always the same."""
        super().__init__(
            found,
            next_step="Look at them and keep what you need; then `migration-assets run --failed` "
            "replaces them by the rows of the source.",
        )


class ForeignCommitError(PermanentError):
    """Somebody else changed a partition in Iceberg after it was committed: it has to be made anew."""

    code = "MA-VE-004"


class VerificationError(PermanentError):
    """The copy differs from the source."""


class StatementError(PermanentError):
    """A server refused a statement for good."""


class TransientError(MigrationError):
    """Trying again may well work."""


class ConnectionLostError(TransientError):
    """A server could not be reached, or went away."""


class ConnectionLimitError(TransientError):
    """A server, or our own pool, has no connection to give."""


class OperationTimeoutError(TransientError):
    """An operation took longer than its timeout."""


class CommitConflictError(TransientError):
    """Another writer was first."""


class SupersededError(TransientError):
    """A newer commit of ours came meanwhile: the next attempt begins from that."""

    code = "MA-VE-005"


class EarlierWindowError(TransientError):
    """An earlier time window still has rows that belong to this one: it must be migrated first."""

    code = "MA-PL-013"


class ServerBusyError(TransientError):
    """Throttled, chosen as deadlock victim, or out of some resource for now."""
