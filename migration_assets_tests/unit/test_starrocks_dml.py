"""The load statement and the queries over the loaded table."""

from __future__ import annotations

import re

import pytest

from migration_assets.errors import PlanError, UnsupportedError
from migration_assets.schema import MssqlType
from migration_assets.starrocks import dml
from migration_assets_tests.unit.tables import INT, nvarchar, table_plan

SNAPSHOT = 3051729675574597004
TABLE = table_plan(
    [("note", nvarchar(10)), ("id", INT), ("raw", MssqlType("varbinary", 4))], key=["id"]
)


def insert(**changed):
    arguments = {
        "catalog": "lake",
        "source_partition": 7,
        "snapshot_id": SNAPSHOT,
        "label": "lab",
        **changed,
    }
    return dml.insert_overwrite_sql(TABLE, **arguments)


def test_insert_overwrite():
    assert insert() == (
        "INSERT OVERWRITE `dbo`.`t` PARTITION(source_partition=7) WITH LABEL `lab` "
        "(`id`, `note`, `raw`, `migrated_at`, `source_schema`, `source_partition`) "
        "SELECT CAST(`id` AS INT), CAST(`note` AS VARCHAR(30)), `raw`, "
        "CAST(`migrated_at` AS DATETIME), CAST(`source_schema` AS VARCHAR(384)), "
        "CAST(`source_partition` AS INT) "
        f"FROM `lake`.`dbo`.`t` FOR VERSION AS OF {SNAPSHOT} "
        "WHERE `source_partition` = 7"
    )


def test_what_the_grammar_cannot_say_is_refused():
    with pytest.raises(PlanError, match="source_partition -1 is negative"):
        insert(source_partition=-1)
    with pytest.raises(UnsupportedError, match=r"dbo\.t: .* snapshot 2147483647"):
        insert(snapshot_id=2**31 - 1)
    with pytest.raises(UnsupportedError, match="catalog name"):
        insert(catalog="my catalog")


def test_labels_are_unique_legal_and_recognizable():
    labels = [dml.load_label(TABLE, 7, "run/ä" * 30) for _ in range(2)]
    assert labels[0] != labels[1]
    for label in labels:
        assert re.fullmatch(r"[-\w]{1,128}", label, re.ASCII)
        assert label.startswith(dml.label_prefix(TABLE, 7))
        # 7 is not taken for 70 or 77.
        assert not label.startswith(dml.label_prefix(TABLE, 70))
        assert dml.label_prefix(TABLE, 77) not in label


def test_queries_over_the_loaded_table():
    assert dml.refresh_sql(TABLE, "lake") == "REFRESH EXTERNAL TABLE `lake`.`dbo`.`t`"
    assert (
        dml.measure_sql(TABLE, 3, ["COUNT(*)", "COUNT(`id`)"])
        == "SELECT COUNT(*), COUNT(`id`) FROM `dbo`.`t` WHERE `source_partition` = 3"
    )
    assert (
        dml.partition_rows_sql(TABLE)
        == "SELECT `source_partition`, COUNT(*) FROM `dbo`.`t` GROUP BY `source_partition`"
    )
