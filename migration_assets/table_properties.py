"""What may stand under `properties` and `owners` in migration.yaml; pure.

Any property of StarRocks' may be given, as StarRocks itself refuses those that it does not know
(https://docs.starrocks.io/docs/sql-reference/sql-statements/table_bucket_part_index/CREATE_TABLE/),
but for those that something else decides and those that make StarRocks drop partitions by itself.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

PROPERTY_NAME_PATTERN = r"^[A-Za-z][A-Za-z0-9_.]{0,127}$"
PROPERTY_VALUE_PATTERN = r'^[^"\\\x00-\x1f\x7f]{1,4096}$'
"""No quotation mark and backslash, which versions of StarRocks read in different ways."""

OWNER_PATTERN = r"^(team:\S.*|[A-Za-z0-9_][A-Za-z0-9._%+-]*@[A-Za-z0-9.-]+\.[A-Za-z]{2,7})$"
"""As `dagster._core.utils.is_valid_email` has it, of the release that is installed."""

OWNED = {
    "replication_num": "STARROCKS_REPLICATION_NUM says how many replicas there are",
}
"""Properties that have another place, each with it."""

DROPPING_PATTERN = (
    r"partition_live_number|partition_ttl\w*|partition_retention_condition|dynamic_partition\..*"
)
"""StarRocks drops partitions by these, or makes some that are none of the plan's
(https://docs.starrocks.io/docs/table_design/data_distribution/dynamic_partitioning/)."""


def refusal(name: str) -> str:
    """Why a property is not for migration.yaml, half a sentence; empty when it is."""
    folded = name.lower()
    if folded in OWNED:
        return OWNED[folded]
    if re.fullmatch(DROPPING_PATTERN, folded):
        return "StarRocks would make or drop partitions by itself, and migrated rows with them"
    return ""


def _checked(properties: dict[str, str]) -> dict[str, str]:
    seen: set[str] = set()
    for name in properties:
        if reason := refusal(name):
            raise ValueError(f"{name} is not for this place: {reason}")
        if name.lower() in seen:
            raise ValueError(f"{name} is there twice")
        seen.add(name.lower())
    return properties


def _as_text(value: object) -> object:
    """Take numbers and switches as StarRocks writes them."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int) else value


_Value = Annotated[
    str,
    Field(pattern=PROPERTY_VALUE_PATTERN),
    BeforeValidator(
        _as_text,
        json_schema_input_type=Annotated[str, Field(pattern=PROPERTY_VALUE_PATTERN)] | int | bool,
    ),
]
_Name = Annotated[str, Field(pattern=PROPERTY_NAME_PATTERN)]
Properties = Annotated[
    dict[_Name, _Value],
    AfterValidator(_checked),
    Field(
        json_schema_extra={
            "propertyNames": {"not": {"pattern": rf"^(?:{'|'.join(OWNED)}|{DROPPING_PATTERN})$"}},
            "additionalProperties": False,
        }
    ),
]
"""Names and values of a StarRocks table's properties."""


def _owner(text: str) -> str:
    if not re.fullmatch(OWNER_PATTERN[1:-1], text):
        raise ValueError("an email address or team:name belongs there")
    return text


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


_Owner = Annotated[str, AfterValidator(_owner), Field(json_schema_extra={"pattern": OWNER_PATTERN})]
Owners = Annotated[
    tuple[_Owner, ...],
    BeforeValidator(
        _as_list,
        json_schema_input_type=Annotated[str, Field(pattern=OWNER_PATTERN)]
        | list[Annotated[str, Field(pattern=OWNER_PATTERN)]],
    ),
]
"""Owners as Dagster takes them (https://docs.dagster.io/guides/build/assets/metadata-and-tags)."""
