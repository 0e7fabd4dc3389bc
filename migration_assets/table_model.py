"""What kind of StarRocks table a source table becomes: model, key and distribution; pure.

A partition is replaced as a whole by `INSERT OVERWRITE t PARTITION(source_partition = n)`, which
creates it where the table is partitioned by that column's value. Tables of one row for each key
must have the partition column in the key
(https://docs.starrocks.io/docs/table_design/table_types/primary_key_table/), so it is the last
column of theirs: rows are distinct within a partition, as they are in the source's key ranges.

Such a table merges rows that are equal in the key, without a word. So it is refused where the
source does not keep them distinct, and where the key's values may become equal on their way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from migration_assets.choices import Fidelity, OnExisting, StarRocksModel
from migration_assets.column_plan import SOURCE_PARTITION, ColumnPlan
from migration_assets.errors import ConfigurationError
from migration_assets.schema import SourceTable, TableKind
from migration_assets.table_rules import TableRules

MAX_SORT_COLUMNS = 3
"""StarRocks' own default for DUPLICATE KEY takes no more leading columns either
(https://docs.starrocks.io/docs/table_design/table_types/duplicate_key_table/)."""

MAX_PRIMARY_KEY_BYTES = 128
"""Longest primary key of a row, encoded; longer ones fail their load (`primary_key_limit_size`,
https://docs.starrocks.io/docs/administration/management/BE_configuration/)."""

PRIMARY_KEY_TYPES = (
    *("BOOLEAN", "TINYINT", "SMALLINT", "INT", "BIGINT", "LARGEINT"),
    *("VARCHAR", "DATE", "DATETIME"),
)
"""All types of a primary key's columns (`CreateTableAnalyzer.java` of StarRocks/starrocks)."""

NO_KEY_TYPES = ("FLOAT", "DOUBLE", "JSON", "VARBINARY")
"""Types that StarRocks refuses in a sort key, as first column or to distribute by (newer versions
take VARBINARY, the documentation advises against it)."""

_LONGEST_TEXT = "VARCHAR(1048576)"
_BYTES = {
    "BOOLEAN": 1,
    "TINYINT": 1,
    "SMALLINT": 2,
    "INT": 4,
    "BIGINT": 8,
    "LARGEINT": 16,
    "DATE": 4,
    "DATETIME": 8,
}


@dataclass(frozen=True)
class TableModel:
    """What a StarRocks table is made as.

    Attributes:
        sort_key: target columns of its key, in order.
        distributed_by: target columns that were asked for; empty for those of the key.
        warnings: sentences for the plan.
    """

    model: StarRocksModel
    sort_key: tuple[str, ...]
    distributed_by: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def key_type_refusal(model: StarRocksModel, starrocks_type: str) -> str:
    """Why a column of a type cannot be in the key of a table, half a sentence; empty if it can."""
    name = starrocks_type.partition("(")[0]
    if model is StarRocksModel.PRIMARY and name not in PRIMARY_KEY_TYPES:
        return f"StarRocks has no primary key of type {starrocks_type}"
    if name in NO_KEY_TYPES:
        return f"StarRocks has no key of type {starrocks_type}"
    return ""


def table_model(
    table: SourceTable,
    wishes: TableRules,
    columns: Sequence[ColumnPlan],
    primary_key: tuple[str, ...],
) -> TableModel:
    """Choose model, key and distribution of a table's target.

    Args:
        table: the source.
        wishes: the rules about it.
        columns: as they are planned.
        primary_key: source names of the key that all of its columns are planned of.

    Raises:
        ConfigurationError: the rules ask for what StarRocks cannot have, for what would merge rows,
            or for two things of which one excludes the other.
    """
    model = wishes.model or StarRocksModel.DUPLICATE
    _refuse_contradictions(table, wishes)
    own = {column.source_name: column for column in columns if not column.added}
    keys = [_column(table, "keys", name, own) for name in wishes.keys]
    warnings: list[str] = []
    if model is StarRocksModel.DUPLICATE:
        for column in keys:
            _refuse_type(table, model, column)
        names = tuple(column.name for column in keys) or _sort_key(own, primary_key)
    else:
        keys = keys or [own[name] for name in primary_key]
        _refuse_merging(table, model, keys, columns)
        for column in keys:
            _refuse_type(table, model, column)
        names = (*(column.name for column in keys), SOURCE_PARTITION)
        warnings += _lengths(model, keys)
    spread = [_column(table, "distributed_by", name, own) for name in wishes.distributed_by]
    for column in spread:
        _refuse_distribution(table, model, column, names)
    _refuse_twice(table, "keys", wishes.keys)
    _refuse_twice(table, "distributed_by", wishes.distributed_by)
    return TableModel(model, names, tuple(column.name for column in spread), tuple(warnings))


def _refuse_contradictions(table: SourceTable, wishes: TableRules) -> None:
    """`replace` drops a table, which others of its rules forbid."""
    if wishes.on_existing is not OnExisting.REPLACE:
        return
    for rule, is_given in (
        ("create: false", wishes.create is False),
        ("prevent_reset: true", bool(wishes.prevent_reset)),
    ):
        if is_given:
            raise ConfigurationError(
                f"migration.yaml: {table.full_name} has {rule} and on_existing: replace, which "
                "removes what is there.",
                code="MA-CF-015",
                next_step="Write on_existing: refuse or adopt for it, or take the other rule out.",
            )


def _sort_key(own: dict[str, ColumnPlan], primary_key: tuple[str, ...]) -> tuple[str, ...]:
    """The leading columns of the primary key that StarRocks can sort by, else the partition.

    Only a leading run: a key sorted by its second column alone helps no query by key.
    """
    names = []
    for name in primary_key[:MAX_SORT_COLUMNS]:
        kind = own[name].starrocks_type
        # A column that StarRocks does not get has no type; text of any length makes a useless key.
        if kind in {"", _LONGEST_TEXT} or key_type_refusal(StarRocksModel.DUPLICATE, kind):
            break
        names.append(own[name].name)
    return tuple(names) or (SOURCE_PARTITION,)


def _column(table: SourceTable, rule: str, name: str, own: dict[str, ColumnPlan]) -> ColumnPlan:
    """The planned column of a source column that a rule names, without case."""
    exact = own.get(name)
    found = exact or next((c for n, c in own.items() if n.casefold() == name.casefold()), None)
    if found is None:
        raise ConfigurationError(
            f"migration.yaml: {rule} of {table.full_name}: {name} is not a column of it, or rules "
            "leave it out.",
            code="MA-CF-017",
            next_step=f"Its columns are {', '.join(own)}.",
        )
    if not found.starrocks_type:
        raise ConfigurationError(
            f"migration.yaml: {rule} of {table.full_name}: StarRocks does not get column {name}.",
            code="MA-CF-060",
            next_step="Name another column, or change its `long_values`.",
        )
    return found


def _refuse_type(table: SourceTable, model: StarRocksModel, column: ColumnPlan) -> None:
    if reason := key_type_refusal(model, column.starrocks_type):
        raise ConfigurationError(
            f"migration.yaml: {table.full_name} cannot be a table of model {model.value} with column "
            f"{column.source_name} in its key: {reason}.",
            code="MA-CF-060",
            next_step="Name other columns in `keys`"
            + ("." if model is StarRocksModel.DUPLICATE else ", or write `model: duplicate`."),
        )


def _refuse_distribution(
    table: SourceTable, model: StarRocksModel, column: ColumnPlan, key: tuple[str, ...]
) -> None:
    """https://docs.starrocks.io/docs/table_design/data_distribution/#choose-bucketing-columns ."""
    reason = ""
    if column.starrocks_type.partition("(")[0] in NO_KEY_TYPES:
        reason = f"StarRocks cannot distribute by type {column.starrocks_type}"
    elif model is not StarRocksModel.DUPLICATE and column.name not in key:
        reason = f"a table of model {model.value} is distributed by columns of its key alone"
    if reason:
        raise ConfigurationError(
            f"migration.yaml: {table.full_name} cannot be distributed by column "
            f"{column.source_name}: {reason}.",
            code="MA-CF-060",
            next_step="Name other columns in `distributed_by`, or leave it out.",
        )


def _refuse_twice(table: SourceTable, rule: str, names: Sequence[str]) -> None:
    folded = [name.casefold() for name in names]
    for name in names:
        if folded.count(name.casefold()) > 1:
            raise ConfigurationError(
                f"migration.yaml: {rule} of {table.full_name} names column {name} twice.",
                code="MA-CF-060",
                next_step="Name it once.",
            )


def _refuse_merging(
    table: SourceTable,
    model: StarRocksModel,
    keys: Sequence[ColumnPlan],
    columns: Sequence[ColumnPlan],
) -> None:
    """Refuse a key that more than one row may have, as StarRocks would keep one of them."""
    reason = ""
    names = {column.source_name for column in keys}
    if table.kind is not TableKind.TABLE:
        reason = f"nothing keeps the rows of a {table.kind.value} distinct"
    elif not keys:
        reason = "it has no primary key, and no `keys` are named"
    elif not _is_unique(table, names):
        reason = f"nothing keeps its rows distinct by {', '.join(c.source_name for c in keys)}"
    for column in () if reason else keys:
        beside = [c for c in columns if c.added and c.source_name == column.source_name]
        if column.nullable and model is StarRocksModel.PRIMARY:
            reason = f"its column {column.source_name} takes NULL, which a primary key does not"
        elif column.fidelity is not Fidelity.EXACT or beside or column.cut:
            reason = (
                f"values of its column {column.source_name} that differ may become equal "
                f"({column.note or 'a part of them stands in a column beside'})"
            )
        if reason:
            break
    if reason:
        raise ConfigurationError(
            f"migration.yaml: {table.full_name} cannot be a table of model {model.value}, which has "
            f"one row for each key: {reason}.",
            code="MA-CF-060",
            next_step="Write `model: duplicate` for it, or name the columns of a primary key or "
            "unique index of it in `keys`.",
        )


def _is_unique(table: SourceTable, names: set[str]) -> bool:
    """Whether the source keeps rows distinct by some of these columns.

    A unique index takes one row of NULL for each combination, as StarRocks' keys do
    (https://learn.microsoft.com/sql/relational-databases/indexes/create-unique-indexes).
    """
    sets = [set(table.columns.primary_key)]
    sets += [set(index.columns) for index in table.indexes if index.unique]
    return any(columns and columns <= names for columns in sets)


def _lengths(model: StarRocksModel, keys: Sequence[ColumnPlan]) -> list[str]:
    if model is not StarRocksModel.PRIMARY:
        return []
    longest = sum(_longest(column.starrocks_type) for column in keys) + _BYTES["INT"]
    if longest <= MAX_PRIMARY_KEY_BYTES:
        return []
    return [
        f"A StarRocks primary key has no more than {MAX_PRIMARY_KEY_BYTES} bytes, and that of "
        f"{', '.join(column.source_name for column in keys)} may have {longest:,}: a longer one "
        "fails the load of its partition."
    ]


def _longest(starrocks_type: str) -> int:
    length = re.search(r"\((\d+)", starrocks_type)
    return int(length[1]) if length else _BYTES[starrocks_type]
