"""StarRocks' model, key and distribution: what is made, and what is refused with its reason."""

from __future__ import annotations

from typing import Any

import pytest

from migration_assets.choices import StarRocksModel
from migration_assets.errors import ConfigurationError, PlanError, UnsupportedError
from migration_assets.evolution import obstacles
from migration_assets.inventory_page.table_design import table_design
from migration_assets.plan import MigrationPlan, TablePlan
from migration_assets.plan_changes import Remedy, compare_plans
from migration_assets.schema import Column, MssqlType, SourceIndex, TableKind
from migration_assets.starrocks.ddl import create_table_sql
from migration_assets_tests.unit.source_tables import ID, INT, TEXT, only, planned, source

NUMBER = Column("No", MssqlType("decimal", 9, 12, 2), nullable=False)
CODE = Column("Code", TEXT, nullable=False)
NOTE = Column("Note", TEXT, nullable=True)
FRACTION = Column("At", MssqlType("datetime2", 8, 27, 7), nullable=False)
FLOAT = Column("Share", MssqlType("float", 8, 53), nullable=False)
BINARY = Column("Bytes", MssqlType("varbinary", 16), nullable=False)


def made(*columns: Column, key: tuple[str, ...] = ("id",), **wishes: Any) -> TablePlan:
    indexes = wishes.pop("indexes", ())
    table = source("orders", *columns, key=key, indexes=indexes, rows=wishes.pop("rows", 10))
    return only(table, rules={"tables": {"dbo.orders": wishes}})


def test_a_primary_key_table_has_the_whole_key_and_the_partition_last() -> None:
    table = made(NOTE, CODE, ID, NUMBER, key=("Code", "id"), model="primary")
    assert table.model is StarRocksModel.PRIMARY
    assert table.sort_key == ("code", "id", "source_partition")
    sql = create_table_sql(table, 1)
    assert sql.index("`code`") < sql.index("`id`") < sql.index("`source_partition` INT NOT NULL")
    assert sql.index("`source_partition` INT NOT NULL") < sql.index("`note`")
    assert "PRIMARY KEY (`code`, `id`, `source_partition`)" in sql
    assert "DISTRIBUTED BY HASH(`code`, `id`) BUCKETS 1" in sql
    assert any("128 bytes" in warning and "158" in warning for warning in table.warnings)


def test_keys_distribution_and_properties_as_asked_for() -> None:
    table = made(
        ID, CODE, NUMBER, keys=["CODE", "no"], distributed_by=["Id"], buckets=4,
        properties={"compression": "ZSTD", "bloom_filter_columns": "id,code"},
    )  # fmt: skip
    assert create_table_sql(table, 2).splitlines()[-4:] == [
        "COMMENT 'migration_assets table_id=" + table.table_id + " source=[SQL1].[shop].[dbo].[orders]'",
        "PARTITION BY (`source_partition`)",
        "DISTRIBUTED BY HASH(`id`) BUCKETS 4",
        'PROPERTIES ("replication_num" = "2", "bloom_filter_columns" = "id,code", '
        '"compression" = "ZSTD")',
    ]  # fmt: skip
    assert table.sort_key == ("code", "no")


def test_a_unique_index_is_as_good_as_a_primary_key() -> None:
    index = SourceIndex(2, ("No",), unique=True)
    table = made(ID, NUMBER, NOTE, key=(), indexes=(index,), model="unique", keys=["No"])
    assert table.sort_key == ("no", "source_partition")
    more = made(ID, NUMBER, NOTE, key=("id",), model="unique", keys=["Note", "id"])
    assert more.sort_key == ("note", "id", "source_partition")  # NULL is a value of a unique key


