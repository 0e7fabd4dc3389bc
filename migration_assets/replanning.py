"""A new plan that goes on from an old one: what still holds is taken over; pure.

Whatever changes a table's id makes its rows be migrated again, so a new plan changes only what the
source or the rules have changed:

- Key ranges stay, with the number of partitions, while the primary key, type and collation of what
  is cut and the rules about cutting are the same and the table has less than twice the rows that it
  had when it was cut. Rows beyond the last key lie in the last range, which is open above.
- Windows of time stay and may be followed by others, however many rows there are.
- Names and locations stay while the rules about them are the same.
- Columns keep name, field id and order. New ones come last, with field ids that no column had.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import count

from migration_assets.column_plan import ColumnPlan, TargetColumn
from migration_assets.errors import ConfigurationError
from migration_assets.evolution import (
    evolution,
    highest_field_id,
    is_wider,
    rearranged,
    source_of,
)
from migration_assets.frozen_model import content_hash
from migration_assets.masking import is_masked
from migration_assets.naming import comparable
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.range_planner import ABOUT_RANGES
from migration_assets.rules import Rules
from migration_assets.schema import SourceDatabase
from migration_assets.table_rules import TableRules
from migration_assets.windows import continued

_OF_RANGES = ("key_ranges", "cut_rows", "cut_by", "range_rows")
"""What a table keeps with its key ranges."""

_OF_TARGETS = ("namespace", "iceberg_table", "location", "starrocks_database", "starrocks_table")

_NOT_ABOUT_CUTTING = frozenset(
    {
        *("namespace", "iceberg_table", "location", "starrocks_database", "starrocks_table"),
        *("isolated", "verification", "on_existing", "engine", "buckets", "consistency"),
        *("model", "keys", "distributed_by", "properties", "create", "owners", "prevent_reset"),
        *(
            "block_writers",
            "include_columns",
            "exclude_columns",
            "columns",
            "fractions",
            "offsets",
            "long_values",
            "invalid_text",
        ),
    }
)
"""All other rules count as rules about cutting: one that is not known here cuts anew, which is
asked for, rather than be ignored."""


def stamped(
    made: MigrationPlan, database: SourceDatabase, rules: Rules, *, warehouse: str
) -> MigrationPlan:
    """Note in a plan what later plans compare with: the rules, the rows, the columns left out.

    Args:
        made: a plan as `planner.plan` makes it.
        database: what it was made from.
        rules: likewise.
        warehouse: likewise.
    """
    sources = {table.full_name: table for table in database.tables}
    tables = []
    for table in made.tables:
        planned = {column.source_name for column in table.columns}
        found = sources[table.full_name].columns.columns
        tables.append(
            table.replaced(
                left_out=tuple(column.name for column in found if column.name not in planned),
                cut_rows=table.rows,
                cut_rules=_cut_rules(rules.for_table(table.full_name)),
                target_rules=_target_rules(table, rules, warehouse),
            )
        )
    return _with_tables(made, tables)


def take_over(made: MigrationPlan, old: MigrationPlan, rules: Rules) -> MigrationPlan:
    """Put into a new plan what still holds of an old one.

    Args:
        made: a plan as `stamped` makes it.
        old: the plan in force.
        rules: the user's wishes that `made` follows.

    Returns:
        The plan; where nothing changed, its tables are those of the old one but for estimates.

    Raises:
        ConfigurationError: a new table wants the place of one that is in the old plan.
    """
    before = {source_of(table): table for table in old.tables}
    tables = [
        _continued(table, before[source_of(table)], rules.for_table(table.full_name))
        if source_of(table) in before
        else table
        for table in made.tables
    ]
    _refuse_shared_places(tables)
    return _with_tables(made, tables)


def same_but_estimates(one: MigrationPlan, other: MigrationPlan) -> bool:
    """Whether two plans differ in estimated sizes alone, which are others each time."""

    def without(plan: MigrationPlan) -> MigrationPlan:
        estimates = {"rows": 0, "bytes": None, "cut_rows": 0, "range_rows": ()}
        return _with_tables(plan, [table.replaced(**estimates) for table in plan.tables])

    return without(one) == without(other)


def _with_tables(plan: MigrationPlan, tables: Sequence[TablePlan]) -> MigrationPlan:
    values = {name: getattr(plan, name) for name in MigrationPlan.model_fields}
    return MigrationPlan(**values | {"tables": tuple(tables)})


def _cut_rules(wishes: TableRules) -> str:
    given = wishes.model_dump(mode="json", exclude=set(_NOT_ABOUT_CUTTING), exclude_defaults=True)
    return content_hash(given)


def _target_rules(table: TablePlan, rules: Rules, warehouse: str) -> str:
    wishes = rules.for_table(table.full_name)
    return content_hash(
        {
            "warehouse": warehouse,
            "prefix": rules.namespace_prefix,
            **({"suffix": rules.namespace_suffix} if rules.namespace_suffix else {}),
            "schema": rules.for_schema(table.source_schema).model_dump(mode="json"),
            "table": wishes.model_dump(mode="json", include=set(_OF_TARGETS)),
        }
    )


def _continued(made: TablePlan, old: TablePlan, wishes: TableRules) -> TablePlan:
    """One table's new plan, going on from its old one."""
    kept: dict[str, object] = {}
    if made.target_rules and made.target_rules == old.target_rules:
        kept |= {name: getattr(old, name) for name in _OF_TARGETS}
    keeps_windows = made.window is not None and made.window == old.window
    if keeps_windows:
        kept["key_ranges"] = continued(made, old)
    elif _keeps_ranges(made, old) and not _tells_masked(old, wishes):
        kept |= {name: getattr(old, name) for name in _OF_RANGES}
        kept["warnings"] = _warnings(made, old)
    if "key_ranges" in kept:
        # Both follow from sizes that change all the time; partition keys follow from `isolated`.
        kept |= {n: getattr(old, n) for n in ("isolated", "buckets") if getattr(wishes, n) is None}
    columns, audit, last = _columns(made, old)
    names = {_identity(column): column.name for column in columns}
    renamed = {column.name: names[_identity(column)] for column in made.columns}
    merged = made.replaced(
        **kept,
        columns=columns,
        audit_columns=audit,
        last_field_id=last,
        sort_key=tuple(renamed.get(name, name) for name in made.sort_key),
        distributed_by=tuple(renamed.get(name, name) for name in made.distributed_by),
    )
    if merged.table_id == old.table_id:
        evolutions = old.evolutions
    else:
        step = evolution(old, merged)
        evolutions = () if step is None else (*old.evolutions, step)
    came = dict.fromkeys(name for step in evolutions for name in step.added)
    warnings = list(merged.warnings)
    if came:
        warnings.append(
            f"{', '.join(came)} came later: partitions extracted before have NULL there."
        )
    return merged.replaced(evolutions=evolutions, warnings=tuple(warnings))


