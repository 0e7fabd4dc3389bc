"""Level `rows` around the comparison itself: the check, the run's config, the data files."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from migration_assets.assets.build import VerificationConfig
from migration_assets.assets.checks import (
    FINGERPRINT,
    ROW_COUNT,
    ROWS,
    check_specs,
    conclude,
    rows_verdict,
)
from migration_assets.assets.rows import _cut
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.choices import VerificationLevel
from migration_assets.errors import ReceiptError
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.rows import read_files
from migration_assets.plan import TablePlan
from migration_assets.row_comparison import RowComparison, RowDifference
from migration_assets.setting_choices import CatalogType
from migration_assets.settings import LakeSettings
from migration_assets.type_mapping import LONGEST_KEPT, MAX_STARROCKS_BYTES, arrow_schema
from migration_assets_tests.unit.tables import INT, nvarchar, table_plan

FULL, LEVEL_ROWS = VerificationLevel.FULL, VerificationLevel.ROWS
PLAIN = table_plan([("id", INT), ("Größe in cm", nvarchar(20))], key=["id"])
BY_ROWS = PLAIN.model_copy(update={"verification": LEVEL_ROWS})
DIFFERENT = RowComparison(5, 5, 1, (RowDifference("id 3", "name", "'a'", "'b'"),))


def specs(stage: Stage, table: TablePlan) -> list[dg.AssetCheckSpec]:
    spec = MigrationTranslator().asset_spec(stage, table)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # as in `build_definitions`
        return check_specs(spec, stage, table)


def test_the_level_adds_a_blocking_check_to_starrocks_alone() -> None:
    names = {
        stage: [spec.name for spec in specs(stage, BY_ROWS)]
        for stage in (Stage.MSSQL, Stage.ICEBERG, Stage.STARROCKS)
    }
    assert names == {
        Stage.MSSQL: [ROW_COUNT, FINGERPRINT],
        Stage.ICEBERG: [ROW_COUNT],
        Stage.STARROCKS: [ROW_COUNT, FINGERPRINT, ROWS],
    }
    assert all(spec.blocking for spec in specs(Stage.STARROCKS, BY_ROWS))


def test_equal_rows_are_counted_and_different_ones_named() -> None:
    equal = rows_verdict(RowComparison(5, 5))
    assert (equal.failed, equal.describe()) == (False, "Equal: iceberg 5, starrocks 5.")
    different = rows_verdict(DIFFERENT)
    assert different.failed
    assert "id 3: name is 'b', expected 'a'" in different.describe()
    assert not different.as_result(dg.AssetKey("t")).passed


def test_rows_that_differ_fail_the_step_also_where_only_the_run_asked_for_them() -> None:
    steps = conclude(
        Stage.STARROCKS,
        PLAIN,
        "p000",
        specs=specs(Stage.STARROCKS, PLAIN),
        verdicts=[rows_verdict(DIFFERENT)],
        result=dg.MaterializeResult(),
    )
    with pytest.raises(dg.Failure, match="rows: at least 1 row differs: id 3"):
        list(steps)


@pytest.mark.parametrize(
    ("config", "table", "level", "by_row"),
    [
        ("", PLAIN, FULL, False),
        ("", BY_ROWS, FULL, True),
        ("rows", PLAIN, FULL, True),
        ("count", BY_ROWS, VerificationLevel.COUNT, False),
        ("none", BY_ROWS, VerificationLevel.NONE, False),
    ],
)
def test_a_run_s_config_goes_before_the_plan(
    config: str,
    table: TablePlan,
    level: VerificationLevel,
    by_row: bool,
) -> None:
    chosen = VerificationConfig(verification=config)
    assert (chosen.level(table), chosen.compares_rows(table)) == (level, by_row)


# --- the data files


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    settings = LakeSettings.load(
        bucket=None, catalog_type=CatalogType.SQL, warehouse_path=str(tmp_path)
    )
    with Lake(settings) as opened:
        yield opened


def written(folder: Path, names: list[str]) -> str:
    """A data file as Java would write it: other names, other order, ids of the plan."""
    schema = arrow_schema(PLAIN)
    fields = [schema.field(1).with_name(names[1]), schema.field(0).with_name(names[0])]
    texts = pa.array(["a", None], pa.string())
    rows = pa.table([texts.cast(fields[0].type), pa.array([1, 2], pa.int32())], pa.schema(fields))
    pq.write_table(rows, folder / "file.parquet", store_schema=False)
    return f"file://{folder}/file.parquet"


def test_columns_of_a_data_file_are_found_by_their_ids(lake: Lake, tmp_path: Path) -> None:
    path = written(tmp_path, ["id", "Gr_xF6_xDFe_x20in_x20cm"])
    (batch,) = read_files(lake, PLAIN, [path])
    assert batch.to_pydict() == {"id": [1, 2], "Größe in cm": ["a", None]}
    assert batch.schema.field(1).type == pa.large_string()


def test_a_file_without_a_planned_column_or_none_at_all_is_refused(
    lake: Lake, tmp_path: Path
) -> None:
    path = written(tmp_path, ["id", "name"])
    wider = table_plan([("id", INT), ("name", nvarchar(20)), ("more", INT)], key=["id"])
    with pytest.raises(ReceiptError, match="has no columns more"):
        list(read_files(lake, wider, [path]))
    with pytest.raises(ReceiptError, match="is gone"):
        list(read_files(lake, PLAIN, [f"file://{tmp_path}/other.parquet"]))
    (tmp_path / "file.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(ReceiptError, match="is no data file"):
        list(read_files(lake, PLAIN, [path]))


def test_texts_that_starrocks_gets_shortened_are_expected_so() -> None:
    plain = table_plan([("id", INT), ("note", nvarchar(-1))], key=["id"])
    columns = (plain.columns[0], plain.columns[1].model_copy(update={"cut": True}))
    table = plain.model_copy(update={"columns": columns})
    texts = ["ü" * MAX_STARROCKS_BYTES, "ü" * (MAX_STARROCKS_BYTES // 2), None]
    arrays = [pa.array([1, 2, 3], pa.int32()), pa.array(texts, pa.large_string())]
    found = _cut(table, pa.RecordBatch.from_arrays(arrays, ["id", "note"]))
    assert found.column("note").to_pylist() == ["ü" * LONGEST_KEPT, *texts[1:]]
