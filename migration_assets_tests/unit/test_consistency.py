"""Wishes about points in time: what the plan takes, what it refuses, what it says."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from migration_assets.assets.build import point_tag
from migration_assets.assets.mssql import consistency_metadata
from migration_assets.assets.translator import Stage
from migration_assets.assets.validation import TableValidation
from migration_assets.choices import Consistency
from migration_assets.consistency import consistency_notes, database_snapshot
from migration_assets.definitions import build_resources
from migration_assets.errors import ConfigurationError
from migration_assets.iceberg.commit import _point_properties
from migration_assets.mssql.database_snapshot import reading_settings
from migration_assets.mssql.point_in_time import Standpoint
from migration_assets.plan import DatabaseSnapshot, MigrationPlan
from migration_assets.receipts import Difference, ExtractReceipt, Fingerprint, PointInTime
from migration_assets.rules import Rules
from migration_assets.rules_file import load_rules
from migration_assets.schema import SourceDatabase
from migration_assets.settings import MssqlSettings
from migration_assets_tests.unit.iceberg_tables import EXTRACTED_AT, planned_table

IN_SNAPSHOT = PointInTime(
    database_snapshot="shop_migration",
    created=datetime(2026, 1, 2, 3, 4, 5),
    change_tracking_version=7,
    lsn="0x0000002A000001B80004",
)


BARE = {
    "table_id": "t", "partition_key": "p000", "source_partition": 0, "attempt": "a", "run_id": "r",
    "rows": 0, "seconds": 1.0, "files": (), "fingerprint": Fingerprint(rows=0),
    "source_fingerprint": None, "consistency": "read committed", "extracted_at": EXTRACTED_AT,
}  # fmt: skip


def source(name: str = "shop") -> SourceDatabase:
    return SourceDatabase(
        server="s",
        database=name,
        version="16",
        collation="Latin1_General_CI_AS",
        snapshot_isolation=True,
        read_committed_snapshot=False,
        tables=(),
    )


def rules(**given: str) -> Rules:
    return Rules.model_validate({"consistency": "database_snapshot", **given})


def test_statement_is_the_default_and_reads_from_the_database() -> None:
    assert Rules().consistency is Consistency.STATEMENT
    assert database_snapshot(source(), Rules()) is None


def test_the_name_is_that_of_the_database_in_every_plan() -> None:
    found = database_snapshot(source(), rules())
    assert found == DatabaseSnapshot(name=f"{source().database}_migration")


def test_a_long_name_of_a_database_leaves_room_for_the_suffix() -> None:
    found = database_snapshot(source("d" * 128), rules())
    assert found is not None
    assert len(found.name) == 128


def test_one_that_exists_is_named_and_not_ours() -> None:
    found = database_snapshot(source(), rules(database_snapshot="friday"))
    assert found == DatabaseSnapshot(name="friday", ours=False)


@pytest.mark.parametrize(
    ("given", "needle"),
    [
        ({"consistency": "none", "database_snapshot": "friday"}, "has no effect with consistency"),
        (
            {"consistency": "statement", "database_snapshot_folder": "/x"},
            "database_snapshot_folder",
        ),
        ({"database_snapshot": "friday", "database_snapshot_folder": "/x"}, "has no effect with"),
        ({"database_snapshot": source().database.upper()}, "names the database"),
    ],
)
def test_what_would_have_no_effect_is_refused(given: dict[str, str], needle: str) -> None:
    with pytest.raises(ConfigurationError, match=needle):
        database_snapshot(source(), rules(**given))


def test_an_unknown_word_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    path = tmp_path / "migration.yaml"
    path.write_text("consistency: snapshot\n")
    with pytest.raises(ConfigurationError, match="'none', 'statement' or 'database_snapshot'"):
        load_rules(path)


def test_the_notes_say_how_far_a_point_in_time_reaches() -> None:
    (note,) = consistency_notes(source(), rules())
    assert "one point in time" in note
    for given in ("none", "statement"):
        (note,) = consistency_notes(source(), rules(consistency=given))
        assert "as of its own time" in note


def test_every_connection_of_an_extraction_is_with_the_snapshot() -> None:
    plan = MigrationPlan(
        server="s",
        database="shop",
        tables=(),
        consistency=Consistency.DATABASE_SNAPSHOT,
        database_snapshot=DatabaseSnapshot(name="friday", ours=False),
    )
    assert MigrationPlan.from_json(plan.to_json(), origin="x") == plan
    resource = build_resources(plan)["mssql"]
    assert getattr(resource, "database_snapshot", None) == "friday"
    settings = MssqlSettings(
        _env_file=None, host="h", user="u", password="p", database="shop"
    )  # fmt: skip
    assert reading_settings(settings, plan).database == "friday"
    plain = plan.model_copy(update={"consistency": Consistency.NONE, "database_snapshot": None})
    assert reading_settings(settings, plain).database == "shop"


def test_the_consistency_is_no_part_of_table_ids() -> None:
    """They are made of the table alone; plans that differ in it keep what is materialized."""
    table = planned_table("s3://lake")
    plans = [
        MigrationPlan(server="s", database="shop", tables=(table,), consistency=consistency)
        for consistency in Consistency
    ]
    assert len({plan.tables[0].table_id for plan in plans}) == 1
    assert len({plan.plan_id for plan in plans}) == 3


def test_the_words_of_receipts() -> None:
    assert Standpoint(snapshot=True).consistency("snapshot") == "snapshot"
    assert Standpoint(snapshot=True).consistency("read committed") == "read committed"
    versioned = Standpoint(snapshot=False, read_committed_snapshot=True)
    assert versioned.consistency("read committed") == "read committed snapshot"
    within = Standpoint(snapshot=False, point=IN_SNAPSHOT)
    assert within.consistency("read committed") == "database snapshot"


def test_metadata_and_properties_say_which_state_was_read() -> None:
    moved = (Difference(what="rows by the catalog", expected=3, found=4),)
    receipt = ExtractReceipt.model_validate(
        {**BARE, "consistency": "database snapshot", "point_in_time": IN_SNAPSHOT, "moved": moved}
    )
    assert consistency_metadata(receipt) == {
        "read consistency": "database snapshot",
        "database snapshot": "shop_migration",
        "database snapshot created": "2026-01-02T03:04:05",
        "change tracking version": "7",
        "lsn": "0x0000002A000001B80004",
        "source moved": "rows by the catalog went from 3 to 4",
    }
    other = receipt.model_copy(
        update={"consistency": "snapshot", "point_in_time": PointInTime(change_tracking_version=9)}
    )
    assert _point_properties([receipt, other]) == {
        "migration.source.consistency": "database snapshot snapshot",
        "migration.source.database-snapshot": "shop_migration",
        "migration.source.database-snapshot-created": "2026-01-02T03:04:05",
        "migration.source.change-tracking-version": "7 9",
        "migration.source.lsn": "0x0000002A000001B80004",
    }


def test_the_tag_tells_one_database_snapshot_from_the_next_of_its_name() -> None:
    later = IN_SNAPSHOT.model_copy(update={"created": datetime(2026, 1, 3)})
    assert len({point_tag(IN_SNAPSHOT), point_tag(later), point_tag(None)}) == 3
    assert point_tag(PointInTime(change_tracking_version=3)) == "none"


def test_a_validation_that_differs_because_the_source_moved_says_so() -> None:
    table = planned_table("s3://lake")
    found = Difference(what="rows", expected=401, found=400)
    since = Difference(what="rows", expected=400, found=401)
    validation = TableValidation(
        table,
        {Stage.MSSQL: 401, Stage.STARROCKS: 400},
        {"p000": [found]},
        moved={"p000": [since]},
    )
    assert not validation.valid
    assert validation.describe() == (
        "p000 rows: expected 401, found 400; the source moved after it was extracted "
        "(p000: rows went from 400 to 401): StarRocks has what was extracted"
    )
