"""Masks of columns: the T-SQL that is read in a column's place, and what must not be masked; pure.

A masked value never leaves SQL Server: every statement that reads values reads them from
`mssql.select.masked_sql`, where the mask stands in the column's place, and a masked column is never cut by, compared by or sorted
by, so that none of its values becomes a bound in the plan.

`hash` is HMAC-SHA-256 (RFC 2104) over the value as UTF-16 text (of binary values over the bytes), in
lower-case hexadecimal digits. Its key is a secret setting, which reaches the server as a parameter of
each statement (`mssql/mask_salt.py`). A plain SHA-256 of an email address or a telephone number is
found by trying all of them; without the key nobody can try. HASHBYTES takes any length since SQL
Server 2016 (https://learn.microsoft.com/sql/t-sql/functions/hashbytes-transact-sql).

`partial` counts characters as a collation with supplementary characters does, so that none is cut in
half (https://learn.microsoft.com/sql/relational-databases/collations/collation-and-unicode-support).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from migration_assets.choices import Fidelity
from migration_assets.column_plan import ColumnPlan
from migration_assets.errors import ConfigurationError
from migration_assets.fixed_values import decimal_type, fixed_expression
from migration_assets.mask_rules import FixedMask, Mask, MaskWord, PartialMask
from migration_assets.naming import bracketed
from migration_assets.rule_values import matches
from migration_assets.rules import Rules
from migration_assets.schema import Column, SourceTable, TableSchema
from migration_assets.table_rules import Split, TableRules
from migration_assets.type_mapping import map_column

HASH_LENGTH = 64
"""Hexadecimal digits of SHA-256."""
PADDING = "***"
SALT_MISSING = (
    "Set MIGRATION_MASK_SALT to a secret of 16 characters or more (`openssl rand -hex 32` makes one), "
    "or MIGRATION_MASK_SALT_SECRET_ID to where it lies. Keep it: the same value has the same hash only "
    "under the same salt."
)

_TEXTS = frozenset({"char", "varchar", "nchar", "nvarchar", "text", "ntext"})
_NULLS = {
    "boolean": "bit",
    "integer": "int",
    "bigint": "bigint",
    "date": "date",
    "timestamp": "datetime2(6)",
    "instant": "datetimeoffset(6)",
    "time": "varchar(16)",
    "uuid": "uniqueidentifier",
    "text": "nvarchar(1)",
    "binary": "varbinary(1)",
}
"""A type for NULL by the kind of a column: small, and read by drivers as its values are."""


def salt_variables(digest: str) -> tuple[str, str]:
    """The T-SQL variables of HMAC's inner and outer key; their names hold the salt's digest.

    So a statement that was made for one salt cannot run with another.
    """
    return f"@mask_inner_{digest}", f"@mask_outer_{digest}"


def is_masked(mask: Mask | None) -> bool:
    """Whether a rule masks."""
    return mask is not None and mask is not MaskWord.OFF


def masked_columns(table: SourceTable, wishes: TableRules) -> frozenset[str]:
    """Source names of the columns that the rules mask, of those that are left out too."""
    names = (column.name for column in table.columns.columns)
    return frozenset(name for name in names if is_masked(wishes.column(name).mask))


def mask_column(
    column: Column, mask: Mask, *, name: str, field_id: int, digest: str, where: str
) -> ColumnPlan:
    """Plan a masked column; nothing stands beside it.

    Args:
        column: as introspected.
        mask: how.
        name: its target name.
        field_id: its Iceberg field id.
        digest: of the salt; empty where there is none.
        where: the table's name, for messages.

    Raises:
        ConfigurationError: the type has no such mask, a fixed value does not fit it, or a hash has no
            salt.
        UnsupportedError: the column cannot be migrated at all.
    """
    plain = map_column(column, name=name, field_id=field_id)
    update = {
        "fidelity": Fidelity.LOSSY,
        "loses": (),
        "cut": False,
        "utf16": False,
        "distinct": False,
    }
    match mask:
        case MaskWord.HASH:
            if not digest:
                raise ConfigurationError(
                    f"{where}: {column.name} is masked by hash, and there is no salt.",
                    code="MA-CF-053",
                    next_step=SALT_MISSING,
                )
            update |= _hashed(column, plain, digest, where)
        case MaskWord.NULL:
            kind = _NULLS.get(plain.measure) or _number_type(plain)
            update |= {
                "select_expression": f"CAST(NULL AS {kind})",
                "masked_type": kind,
                "nullable": True,
                "mask": "null",
                "note": "masked: NULL in every row",
            }
        case FixedMask(fixed=value):
            expression, kind = fixed_expression(column, plain, value, where)
            update |= {
                "select_expression": expression,
                "masked_type": kind,
                "mask": "fixed",
                "note": "masked: the same value in every row",
            }
        case PartialMask(partial=kept):
            update |= _partial(column, plain, kept.first, kept.last, where)
        case _:
            raise AssertionError(f"no such mask: {mask}")
    return plain.model_copy(update=update)


def _hashed(column: Column, plain: ColumnPlan, digest: str, where: str) -> dict[str, object]:
    e = plain.select_expression
    match plain.measure:
        case "text" if column.type.name in {"char", "nchar"}:
            text = f"RTRIM(CONVERT(nvarchar(max), {e}))"  # what fills it up is no part of the value
        case "text" | "time":
            text = f"CONVERT(nvarchar(max), {e})"
        case "boolean" | "integer" | "bigint" | "uuid":
            text = f"CONVERT(nvarchar(40), {e})"
        case "decimal":  # money as text has two of its four digits
            text = f"CONVERT(nvarchar(41), CAST({e} AS {decimal_type(plain)}))"
        case "date" | "timestamp" | "instant":
            text = f"CONVERT(nvarchar(40), {e}, 121)"
        case "binary":
            text = e
        case _:
            raise _no_such_mask(
                where, column, "hash", "a float has no one text; use null or a fixed value"
            )
    inner, outer = salt_variables(digest)
    value = f"CONVERT(varbinary(max), {text})"
    keyed = f"HASHBYTES('SHA2_256', {outer} + HASHBYTES('SHA2_256', {inner} + {value}))"
    return {
        "select_expression": f"LOWER(CONVERT(nchar({HASH_LENGTH}), {keyed}, 2))",
        "masked_type": f"nchar({HASH_LENGTH})",
        "iceberg_type": "string",
        "starrocks_type": f"VARCHAR({HASH_LENGTH})",
        "measure": "text",
        "mask": "hash",
        "note": "masked: a keyed SHA-256 of the value; NULL stays NULL",
    }


def _partial(
    column: Column, plain: ColumnPlan, first: int, last: int, where: str
) -> dict[str, object]:
    if column.type.name not in _TEXTS:
        raise _no_such_mask(where, column, "partial", "only texts have ends to keep")
    c = bracketed(column.name)
    text = f"RTRIM(CONVERT(nvarchar(max), {c})) COLLATE Latin1_General_100_CI_AS_SC"
    ends = [f"LEFT({text}, {first})" if first else "", f"N'{PADDING}'"]
    ends.append(f"RIGHT({text}, {last})" if last else "")
    shown = " + ".join(filter(None, ends))
    # A character may be two units.
    units = 2 * (first + last) + len(PADDING)
    kind = f"nvarchar({units})"
    expression = (
        f"CAST(CASE WHEN LEN({text}) > {first + last} THEN {shown} "
        f"WHEN {c} IS NOT NULL THEN N'{PADDING}' END AS {kind})"
    )
    kept = [f"the first {first}" if first else "", f"the last {last}" if last else ""]
    return {
        "select_expression": expression,
        "masked_type": kind,
        "starrocks_type": f"VARCHAR({3 * units})",
        "utf16": plain.utf16,
        "mask": f"partial, first {first}, last {last}",
        "note": f"masked: {' and '.join(filter(None, kept))} characters and *** are kept; NULL stays "
        "NULL",
    }


def _number_type(plain: ColumnPlan) -> str:
    if plain.measure == "decimal":
        return decimal_type(plain)
    return "real" if plain.iceberg_type == "float" else "float"


def _no_such_mask(where: str, column: Column, mask: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"{where}: {column.name} of type {column.type.declaration} cannot be masked by {mask}: {why}.",
        code="MA-CF-050",
        next_step="Choose another mask in migration.yaml, or leave the column out by exclude_columns.",
    )


def refuse_misplaced(table: SourceTable, wishes: TableRules) -> None:
    """Refuse masks of columns that rows are known by, and columns that would tell masked values.

    Raises:
        ConfigurationError: names the column.
    """
    masked = masked_columns(table, wishes)
    if not masked:
        return
    folded = {name.casefold(): name for name in masked}
    kind = "primary key"
    uses = [
        (name, f"part of its {kind}, by which rows are known") for name in table.columns.primary_key
    ]
    if wishes.partition_column:
        uses.append((wishes.partition_column, "what `partition_column` cuts it by"))
    if wishes.window is not None:
        uses.append((wishes.window.column, "what `window` cuts it by"))
    uses += [(name, "part of `key`, by which rows are known") for name in wishes.key]
    function = table.partitioned
    if wishes.split is Split.PARTITION_FUNCTION and function is not None:
        uses.append((function.column, "what its partition function cuts it by"))
    for name, use in uses:
        if name.casefold() in folded:
            raise ConfigurationError(
                f"{table.full_name}: {folded[name.casefold()]} cannot be masked: it is {use}, so its "
                "values would stand in the plan.",
                code="MA-CF-051",
                next_step="Take the mask away, cut the table by another column, or migrate a view of "
                "it that has another key.",
            )
    left_out = _left_out(table, wishes)
    for column in table.columns.columns:
        if column.computed is None or column.name in masked or column.name in left_out:
            continue
        told = next((name for name in sorted(masked) if _occurs(name, column.computed)), None)
        if told is not None:
            raise ConfigurationError(
                f"{table.full_name}: {column.name} is computed from {told}, which is masked, and "
                "would tell its values.",
                code="MA-CF-051",
                next_step=f"Mask {column.name} too, or list it under exclude_columns.",
            )


def _left_out(table: SourceTable, wishes: TableRules) -> frozenset[str]:
    names = (column.name for column in table.columns.columns)
    return frozenset(name for name in names if not wishes.takes_column(name))


def _occurs(name: str, definition: str) -> bool:
    """Whether a computed column's definition names a column; one that is not visible may."""
    if definition.startswith("(definition not visible"):
        return True
    return bracketed(name).casefold() in definition.casefold()


