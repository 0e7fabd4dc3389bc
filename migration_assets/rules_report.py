"""`docs/migration-yaml.md` and `migration.schema.json`, made from `rules.py`.

`python -m migration_assets.rules_report` writes both; a test fails when they drift.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from migration_assets.mask_rules import FixedMask, Kept, PartialMask
from migration_assets.rules import QueryRules, Rules, SchemaRules, SparkFrom
from migration_assets.rules_schema import SCHEMA_PATH, descriptions, schema, schema_text
from migration_assets.table_rules import ColumnRules, DefaultRules, TableRules, WindowRules

PAGE_PATH = Path("docs/migration-yaml.md")

_HEAD = ("Key", "Value", "Default", "Meaning")
_PARTS: tuple[tuple[str, str, type[BaseModel], type[BaseModel] | None], ...] = (
    ("Top level", "", Rules, None),
    (
        "`defaults` and `tables`",
        "`defaults` holds for all tables; below `tables` stand patterns with wishes of their own.",
        DefaultRules,
        None,
    ),
    ("Only below `tables`", "", TableRules, DefaultRules),
    (
        "`columns` of a table",
        "By the column's name in SQL Server or a pattern, without case.",
        ColumnRules,
        None,
    ),
    (
        "`mask` of a column",
        "`hash`, `null`, `off`, or one of these two ([more](masking.md)).",
        FixedMask,
        None,
    ),
    ("", "", PartialMask, None),
    ("`partial` of a mask", "", Kept, None),
    ("`window` of a table", "", WindowRules, None),
    ("`schemas`", "", SchemaRules, None),
    ("`queries`", "", QueryRules, None),
    ("`spark_from`", "", SparkFrom, None),
)
"""Heading, what is said of it, its model, and the model whose keys stand elsewhere."""


def page() -> str:
    """The whole of `docs/migration-yaml.md`."""
    parts = "\n".join(_section(*part) for part in _PARTS)
    return f"{_INTRODUCTION}\n{_EXAMPLES}\n## All keys\n\n{_KEYS}\n{parts}"


def examples() -> list[str]:
    """All YAML in the page, each a whole migration.yaml."""
    return re.findall(r"^```yaml\n(.*?)^```", page(), re.MULTILINE | re.DOTALL)


def _section(
    heading: str, text: str, model: type[BaseModel], elsewhere: type[BaseModel] | None
) -> str:
    known = set(elsewhere.model_fields) if elsewhere else set()
    lines = [_line(_HEAD), _line(["---"] * len(_HEAD))]
    lines += [_line(row) for name, row in _rows(model) if name not in known]
    table = "\n".join(lines)
    head = f"### {heading}\n\n" if heading else ""
    return f"{head}{f'{text}{chr(10)}{chr(10)}' if text else ''}{table}\n"


def _rows(model: type[BaseModel]) -> Iterator[tuple[str, tuple[str, str, str, str]]]:
    whole = schema()
    part = whole if model is Rules else whole["$defs"][model.__name__]
    told = descriptions(model)
    for name, field in model.model_fields.items():
        key = field.alias or name
        meaning, _, default = told[key].removesuffix(".").partition("; default: ")
        needed = key in part.get("required", ())
        kind = _kind(part["properties"][key], whole["$defs"])
        shown = "must be given" if needed else default or "none"
        yield name, (f"`{key}`", kind, shown, _linked(meaning))


def _kind(entry: dict[str, Any], parts: dict[str, Any]) -> str:
    """What may stand there, in a few words."""
    if "$ref" in entry:
        part = parts[entry["$ref"].rpartition("/")[2]]
        if "enum" in part:
            return " / ".join(f"`{value}`" for value in part["enum"])
        return "keys"
    if "anyOf" in entry:
        kinds = [_kind(kind, parts) for kind in entry["anyOf"]]
        return "text or a list" if "list" in kinds else " or ".join(dict.fromkeys(kinds))
    if "const" in entry:
        return f"`{str(entry['const']).lower()}`"
    if isinstance(entry["type"], list):
        return "a value"
    match entry["type"]:
        case "null":
            return "`null`"
        case "integer":
            bounds = entry.get("minimum"), entry.get("maximum")
            return f"{bounds[0]} to {bounds[1]}" if None not in bounds else "number"
        case "boolean":
            return "`true` / `false`"
        case "array":
            return "list"
        case "object":
            inner = entry.get("additionalProperties")
            keyed = isinstance(inner, dict) and "$ref" in str(inner)
            return "names, each with keys" if keyed else "names, each with a value"
        case _:
            return "text"


def _linked(text: str) -> str:
    """The paths of other pages as links."""
    return re.sub(r"\(docs/([\w-]+\.md)\)", r"([more](\1))", text)


def _line(cells: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


_INTRODUCTION = """\
# migration.yaml