@pytest.mark.parametrize(
    ("columns", "wishes", "reason"),
    [
        ((ID,), {"key": (), "model": "primary"}, "it has no primary key, and no `keys` are named"),
        (
            (ID, CODE),
            {"model": "unique", "keys": "Code"},
            "nothing keeps its rows distinct by Code",
        ),
        (
            (ID, CODE),
            {
                "model": "primary",
                "keys": "Code",
                "indexes": (SourceIndex(1, ("Code",), unique=False),),
            },
            "nothing keeps its rows distinct by Code",
        ),
        ((ID, NOTE), {"model": "primary", "keys": ["id", "Note"]}, "its column Note takes NULL"),
        ((NUMBER,), {"key": ("No",), "model": "primary"}, "no primary key of type DECIMAL"),
        ((FLOAT,), {"key": ("Share",), "model": "unique"}, "no key of type DOUBLE"),
        ((BINARY,), {"key": ("Bytes",), "model": "unique"}, "no key of type VARBINARY"),
        ((FRACTION,), {"key": ("At",), "model": "unique"}, "may become equal .the seventh digit"),
        (
            (FRACTION,),
            {"key": ("At",), "model": "unique", "fractions": "column"},
            "may become equal",
        ),
        (
            (CODE,),
            {"key": ("Code",), "model": "primary", "invalid_text": "replace"},
            "may become equal",
        ),
        ((ID, NOTE), {"keys": ["Nope"]}, "Nope is not a column of it"),
        ((ID, NOTE), {"keys": "Note", "exclude_columns": "note"}, "Note is not a column of it"),
        ((ID, NOTE), {"keys": ["id", "ID"]}, "names column id twice"),
        ((ID, FLOAT), {"keys": ["Share"]}, "no key of type DOUBLE"),
        ((ID, FLOAT), {"distributed_by": ["Share"]}, "cannot distribute by type DOUBLE"),
        (
            (ID, NOTE),
            {"model": "primary", "distributed_by": ["Note"]},
            "distributed by columns of its key alone",
        ),
        (
            (ID,),
            {"create": False, "on_existing": "replace"},
            "create: false and on_existing: replace",
        ),
        ((ID,), {"prevent_reset": True, "on_existing": "replace"}, "prevent_reset: true and"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(
    columns: tuple[Column, ...], wishes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        made(*columns, **wishes)
    assert "dbo.orders" in caught.value.found
    assert caught.value.next_step


def test_text_keeps_a_key_that_would_become_equal() -> None:
    table = made(FRACTION, key=("At",), model="primary", fractions="text")
    assert table.sort_key == ("at", "source_partition")


def test_rows_of_views_are_not_merged() -> None:
    view = source("v", kind=TableKind.VIEW, is_taken_in=True)
    with pytest.raises(ConfigurationError, match="nothing keeps the rows of a view distinct"):
        planned(view, rules={"views": ["dbo.v"], "tables": {"dbo.v": {"model": "unique"}}})


def test_only_model_and_keys_make_it_another_table() -> None:
    plain = made(ID, CODE)
    for same in (
        made(ID, CODE, model="duplicate"),
        made(ID, CODE, properties={"compression": "ZSTD"}, distributed_by="Code", buckets=3),
        made(ID, CODE, owners="team:a", prevent_reset=True, create=False),
    ):
        assert same.table_id == plain.table_id
    primary = made(ID, CODE, model="primary")
    assert primary.table_id != plain.table_id
    # Of equal sort keys too: what a table does with rows of one key is what makes it another one.
    unique = made(ID, CODE, model="unique")
    assert unique.sort_key == primary.sort_key
    assert unique.table_id != primary.table_id
    assert "the StarRocks model changes" in obstacles(primary, unique)


def test_a_changed_target_is_shown_and_says_what_it_needs() -> None:
    def changes(**wishes: Any) -> tuple[Remedy, dict[str, tuple[str, str]]]:
        new = planned(source("orders", ID, CODE), rules={"tables": {"dbo.orders": wishes}})
        old = planned(source("orders", ID, CODE))
        (change,) = compare_plans(old, new).tables
        return change.remedy, {c.name: (c.old, c.new) for c in change.changes}

    remedy, shown = changes(model="primary")
    assert (remedy, shown["model"]) == (Remedy.RESET, ("duplicate", "primary"))
    remedy, shown = changes(
        properties={"compression": "ZSTD"}, distributed_by="Code", owners="team:a",
        prevent_reset=True, create=False,
    )  # fmt: skip
    assert remedy is Remedy.NONE
    assert shown["properties"] == ("", "compression = ZSTD")
    assert shown["distributed by"] == ("", "code")
    assert shown["owners"] == ("", "team:a")
    assert shown["prevent reset"] == ("False", "True")
    assert shown["create"] == ("True", "False")


def test_a_plan_keeps_what_is_asked_for_and_older_plans_their_id() -> None:
    wishes = {
        "model": "unique", "properties": {"compression": "ZSTD"}, "create": False,
        "owners": ["team:a"], "prevent_reset": True, "distributed_by": "id",
    }  # fmt: skip
    rules = {"tables": {"dbo.orders": wishes}}
    plan = planned(source("orders", ID, CODE), rules=rules)
    assert MigrationPlan.from_json(plan.to_json(), origin="x") == plan
    plain = planned(source("orders", ID, CODE)).model_dump(mode="json")["tables"][0]
    assert not plain.keys() & {*wishes}


def test_rules_of_its_owner_that_have_no_effect_are_told() -> None:
    table = made(ID, create=False, buckets=3, properties={"compression": "ZSTD"})
    assert (
        "buckets, properties have no effect: create: false leaves that to the table's owner."
        in table.warnings
    )
    assert not made(ID, create=False).warnings


def test_a_plan_whose_key_lacks_the_partition_makes_no_table() -> None:
    table = made(ID, CODE, model="primary")
    with pytest.raises(PlanError, match="must have source_partition"):
        create_table_sql(table.replaced(sort_key=("id",)), 1)
    nullable = table.columns[0].model_copy(update={"nullable": True})
    with pytest.raises(UnsupportedError, match="takes NULL"):
        create_table_sql(table.replaced(columns=(nullable, *table.columns[1:])), 1)


def test_the_page_explains_what_was_asked_for() -> None:
    design = table_design(made(ID, CODE, model="primary", distributed_by="id", create=False), 1)
    assert design.summary.startswith("PRIMARY KEY (id, source_partition), 1 partition")
    reasons = dict(design.reasons)
    assert "one row for each key" in reasons["Model"]
    assert "Its owner makes the table" in reasons["Model"]
    assert "the primary key of the source" in reasons["Sort key"]
    assert "rows are spread by id" in reasons["Buckets"]
    keys = dict(table_design(made(ID, CODE, keys=["Code"]), 1).reasons)
    assert keys["Sort key"] == "code: the keys that migration.yaml names."


def test_integers_of_any_width_are_short_keys() -> None:
    table = made(ID, Column("b", MssqlType("bigint", 8, 19), nullable=False), model="primary")
    assert not [w for w in table.warnings if "128 bytes" in w]
    assert INT.name == "int"
