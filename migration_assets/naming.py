r"""Names that Glue, Iceberg and StarRocks all accept, made from SQL Server's.

The rule, in this order:

1. Lower case (`casefold`, so `ß` becomes `ss`). Glue folds names to lower case when it stores them
   (https://docs.aws.amazon.com/glue/latest/webapi/API_DatabaseInput.html), StarRocks compares
   column names without case (its `ColumnDefAnalyzer`), Spark everything.
2. Namespaces, databases and tables: accents are dropped (`é` becomes `e`), and each character that
   is still not one of `a-z 0-9 _` becomes `_`. Iceberg's own GlueCatalog, which StarRocks and Spark
   use, refuses every other name: `^[a-z0-9_]{1,252}$` for databases, 255 for tables
   (org.apache.iceberg.aws.glue.IcebergToGlueConverter).
   Columns: letters, marks and digits of every script stay, as Glue (API_Column), Iceberg and StarRocks
   (`^[^\0]{1,1024}$`, fe/sql/analyzer/FeNameFormat.java) accept them; the rest becomes `_`, so no
   backtick or `*`, which StarRocks cannot express in a name. So names that differ by accents only
   stay two names.
3. At most 190 bytes of UTF-8: SQL Server's 128 characters may be 512 bytes, Glue takes 255.
4. A name that begins with a digit gets the prefix `t_` (table) or `c_` (column), a column also where
   StarRocks keeps what it begins with. A namespace or database begins with a letter, as StarRocks'
   `^[a-zA-Z][...]{0,255}$` wants, else gets `s_`.
5. A name of which nothing is left (`注文` as a table) becomes the prefix and a hash of the source.
6. Names that meet after that, or are reserved: the one that was not changed keeps its name, all
   others get `_` and six hex digits of a hash of their source name (more where that is taken too).

A name depends on what else there is, never on its order. A table that is added later may take a name
from one that had to be changed: its table id is another then, so nothing is overwritten, and commit
and load say what to do. The plan has the source name beside each target name, so the rule need not
be reversed.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from enum import IntEnum, StrEnum

from migration_assets.errors import ConfigurationError

MAX_BYTES = 190
"""Longest name before prefix and suffix, in UTF-8: with a `namespace_prefix` of 51 characters, or
with the longest suffix, it is still below the 252 bytes of the narrowest system."""

NAMESPACE_PATTERN = r"^[a-z][a-z0-9_]{0,251}$"
"""What an explicit namespace must match: legal in Glue, Iceberg and StarRocks."""
ICEBERG_TABLE_PATTERN = r"^[a-z0-9_]{1,255}$"
STARROCKS_DATABASE_PATTERN = r"^[A-Za-z][A-Za-z0-9_]{0,255}$"
STARROCKS_TABLE_PATTERN = r"^[A-Za-z0-9_]{1,255}$"

ICEBERG_TEMPLATE_PATTERN = r"^(?:[a-z0-9_]|\{schema\}|\{table\}){1,255}$"
"""A name, or a template of names: `{schema}_{table}`."""
STARROCKS_TEMPLATE_PATTERN = r"^(?:[A-Za-z0-9_]|\{schema\}|\{table\}){1,255}$"
MAX_NAMESPACE = 252
"""Longest namespace in bytes; see the rule above."""

RESERVED_DATABASES = frozenset({"information_schema", "sys"})
"""StarRocks' own databases that the rule could make."""

RESERVED_COLUMNS = frozenset(
    # StarRocks (FeNameFormat), then Iceberg's metadata columns (https://iceberg.apache.org/spec/
    # #reserved-field-ids), which hide columns of the same name in Spark; the last is the key in the
    # derived table of the jdbc reader (mssql/jdbc.py).
    {"__op", "__row", "___count___", "_file", "_pos", "_deleted", "_spec_id", "_partition"}
    | {"_row_id", "_last_updated_sequence_number"}
    | {"_change_type", "_change_ordinal", "_commit_snapshot_id"}
    | {"migration_assets_key"}
)
_RESERVED_COLUMN_PREFIX = "__generated_partition_column_"
_SUFFIX_DIGITS = (6, 12, 24)


class NameKind(StrEnum):
    """What is named; the value is the prefix where a name cannot begin as it does."""

    NAMESPACE = "s_"
    TABLE = "t_"
    COLUMN = "c_"


class Claim(IntEnum):
    """How strongly a source object claims the name it wants; the lowest goes first."""

    FIXED = 0
    """Given by a rule."""
    UNCHANGED = 1
    """The source's name is legal as it is."""
    CHANGED = 2
    """The rule had to change the source's name."""


def bracketed(name: str) -> str:
    """Any name of SQL Server's as T-SQL takes it: `[a]]b]`.

    https://learn.microsoft.com/sql/relational-databases/databases/database-identifiers
    """
    return f"[{name.replace(']', ']]')}]"


def full_name(schema: str, name: str) -> str:
    """`schema.name` as people write it, and never that of another table.

    A part with a dot stands in brackets, as in T-SQL: `a.b` in schema `c` is `c.[a.b]`, and `b` in
    schema `c.a` is `[c.a].b`.
    """
    return ".".join(bracketed(part) if "." in part else part for part in (schema, name))