What you wish about the plan; optional, and read by `migration-assets plan`, which has to be run again
after each change. It lies beside the plan, or where `MIGRATION_RULES` says. A key that is not known is
refused with its line and the nearest one that is. This page is written by
`python -m migration_assets.rules_report`; so is the JSON schema by which editors complete the file:
`migration_assets/migration.schema.json`, which a first line names for them:

```
# yaml-language-server: $schema=migration.schema.json
```

## Which wish holds

For each key: that of the last pattern below `tables` that matches, else that in `defaults`, else that at
the top. Below `properties` and `columns` it is so for each name by itself. Patterns are those of a shell
(`*`, `?`, `[ab]`) over `schema.table`, compared without case; one that begins with `*` needs quotes.
"""

_EXAMPLES = """\
## Names of the targets

```yaml
namespace_prefix: shop_              # before namespaces and databases made from a schema's name
namespace_suffix: _glue              # after namespaces (Glue databases) only
iceberg_table: "{schema}_{table}"    # StarRocks tables have the same names
tables:
  "hr.*": {starrocks_table: "{table}"}
  sales.OrderLines: {iceberg_table: order_lines}
```

Here `sales.Orders` becomes `shop_sales_glue.sales_orders` in Iceberg and `shop_sales.sales_orders` in
StarRocks, as `database.table`. `{schema}` and `{table}` are the source's names, made legal. Tables whose
names meet get a suffix each; the plan says so.

## The StarRocks table

```yaml
defaults:
  properties: {compression: ZSTD}
tables:
  sales.Orders:
    model: primary                   # PRIMARY KEY (orderid, source_partition)
    properties: {enable_persistent_index: true}
  sales.Events:
    keys: [EventType, At]            # DUPLICATE KEY (eventtype, at)
    distributed_by: [EventId]
    buckets: 8
```

`duplicate` takes every row as it is. `primary` and `unique` have one row for each key, and StarRocks
merges rows that are equal in it without a word; so they are refused unless a primary key or unique index
of the source keeps its rows distinct by `keys`, and where values of the key may become equal on their way
(a seventh digit that is cut, an offset that is dropped). StarRocks wants the column that partitions a table
in its key, and a load replaces whole partitions: so `source_partition` is always the key's last column, and
rows are distinct within a partition. A primary key takes integers, BOOLEAN, VARCHAR, DATE and DATETIME, no
NULL, and 128 bytes a row; a unique key also DECIMAL and NULL. Both are distributed by columns of the key alone.

`model`, `keys`, `distributed_by`, `buckets` and `properties` are those of a table when it is made. A change
of model or keys makes another table of it (`migration-assets reset`); a change of the others does nothing to
one that is there.

Any property of StarRocks' goes, StarRocks refuses what it does not know. Refused here are `replication_num`
(a setting: `STARROCKS_REPLICATION_NUM`) and those by which StarRocks makes or drops partitions by itself:
`partition_live_number`, `partition_ttl`, `partition_ttl_number`, `partition_retention_condition` and
`dynamic_partition.*`.

None of this ran on a real StarRocks' data nodes yet: INSERT OVERWRITE into tables of model `primary` and
`unique` is tested with the stand-in alone.

## A table that somebody else makes

```yaml
tables:
  sales.Orders: {create: false, model: primary}
```

The StarRocks table, and only that, is then its owner's. Its columns with types and NULL, its model and key,
and PARTITION BY (source_partition) are compared before `migration-assets run` reads a row, and before each
load; buckets, distribution and properties are not. `migration-assets plan --report plan.md` shows the
statement that makes what is planned. The table must be empty (`on_existing: adopt` takes its rows over), and
the login must be allowed to set its comment, which is the mark by which it is known again; or the owner sets
it, as the message says. `reset` truncates the table, and `evolve` says which columns its owner has to alter.

## Owners, and rows that stay

```yaml
tables:
  "sales.*": {owners: [team:sales, ann@example.com]}
  sales.Ledger: {prevent_reset: true}
```

`owners` are those of the assets in Dagster. With `prevent_reset` neither `reset` nor anything else removes
rows that were migrated, and `on_existing: replace` is refused: take it out and run `migration-assets plan`
first.
"""

_KEYS = """\
*none* in the column of defaults means that nothing is set, or that no such thing is done. A name or pattern
that matches nothing is a warning of the plan.
"""


def main(arguments: list[str]) -> None:
    """Write page and schema."""
    path = Path(arguments[0]) if arguments else PAGE_PATH
    path.write_text(page(), encoding="utf-8")
    SCHEMA_PATH.write_text(schema_text(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