def _keeps_ranges(made: TablePlan, old: TablePlan) -> bool:
    if not made.cut_rules or made.cut_rules != old.cut_rules or made.query != old.query:
        return False
    if made.primary_key != old.primary_key or made.rows >= 2 * max(old.cut_rows or old.rows, 1):
        return False
    if rearranged(old, made):
        return False
    was, now = old.by_source, made.by_source
    of_many = any(key_range.more_columns for key_range in old.key_ranges)
    cut = {name for key_range in old.key_ranges for name in key_range.key_columns}
    for name in cut | set(old.primary_key):
        if (name in was) != (name in now):
            return False
        if name in was and not is_wider(was[name].mssql_type, now[name].mssql_type):
            return False
        # A row with NULL would be in no range: see `partitioning.py`.
        if of_many and name in cut and name in now and now[name].nullable:
            return False
    return True


def _tells_masked(old: TablePlan, wishes: TableRules) -> bool:
    """Whether the bounds of ranges are values of a column that is masked from now on."""
    cut = {name for key_range in old.key_ranges for name in key_range.key_columns}
    return any(is_masked(wishes.column(name).mask) for name in cut)


def _warnings(made: TablePlan, old: TablePlan) -> tuple[str, ...]:
    """What a new plan says, but of the ranges that stay what was said when they were cut."""
    of_made, of_old = (
        [bool(ABOUT_RANGES.match(warning)) for warning in table.warnings] for table in (made, old)
    )
    place = next((flags.index(True) for flags in (of_made, of_old) if True in flags), 0)
    before = [w for w in made.warnings[:place] if not ABOUT_RANGES.match(w)]
    after = [w for w in made.warnings[place:] if not ABOUT_RANGES.match(w)]
    return (*before, *(w for w in old.warnings if ABOUT_RANGES.match(w)), *after)


