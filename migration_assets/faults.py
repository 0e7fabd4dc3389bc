"""What every table of faults has in common: `mssql/faults.py`, `iceberg/faults.py`, `starrocks/faults.py`.

A fault is what a system or its driver may say instead of an answer. The tables are the only place
that decides whether it is tried again; `docs/faults.md` is made of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from migration_assets.errors import MigrationError, TransientError


@dataclass(frozen=True, kw_only=True)
class FaultRule(ABC):
    """One kind of fault and what it means to us.

    Attributes:
        code: the stable code of this cause; rules that mean the same share it.
        error: what is raised; whether it is a `TransientError` decides about a retry.
        meaning: what happened, in words that go between the object and the server's answer.
        next_step: what a person does about it, a full sentence; may be empty where the server's
            own words are all there is to say.
        wait_s: a retry waits at least so long: the system needs that time to recover.
        source: where the sign is documented.
    """

    code: str
    error: type[MigrationError]
    meaning: str
    next_step: str = ""
    wait_s: float = 0.0
    source: str

    @property
    def transient(self) -> bool:
        """Whether it is tried again."""
        return issubclass(self.error, TransientError)

    @property
    @abstractmethod
    def signs(self) -> tuple[str, ...]:
        """What it is recognized by, for people: `error 1205`, a regular expression in slashes."""

    def raised(self, found: str, next_step: str = "") -> MigrationError:
        """The error of this fault.

        Args:
            found: names the object and what is wrong with it, a full sentence.
            next_step: instead of the table's.
        """
        return self.error(
            found, code=self.code, next_step=next_step or self.next_step, wait_s=self.wait_s
        )
