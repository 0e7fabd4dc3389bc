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
   backtick or `*`, which StarRocks cannot express in a name.
3. A name that begins with a digit gets the prefix `t_` (table) or `c_` (column). A namespace or
   database begins with a letter, as StarRocks' `^[a-zA-Z][...]{0,255}$` wants, else gets `s_`.
4. A name of which nothing is left (`注文` as a table) becomes the prefix and a hash of the source.
5. Names that meet after that: the one that was not changed keeps its name, all others get `_` and
   six hex digits of a hash of their source name. So a name depends on no order, and a table that
   is added later never takes the name of another.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Mapping
from enum import IntEnum, StrEnum

MAX_LENGTH = 200
"""Longest name the rule makes: SQL Server's have at most 128 characters, Glue's 252 bytes."""

NAMESPACE_PATTERN = r"^[a-z][a-z0-9_]{0,251}$"
"""What an explicit namespace must match: legal in Glue, Iceberg and StarRocks."""
ICEBERG_TABLE_PATTERN = r"^[a-z0-9_]{1,255}$"
STARROCKS_DATABASE_PATTERN = r"^[A-Za-z][A-Za-z0-9_]{0,255}$"
STARROCKS_TABLE_PATTERN = r"^[A-Za-z0-9_]{1,255}$"

RESERVED_DATABASES = frozenset({"information_schema", "sys"})
"""StarRocks' own databases that the rule could make."""

RESERVED_COLUMNS = frozenset(
    # StarRocks (FeNameFormat), then Iceberg's metadata columns (https://iceberg.apache.org/spec/
    # #reserved-field-ids), which hide columns of the same name in Spark.
    {"__op", "__row", "___count___", "_file", "_pos", "_deleted", "_spec_id", "_partition"}
    | {"_row_id", "_last_updated_sequence_number"}
)
_RESERVED_COLUMN_PREFIX = "__generated_partition_column_"


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


def legal_name(source: str, kind: NameKind) -> str:
    """Return the target name of a source name by rules 1 to 4 of this module; never empty."""
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
    name = name[:MAX_LENGTH]
    if not name.strip("_"):
        return f"{kind.value}{_hash(source)}"
    if name[0].isdigit() or (kind is NameKind.NAMESPACE and name[0] == "_"):
        name = f"{kind.value}{name}"
    if kind is NameKind.NAMESPACE and name in RESERVED_DATABASES:
        name = f"{kind.value}{name}"
    return name


def claim(source: str, name: str) -> Claim:
    """Say how strongly a source object claims the name that `legal_name` made for it."""
    return Claim.UNCHANGED if source == name else Claim.CHANGED


def distinct_names(
    wanted: Mapping[str, tuple[str, Claim]], *, reserved: Collection[str] = ()
) -> dict[str, str]:
    """Settle who gets which name within one scope, by rule 5.

    Args:
        wanted: per source object (a text that identifies it, hashed for the suffix) the name it
            wants and its claim. Two `FIXED` claims on one name both get it: the caller refuses it.
        reserved: names that nobody may have.

    Returns:
        The name of each source object, in the order given.
    """
    contenders: dict[str, list[Claim]] = defaultdict(list)
    for name, strength in wanted.values():
        contenders[name.casefold()].append(strength)
    names = {}
    for source, (name, strength) in wanted.items():
        rivals = contenders[name.casefold()]
        first = strength is min(rivals) and rivals.count(strength) == 1
        is_free = name.casefold() not in reserved and not name.startswith(_RESERVED_COLUMN_PREFIX)
        keeps = strength is Claim.FIXED or (first and is_free)
        names[source] = name if keeps else f"{name}_{_hash(source)}"
    return names


def _hash(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:6]
