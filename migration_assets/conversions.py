"""What the user may choose where a conversion would lose something; pure values.

Each choice has a default that is announced by the plan and never silent, and at least one other
that keeps everything. The choices stand in `migration.yaml`, for all tables, some, or one column.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict


class Loss(StrEnum):
    """What a conversion may lose; the value is the name of the choice in `migration.yaml`."""

    FRACTIONS = "fractions"
    OFFSETS = "offsets"
    LONG_VALUES = "long_values"


class Fractions(StrEnum):
    """What becomes of 100 ns digits, for which Iceberg and StarRocks have no place."""

    CUT = "cut"
    COLUMN = "column"
    TEXT = "text"


class Offsets(StrEnum):
    """What becomes of the offset of a datetimeoffset."""

    DROP = "drop"
    COLUMN = "column"
    TEXT = "text"


class LongValues(StrEnum):
    """What becomes of values longer than StarRocks takes; Iceberg has all of them whole.

    Attributes:
        STOP: such a value fails the load of its partition.
        CUT: such a text is cut in StarRocks; binary values stop the load all the same.
        ICEBERG: StarRocks' table does not get the column at all.
    """

    STOP = "stop"
    CUT = "cut"
    ICEBERG = "iceberg"


class InvalidText(StrEnum):
    """What becomes of text that is no valid UTF-16 (a surrogate without its partner).

    SQL Server keeps it in nvarchar; UTF-8, in which Parquet and StarRocks hold text, cannot.
    """

    STOP = "stop"
    REPLACE = "replace"


class Conversions(BaseModel):
    """One choice of each kind.

    Attributes:
        fractions: `cut` drops the seventh digit of datetime2(7) and datetimeoffset(7), `column`
            puts it into an integer column beside (`<name>_100ns`), `text` keeps the value as text.
        offsets: `drop` keeps the UTC instant alone, `column` adds the offset in minutes
            (`<name>_offset`), `text` keeps the value as text, with its offset.
        long_values: above 1,048,576 bytes of UTF-8, `stop` fails the load, `cut` shortens texts in
            StarRocks, `iceberg` leaves the column out of StarRocks.
        invalid_text: unpaired surrogates in nvarchar `stop` the extraction of their partition, or
            `replace` lets the driver put another character in their place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    fractions: Fractions = Fractions.CUT
    offsets: Offsets = Offsets.DROP
    long_values: LongValues = LongValues.STOP
    invalid_text: InvalidText = InvalidText.STOP


DEFAULT = Conversions()
