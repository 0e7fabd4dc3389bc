"""Exact, order-free aggregates of a partition: the same numbers from SQL Server, Arrow, StarRocks.

Two partitions with the same rows have the same fingerprint, whatever the order of the rows, and a
lost or doubled row, a changed number, date, time, GUID, bit, NULL or length, and values swapped
between rows all change it. A changed text of equal length and a changed float do not: a hash of
every text costs as much as the extraction, and sums of floats depend on the order of the rows.

How one column is measured depends on its kind (`ColumnPlan.measure`). A kind is a few *terms*, SQL
expressions over the select expression that give integers and are summed exactly, and *numbers*,
integers whose product with the row's key is summed modulo `SWAP_MODULUS`, so that an exchange of
two values shows. The sums of the terms, weighted, are one exact integer per measure.

The traps that the expressions avoid:

- `SUM(int)` overflows in T-SQL (https://learn.microsoft.com/sql/t-sql/functions/sum-transact-sql),
  Arrow's int64 and decimal128 sums and StarRocks' BIGINT sum wrap silently: everything is summed as
  decimal(38,0), LARGEINT, or in halves.
- A CAST to fewer digits rounds in T-SQL, ODBC cuts: 100 ns digits are cut by integer division.
- Text lengths come in UTF-16 units (SQL Server) and bytes of UTF-8 (StarRocks): Arrow, which has
  the text, measures both, and each server is compared in its own unit.
- No minimum or maximum of text or GUIDs: their order depends on the collation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from migration_assets.choices import VerificationLevel
from migration_assets.column_plan import ColumnPlan
from migration_assets.plan import TablePlan
from migration_assets.receipts import Fingerprint

SWAP_MODULUS = 32_749
"""A prime: products of two remainders stay far below 2**63 for billions of rows."""


CUT = "cut"
"""Measure of a column that StarRocks gets shortened: how many values that concerns. Only the
extraction has it, so it is compared with nothing."""


@dataclass(frozen=True)
class Term:
    """A SQL expression that is an integer for each row; `{e}` is the column.

    Attributes:
        weight: what its sum is multiplied with, exactly, outside of the server.
        wide: its sum may exceed 63 bits.
    """

    sql: str
    weight: int = 1
    wide: bool = False


@dataclass(frozen=True)
class Kind:
    """How one SQL dialect measures a kind of column.

    Attributes:
        sums: measure name to the terms it adds up.
        numbers: measure name to the expression whose product with the key is summed.
        key: whether the first number can stand for a row's key.
    """

    sums: dict[str, tuple[Term, ...]] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)
    key: bool = True


def is_wide_decimal(precision: int, scale: int) -> bool:
    """Whether a decimal is summed in two halves of its digits.

    Above 28 digits a sum may exceed the 38 that servers have; and to make an integer of a value,
    StarRocks multiplies it at its own scale, which takes `precision + scale` digits.
    """
    return precision > 28 or precision + scale > 36


def tsql_kind(column: ColumnPlan) -> Kind:
    """Return the T-SQL form of a column's kind.

    `DATEDIFF_BIG` counts crossed boundaries, which from midnight on is the number of whole seconds
    (https://learn.microsoft.com/sql/t-sql/functions/datediff-big-transact-sql).
    """
    match column.measure:
        case "boolean":
            return _integer("CAST({e} AS int)")
        case "integer":
            return _integer("{e}")
        case "bigint":
            return _integer("{e}", wide=True)
        case "decimal":
            precision, scale = decimal_digits(column)
            if is_wide_decimal(precision, scale):
                text = "REPLACE(REPLACE(CONVERT(varchar(41), {e}), '.', ''), '-', '')"
                digits = f"RIGHT(REPLICATE('0', 38) + {text}, 38)"
                sign = "CASE WHEN {e} < 0 THEN -1 ELSE 1 END"
                high = f"CAST(LEFT({digits}, 19) AS decimal(19,0)) * {sign}"
                low = f"CAST(RIGHT({digits}, 19) AS decimal(19,0)) * {sign}"
                return _halves(high, low)
            # money times an integer is money and overflows: a decimal first.
            exact = f"CAST({{e}} AS decimal({precision},{scale}))"
            return _integer(f"CAST({exact} * {10**scale} AS decimal(38,0))", wide=True)
        case "date":
            return _integer("DATEDIFF(day, '00010101', {e})")
        case "timestamp":
            return _tsql_timestamp("{e}")
        case "instant":
            return _tsql_timestamp("CAST(SWITCHOFFSET({e}, '+00:00') AS datetime2(7))")
        case "time":
            return _time("SUBSTRING({e}, %d, %d)", "CAST(%s AS bigint)", column)
        case "uuid":
            text = "CONVERT(char(36), {e})"
            hexadecimal = [
                " + ".join(f"SUBSTRING({text}, {start}, {length})" for start, length in group)
                for group in _UUID_GROUPS
            ]
            # Style 2 reads hexadecimal digits without a prefix.
            return _uuid([f"CONVERT(bigint, CONVERT(binary(4), {h}, 2))" for h in hexadecimal])
        case "text":
            units = _utf16_units(column)
            return Kind({"utf16": (Term(units),)}, {"utf16_swap": units}, key=False)
        case "binary":
            length = "CAST(DATALENGTH({e}) AS bigint)"
            return Kind({"bytes": (Term(length),)}, {"bytes_swap": length}, key=False)
        case "float":
            return Kind(key=False)
        case unknown:
            raise AssertionError(f"no such kind: {unknown}")


def starrocks_kind(column: ColumnPlan) -> Kind:
    """Return the StarRocks form of a column's kind.

    `timestampdiff(MICROSECOND, …)` and `microsecond()` do not exist there, `seconds_diff` and
    `date_format(…, '%f')` do
    (https://docs.starrocks.io/docs/sql-reference/sql-functions/date-time-functions/).
    """
    match column.measure:
        case "boolean" | "integer" | "bigint":
            return _integer("CAST({e} AS LARGEINT)")
        case "decimal":
            precision, scale = decimal_digits(column)
            if is_wide_decimal(precision, scale):
                text = "replace(replace(CAST({e} AS VARCHAR(48)), '.', ''), '-', '')"
                digits = f"right(concat(repeat('0', 38), {text}), 38)"
                sign = "CASE WHEN {e} < 0 THEN -1 ELSE 1 END"
                return _halves(
                    f"CAST(left({digits}, 19) AS LARGEINT) * {sign}",
                    f"CAST(right({digits}, 19) AS LARGEINT) * {sign}",
                )
            # A product of two 64-bit decimals may stay in 64 bits and overflow.
            exact = f"CAST({{e}} AS DECIMAL(38,{scale}))"
            return _integer(f"CAST({exact} * {10**scale} AS LARGEINT)")
        case "date":
            return _integer("datediff({e}, '0001-01-01')")
        case "timestamp" | "instant":
            seconds = "seconds_diff({e}, '0001-01-01 00:00:00')"
            micros = "CAST(date_format({e}, '%f') AS BIGINT)"
            terms = (Term(seconds, 1_000_000), Term(micros))
            return Kind({"sum": terms}, {"swap": f"{seconds} + {micros}"})
        case "time":
            return _time("substr({e}, %d, %d)", "CAST(%s AS BIGINT)", column)
        case "uuid":
            hexadecimal = []
            for group in _UUID_GROUPS:
                parts = [f"substr({{e}}, {start}, {length})" for start, length in group]
                hexadecimal.append(parts[0] if len(parts) == 1 else f"concat({', '.join(parts)})")
            return _uuid([f"CAST(conv({h}, 16, 10) AS BIGINT)" for h in hexadecimal])
        case "text" | "binary":
            length = "length({e})"
            return Kind({"bytes": (Term(length),)}, {"bytes_swap": length}, key=False)
        case "float":
            return Kind(key=False)
        case unknown:
            raise AssertionError(f"no such kind: {unknown}")


_UUID_GROUPS = (((1, 8),), ((10, 4), (15, 4)), ((20, 4), (25, 4)), ((29, 8),))
"""Start and length of the pieces of a GUID's text that make four 32-bit numbers."""


def _integer(sql: str, *, wide: bool = False) -> Kind:
    return Kind({"sum": (Term(sql, wide=wide),)}, {"swap": sql})


def _halves(high: str, low: str) -> Kind:
    return Kind({"sum": (Term(high, 10**19, wide=True), Term(low, wide=True))}, {"swap": low})


def _uuid(words: Sequence[str]) -> Kind:
    terms = tuple(Term(word, 2 ** (96 - 32 * i)) for i, word in enumerate(words))
    # Sequential GUIDs differ in their first word, ordered ("COMB") ones in their last.
    return Kind({"sum": terms}, {"swap": f"{words[0]} + {words[-1]}"})


def _tsql_timestamp(value: str) -> Kind:
    seconds = f"DATEDIFF_BIG(second, '0001-01-01T00:00:00', {value})"
    micros = f"DATEPART(nanosecond, {value}) / 1000"
    terms = (Term(seconds, 1_000_000, wide=True), Term(micros))
    return Kind({"sum": terms}, {"swap": f"{seconds} + {micros}"})


def _time(piece: str, to_integer: str, column: ColumnPlan) -> Kind:
    hours, minutes, seconds = (to_integer % (piece % (start, 2)) for start in (1, 4, 7))
    second_of_day = f"({hours} * 3600 + {minutes} * 60 + {seconds})"
    scale = time_digits(column)
    if scale == 0:
        return Kind({"sum": (Term(second_of_day, 10**7),)}, {"swap": second_of_day})
    fraction = to_integer % (piece % (10, scale))
    terms = (Term(second_of_day, 10**7), Term(fraction, 10 ** (7 - scale)))
    return Kind({"sum": terms}, {"swap": f"{second_of_day} + {fraction}"})


def _utf16_units(column: ColumnPlan) -> str:
    """T-SQL for the length of a text in UTF-16 units, whatever its collation's encoding."""
    if column.read_type.startswith(("nchar", "nvarchar", "ntext", "xml")):
        return "CAST(DATALENGTH({e}) / 2 AS bigint)"
    # One byte is one unit in these single-byte code pages; other collations may be UTF-8 or
    # double-byte (https://learn.microsoft.com/sql/relational-databases/collations).
    collation = column.collation or ""
    if collation.startswith(("SQL_Latin1_", "Latin1_")) and not collation.endswith("_UTF8"):
        return "CAST(DATALENGTH({e}) AS bigint)"
    return "CAST(DATALENGTH(CAST({e} AS nvarchar(max))) / 2 AS bigint)"


def decimal_digits(column: ColumnPlan) -> tuple[int, int]:
    """Precision and scale of a column whose Iceberg type is a decimal."""
    precision, _, scale = (
        column.iceberg_type.removeprefix("decimal(").removesuffix(")").partition(",")
    )
    return int(precision), int(scale)


def time_digits(column: ColumnPlan) -> int:
    """Digits after the seconds' point of a `time(n)` column."""
    return int(column.mssql_type.removeprefix("time(").removesuffix(")"))


def key_columns(table: TablePlan) -> tuple[ColumnPlan, ...]:
    """Columns whose numbers stand for a row's key; none when the key has no numeric column.

    A column that takes NULL is none of them: the key of a view or query may have some.
    """
    by_source = table.by_source
    planned = [by_source[name] for name in table.primary_key if name in by_source]
    return tuple(column for column in planned if tsql_kind(column).key and not column.nullable)


@dataclass(frozen=True)
class FingerprintQuery:
    """The select list that measures a partition in one server, and how to read its only row."""

    expressions: tuple[str, ...]
    _measures: tuple[tuple[str, tuple[tuple[int, int], ...]], ...]

    def decode(self, row: Sequence[Any]) -> Fingerprint:
        """Turn the query's row into a fingerprint; NULL (no row had a value) counts as zero."""
        numbers = [_exact(value) for value in row]
        values = {
            name: sum(weight * numbers[position] for position, weight in terms)
            for name, terms in self._measures
        }
        return Fingerprint(rows=numbers[0], values=values)


def _exact(value: object) -> int:
    """StarRocks sends LARGEINT as text, SQL Server decimal(38,0) as Decimal."""
    if value is None:
        return 0
    if isinstance(value, (int, str, Decimal)):
        return int(value)
    raise AssertionError(f"an aggregate came back as {type(value).__name__}")


def tsql_query(table: TablePlan, level: VerificationLevel) -> FingerprintQuery:
    """The fingerprint in T-SQL, over the select expressions."""

    def summed(term: Term) -> str:
        return f"SUM(CAST({term.sql} AS {'decimal(38,0)' if term.wide else 'bigint'}))"

    def remainder(number: str) -> str:
        return f"CAST(({number}) % {SWAP_MODULUS} AS bigint)"

    dialect = _Dialect("COUNT_BIG", tsql_kind, lambda c: c.expression, summed, remainder)
    return _query(table, level, dialect, table.columns)


def starrocks_query(table: TablePlan, level: VerificationLevel) -> FingerprintQuery:
    """The fingerprint in StarRocks' SQL, over the columns of the loaded table."""

    def summed(term: Term) -> str:
        return f"SUM(CAST({term.sql} AS LARGEINT))"

    def remainder(number: str) -> str:
        return f"mod(CAST({number} AS LARGEINT), {SWAP_MODULUS})"

    dialect = _Dialect("COUNT", starrocks_kind, lambda c: f"`{c.name}`", summed, remainder)
    loaded = tuple(column for column in table.columns if column.starrocks_type)
    return _query(table, level, dialect, loaded)


@dataclass(frozen=True)
class _Dialect:
    count: str
    kind: Any
    expression: Any
    summed: Any
    remainder: Any


def _query(
    table: TablePlan,
    level: VerificationLevel,
    dialect: _Dialect,
    columns: tuple[ColumnPlan, ...],
) -> FingerprintQuery:
    expressions = [f"{dialect.count}(*)"]
    measures: list[tuple[str, tuple[tuple[int, int], ...]]] = []
    if not level.compares_values:
        return FingerprintQuery(tuple(expressions), ())

    def add(name: str, weighted: Sequence[tuple[str, int]]) -> None:
        terms = []
        for sql, weight in weighted:
            expressions.append(sql)
            terms.append((len(expressions) - 1, weight))
        measures.append((name, tuple(terms)))

    keys = key_columns(table)
    key = " + ".join(
        dialect.remainder(_first(dialect.kind(column).numbers, dialect.expression(column)))
        for column in keys
    )
    for column in columns:
        e = dialect.expression(column)
        kind: Kind = dialect.kind(column)
        add(f"{column.name}.count", [(f"{dialect.count}({e})", 1)])
        for name, terms in kind.sums.items():
            filled = [Term(t.sql.replace("{e}", e), t.weight, t.wide) for t in terms]
            add(f"{column.name}.{name}", [(dialect.summed(t), t.weight) for t in filled])
        if not swap_measured(keys, column):
            continue
        for name, number in kind.numbers.items():
            product = f"({key}) * {dialect.remainder(number.replace('{e}', e))}"
            add(f"{column.name}.{name}", [(dialect.summed(Term(product)), 1)])
    return FingerprintQuery(tuple(expressions), tuple(measures))


def _first(numbers: dict[str, str], expression: str) -> str:
    return next(iter(numbers.values())).replace("{e}", expression)


def swap_measured(keys: tuple[ColumnPlan, ...], column: ColumnPlan) -> bool:
    """Whether the column's product with the key is measured: not for the only key column."""
    return bool(keys) and keys != (column,)
