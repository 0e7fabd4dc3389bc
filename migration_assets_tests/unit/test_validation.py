"""The comparison of three systems where each measures in units of its own."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from migration_assets.arrow_fingerprint import ArrowFingerprint
from migration_assets.assets.receipt_store import ReceiptStore
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.assets.validation import TableValidation, _extracted, in_own_units
from migration_assets.choices import VerificationLevel
from migration_assets.iceberg.lake import Lake
from migration_assets.key_range import KeyRange, Period, Window
from migration_assets.receipts import CommitReceipt, Fingerprint
from migration_assets.setting_choices import CatalogType
from migration_assets.settings import LakeSettings
from migration_assets_tests.unit.tables import INT, nvarchar, table_plan

TABLE = table_plan([("id", INT), ("name", nvarchar(20))], key=["id"])
TRANSLATOR = MigrationTranslator()


def measured(*names: str | None) -> Fingerprint:
    """Both units of the lengths of texts beside the keys 1, 2, …"""
    whole = ArrowFingerprint(TABLE, VerificationLevel.FULL)
    numbers = pa.array(range(1, len(names) + 1), pa.int32())
    columns = {"id": numbers, "name": pa.array(names, pa.large_string())}
    whole.update(pa.RecordBatch.from_pydict(columns))
    return whole.result()


def side(whole: Fingerprint, missing: str) -> Fingerprint:
    """What a server measures that does not know one of the units."""
    values = {name: value for name, value in whole.values.items() if missing not in name}
    return Fingerprint(rows=whole.rows, values=values)


def in_mssql(*names: str | None) -> Fingerprint:
    return side(measured(*names), "bytes")


def in_starrocks(*names: str | None) -> Fingerprint:
    return side(measured(*names), "utf16")


NAMES = ("Zoë", "東京", "🚀", None)


def test_equal_texts_are_equal_in_their_units() -> None:
    assert in_mssql(*NAMES).values["name.utf16"] == 3 + 2 + 2
    assert in_starrocks(*NAMES).values["name.bytes"] == 4 + 6 + 4
    assert in_own_units(in_mssql(*NAMES), measured(*NAMES), in_starrocks(*NAMES)) == []


@pytest.mark.parametrize(
    ("loaded", "what"),
    [
        (("Zo?", "東京", "🚀", None), {"name.bytes", "name.bytes_swap"}),  # an encoding lost
        (("Zoë ", "東京", "🚀", None), {"name.bytes", "name.bytes_swap"}),
        (("🚀", "東京", "Zoë", None), set()),  # both of 4 bytes: what level full cannot find
        (("東京", "Zoë", "🚀", None), {"name.bytes_swap"}),
    ],
)
def test_a_length_that_changed_in_starrocks_is_found(
    loaded: tuple[str | None, ...], what: set[str]
) -> None:
    assert in_mssql(*NAMES).differences(in_starrocks(*loaded)) == []  # no unit in common
    found = in_own_units(in_mssql(*NAMES), measured(*NAMES), in_starrocks(*loaded))
    assert {one.what for one in found} == what


def test_a_length_that_changed_in_the_source_since_is_found() -> None:
    found = in_own_units(in_mssql("Zoë!", *NAMES[1:]), measured(*NAMES), in_starrocks(*NAMES))
    assert next((one.what, one.expected, one.found) for one in found) == ("name.utf16", 8, 7)


# --- where the extraction's own measures come from


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    settings = LakeSettings.load(
        bucket=None, catalog_type=CatalogType.SQL, warehouse_path=str(tmp_path)
    )
    with Lake(settings) as opened:
        yield opened


def committed(**changes: object) -> CommitReceipt:
    given = {
        "table_id": TABLE.table_id, "partition_key": "p000", "source_partition": 0, "attempt": "a",
        "run_id": "r", "rows": 4, "seconds": 1.0, "snapshot_id": 1, "files": (),
        "fingerprint": measured(*NAMES),
    }  # fmt: skip
    return CommitReceipt.model_validate({**given, **changes})


def save(lake: Lake, receipt: CommitReceipt) -> None:
    path = TRANSLATOR.asset_key(Stage.ICEBERG, TABLE).path
    ReceiptStore(lake, TABLE.source_database).save(path, receipt)


def test_the_commit_s_receipt_holds_both_units(lake: Lake) -> None:
    save(lake, committed())
    assert _extracted(lake, TABLE, "p000", TRANSLATOR) == measured(*NAMES)


@pytest.mark.parametrize(
    "receipt",
    [None, committed(table_id="other"), committed(fingerprint=Fingerprint(rows=4))],
    ids=["gone", "of another plan", "only counted"],
)
def test_without_them_lengths_are_not_compared_and_it_is_said(
    lake: Lake, receipt: CommitReceipt | None
) -> None:
    if receipt is not None:
        save(lake, receipt)
    assert _extracted(lake, TABLE, "p000", TRANSLATOR) is None
    assert TableValidation(TABLE, {}).note == ""
    assert TableValidation(TABLE, {}, unmeasured=["p000"]).note == (
        "Text lengths of p000 were not compared with StarRocks: no receipt of level full tells "
        "both of their units."
    )


def test_a_receipt_of_a_window_s_earlier_end_says_nothing_of_the_source(lake: Lake) -> None:
    """Or a window that got an end since would look as if rows had left the source."""
    ranges = (KeyRange(source_partition=0, column="At", upper="'2024-01-01'"),
              KeyRange(source_partition=202401, column="At", lower="'2024-01-01'"))  # fmt: skip
    window = Window(column="At", by=Period.MONTH, first=date(2024, 1, 1))
    table = TABLE.replaced(window=window, key_ranges=ranges)
    key = table.partition_keys[0]
    of_table = {"table_id": table.table_id, "partition_key": key}
    for range_id, expected in ((table.range_id(key), measured(*NAMES)), ("other", None)):
        save(lake, committed(**of_table, range_id=range_id))
        assert _extracted(lake, table, key, TRANSLATOR) == expected