def cuttable(table: SourceTable, wishes: TableRules) -> SourceTable:
    """The table as it may be cut: without masked columns, and without indexes that have one."""
    masked = masked_columns(table, wishes)
    if not masked:
        return table
    columns = tuple(column for column in table.columns.columns if column.name not in masked)
    function = table.partitioned
    return replace(
        table,
        columns=TableSchema(columns, table.columns.primary_key),
        indexes=tuple(index for index in table.indexes if not masked & set(index.columns)),
        partitioned=None if function is not None and function.column in masked else function,
    )


def refuse_masks_of_nothing(rules: Rules, tables: Sequence[SourceTable]) -> None:
    """Refuse a mask that no column has: a misspelt name would let the values go.

    Args:
        rules: the user's.
        tables: all of the database; those that are left out anyway count too.

    Raises:
        ConfigurationError: names the pattern and the column.
    """
    known = [table for table in tables if table.columns.columns]
    for pattern, wishes in rules.tables.items():
        matched = [table for table in known if matches(pattern, table.full_name)]
        for name, of_column in wishes.columns.items():
            if not is_masked(of_column.mask):
                continue
            if any(matches(name, c.name) for table in matched for c in table.columns.columns):
                continue
            found = f"no table that {pattern} matches has such a column"
            raise ConfigurationError(
                f"migration.yaml: tables: {pattern}: columns: {name} has a mask, and "
                f"{found if matched else f'{pattern} matches no table'}.",
                code="MA-CF-052",
                next_step="Correct the name, or take the mask away: it masks nothing.",
            )


def null_warnings(columns: Sequence[ColumnPlan], table: SourceTable) -> list[str]:
    """What masks do to NOT NULL, a sentence for each column."""
    return [
        f"Column {column.source_name} is NOT NULL in SQL Server and takes NULL in the targets: it is "
        "masked by null."
        for column in columns
        if column.mask == "null" and not table.columns.column(column.source_name).nullable
    ] + [
        f"Column {column.source_name} has the fixed value also in rows that have NULL: it is masked."
        for column in columns
        if column.mask == "fixed" and table.columns.column(column.source_name).nullable
    ]


SALT_VARIABLE = re.compile(r"@mask_(?:inner|outer)_([0-9a-f]+)")
"""A variable of `salt_variables`, and the digest in its name."""
