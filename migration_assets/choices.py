"""What a plan, or a table of it, has one of: engine, verification level, consistency and the like."""

from __future__ import annotations

from enum import StrEnum


class Fidelity(StrEnum):
    """What becomes of a type's values."""

    EXACT = "exact"
    LOSSY = "lossy"
    REFUSED = "refused"


class Engine(StrEnum):
    """Who runs the extraction."""

    ARROW = "arrow"
    SPARK = "spark"


class VerificationLevel(StrEnum):
    """How much of a partition is compared."""

    NONE = "none"
    COUNT = "count"
    FULL = "full"
    ROWS = "rows"

    @property
    def compares_values(self) -> bool:
        """Whether columns are aggregated; `rows` includes what `full` does."""
        return self in {VerificationLevel.FULL, VerificationLevel.ROWS}


class OnExisting(StrEnum):
    """What to do with a target object that is there and is not ours."""

    REFUSE = "refuse"
    ADOPT = "adopt"
    REPLACE = "replace"


class StarRocksModel(StrEnum):
    """What a StarRocks table does with rows of one key.

    https://docs.starrocks.io/docs/table_design/table_types/
    """

    DUPLICATE = "duplicate"
    PRIMARY = "primary"
    UNIQUE = "unique"


class Consistency(StrEnum):
    """Which rows of the source belong together; see docs/consistency.md."""

    NONE = "none"
    STATEMENT = "statement"
    DATABASE_SNAPSHOT = "database_snapshot"


class TableConsistency(StrEnum):
    """What a table may have instead of its plan's consistency."""

    BARRIER = "barrier"