def legal_name(source: str, kind: NameKind) -> str:
    """Return the target name of a source name by rules 1 to 5 of this module; never empty."""
    # Folding makes capitals of Cherokee's small letters, so lower case comes last.
    folded = unicodedata.normalize("NFC", source).casefold().lower()
    if kind is NameKind.COLUMN:
        letters = unicodedata.normalize("NFC", folded)
        name = "".join(c if unicodedata.category(c)[0] in "LMN" else "_" for c in letters)
    else:
        letters = "".join(
            c for c in unicodedata.normalize("NFKD", folded) if not unicodedata.combining(c)
        )
        name = re.sub(r"[^a-z0-9_]", "_", letters)
    name = name.encode()[:MAX_BYTES].decode(errors="ignore")
    if not name.strip("_"):
        return f"{kind.value}{_hash(source, _SUFFIX_DIGITS[0])}"
    if name[0].isdigit() or (kind is NameKind.NAMESPACE and name[0] == "_"):
        name = f"{kind.value}{name}"
    if kind is NameKind.NAMESPACE and name in RESERVED_DATABASES:
        name = f"{kind.value}{name}"
    if kind is NameKind.COLUMN and name.startswith(_RESERVED_COLUMN_PREFIX):
        name = f"{kind.value}{name}"
    return name


def is_template(text: str) -> bool:
    """Whether a target name of a rule is one for many tables."""
    return "{" in text


def templated_name(template: str, schema: str, table: str) -> tuple[str, Claim]:
    """The name that a template makes of a source table's, each part legal by rules 1 to 5.

    Args:
        template: with `{schema}` and `{table}`.
        schema: the source's name of its schema.
        table: its own name there.

    Returns:
        The name, cut to `MAX_BYTES`, and how strongly the table claims it.
    """
    parts = {
        "schema": legal_name(schema, NameKind.TABLE),
        "table": legal_name(table, NameKind.TABLE),
    }
    name = template.format(**parts)[:MAX_BYTES]
    unchanged = name == template.format(schema=schema, table=table)
    return name, Claim.UNCHANGED if unchanged else Claim.CHANGED


def framed_name(prefix: str, name: str, suffix: str) -> str:
    """A namespace between what goes before and after it; the name itself is cut where too long."""
    return f"{prefix}{name[: MAX_NAMESPACE - len(prefix) - len(suffix)]}{suffix}"


def comparable(name: str) -> str:
    """What two names have in common where a system takes them for one.

    Java compares without case by the capitals of both (`String.equalsIgnoreCase`), so an i without
    its dot is an i for StarRocks and Spark; `casefold` alone keeps the two apart.
    """
    return name.upper().casefold()


def claim(source: str, name: str) -> Claim:
    """Say how strongly a source object claims the name that `legal_name` made for it."""
    return Claim.UNCHANGED if source == name else Claim.CHANGED


def distinct_names(
    wanted: Mapping[str, tuple[str, Claim]], *, reserved: Collection[str] = ()
) -> dict[str, str]:
    """Settle who gets which name within one scope, by rule 6.

    Args:
        wanted: per source object (a text that identifies it, hashed for the suffix) the name it
            wants and its claim. Two `FIXED` claims on one name both get it: the caller refuses it.
        reserved: names that nobody may have.

    Returns:
        The name of each source object, in the order given.

    Raises:
        ConfigurationError: names that no suffix tells apart; nobody has seen such.
    """
    contenders: dict[str, list[Claim]] = defaultdict(list)
    for name, strength in wanted.values():
        contenders[comparable(name)].append(strength)
    taken = {comparable(name) for name in reserved}
    names, left = {}, []
    for source, (name, strength) in wanted.items():
        rivals = contenders[comparable(name)]
        first = strength is min(rivals) and rivals.count(strength) == 1
        if strength is Claim.FIXED or (first and comparable(name) not in taken):
            names[source] = name
        else:
            left.append(source)
    taken.update(comparable(name) for name in names.values())
    for digits in _SUFFIX_DIGITS:
        # All at once, so that the order does not matter: who shares a name with anybody waits.
        tried = {source: f"{wanted[source][0]}_{_hash(source, digits)}" for source in left}
        often = Counter(map(comparable, tried.values()))
        found = {
            source: name
            for source, name in tried.items()
            if often[comparable(name)] == 1 and comparable(name) not in taken
        }
        names |= found
        taken.update(map(comparable, found.values()))
        left = [source for source in left if source not in found]
    if left:
        raise ConfigurationError(
            f"No suffix makes the names of {', '.join(left[:5])} distinct.",
            code="MA-CF-022",
            next_step="Give them names of their own in migration.yaml.",
        )
    return {source: names[source] for source in wanted}


def _hash(source: str, digits: int) -> str:
    # A name of SQL Server is UTF-16 that nobody checked: half a surrogate pair has no UTF-8.
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()[:digits]


def asset_names(schema: str, name: str, namespace: str, iceberg_table: str) -> tuple[str, str]:
    """The last two parts of a source table's Dagster asset key: its own names where they are legal.

    Dagster takes letters, digits and underscores (of a key whose asset has checks). Where the
    schema is not legal both parts are Iceberg's, since only the two together are unique.
    """
    if not is_dagster_name(schema):
        return namespace, iceberg_table
    return schema, name if is_dagster_name(name) else iceberg_table


def is_dagster_name(text: str) -> bool:
    """Whether Dagster takes a text as a name."""
    return re.fullmatch("[A-Za-z0-9_]+", text) is not None