def _identity(column: ColumnPlan) -> tuple[str, str]:
    # Of two columns beside the same source column, each has an expression of its own.
    return column.source_name, column.select_expression if column.added else ""


def _is_renamed(was: ColumnPlan, now: ColumnPlan, ruled: Collection[str]) -> bool:
    """Whether a rule names a column, did so, or gives its old name to another one."""
    return now.named or was.named or comparable(was.name) in ruled


def _columns(
    made: TablePlan, old: TablePlan
) -> tuple[tuple[ColumnPlan, ...], tuple[TargetColumn, ...], int]:
    """Columns, audit columns and `last_field_id`."""
    before = {_identity(column): column for column in old.columns}
    fresh_ids = count(highest_field_id(old) + 1)
    kept, new = {}, []
    ruled = {comparable(column.name) for column in made.columns if column.named}
    for column in made.columns:
        was = before.get(_identity(column))
        if was is not None and is_wider(was.iceberg_type, column.iceberg_type):
            # A column that takes NULL no more may go on to do so: old rows may have some.
            update = {
                "name": column.name if _is_renamed(was, column, ruled) else was.name,
                "field_id": was.field_id,
                "nullable": column.nullable or was.nullable,
                "affected": was.affected,  # counted again only where that is asked for
            }
            kept[was.field_id] = column.model_copy(update=update)
        else:
            new.append(column.model_copy(update={"field_id": next(fresh_ids)}))
    columns = [kept[c.field_id] for c in old.columns if c.field_id in kept]
    audit = {column.name: column for column in old.audit_columns}
    audit_columns = tuple(
        column.model_copy(
            update={
                "field_id": audit[column.name].field_id if column.name in audit else next(fresh_ids)
            }
        )
        for column in made.audit_columns
    )
    taken = {column.name.casefold() for column in (*columns, *audit_columns)}
    for column in new:
        name = column.name
        for number in count(2):
            if name.casefold() not in taken:
                break
            name = f"{column.name}_{number}"
        taken.add(name.casefold())
        columns.append(column.model_copy(update={"name": name}))
    highest = max(column.field_id for column in (*columns, *audit_columns))
    ever = max(highest, highest_field_id(old))
    return tuple(columns), audit_columns, ever if ever > highest else 0


def _refuse_shared_places(tables: Sequence[TablePlan]) -> None:
    """Refuse that a new table gets the place of one that keeps it.

    Raises:
        ConfigurationError: names both.
    """
    places: dict[tuple[str, str], str] = {}
    for table in tables:
        for place in (
            ("Iceberg table", f"{table.namespace}.{table.iceberg_table}"),
            ("StarRocks table", f"{table.starrocks_database}.{table.starrocks_table}"),
            ("location", table.location),
        ):
            other = places.setdefault(place, table.full_name)
            if other != table.full_name:
                raise ConfigurationError(
                    f"{other} and {table.full_name} want the same {place[0]}, {place[1]}: one of "
                    "them has it in the old plan.",
                    code="MA-CF-022",
                    next_step="Give the new one a name of its own in migration.yaml, or plan with "
                    "--fresh, which moves the old one.",
                )
