"""How an asset ends: check results, and the materialization only when none failed."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest

from migration_assets.assets.build import ExtractConfig
from migration_assets.assets.checks import (
    FINGERPRINT,
    ROW_COUNT,
    Verdict,
    check_specs,
    conclude,
    source_verdicts,
    target_verdicts,
)
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.choices import VerificationLevel
from migration_assets.receipts import Difference, ExtractReceipt, Fingerprint
from migration_assets_tests.unit.tables import INT, table_plan

TABLE = table_plan([("id", INT)], key=["id"])
EQUAL = [Verdict(ROW_COUNT, counts={"mssql": 5}), Verdict(FINGERPRINT)]
WRONG = Verdict(FINGERPRINT, [Difference(what="id.sum", expected=10, found=11)])
MOVED = Verdict(FINGERPRINT, WRONG.differences, reason="The source is being written to.")


def specs() -> list[dg.AssetCheckSpec]:
    spec = MigrationTranslator().asset_spec(Stage.MSSQL, TABLE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # as in `build_definitions`
        return check_specs(spec, Stage.MSSQL, TABLE)


def ended(verdicts: Sequence[Verdict]) -> tuple[list[Any], dg.Failure | None]:
    """What `conclude` yields, in order, and what it raises."""
    found: list[Any] = []
    steps = conclude(
        Stage.MSSQL, TABLE, "p000", specs=specs(), verdicts=verdicts, result=dg.MaterializeResult()
    )
    try:
        found.extend(steps)
    except dg.Failure as failure:
        return found, failure
    return found, None


def shown(results: Sequence[Any]) -> list[tuple[str, bool, str]]:
    return [(one.check_name, one.passed, one.severity.value) for one in results]


def test_the_materialization_comes_before_the_checks_that_passed() -> None:
    """Dagster takes a check for one of the newest materialization that is there by then."""
    (made, *results), failure = ended(EQUAL)
    assert isinstance(made, dg.MaterializeResult)
    assert shown(results) == [(ROW_COUNT, True, "ERROR"), (FINGERPRINT, True, "ERROR")]
    assert failure is None


def test_a_check_that_fails_leaves_its_results_and_no_materialization() -> None:
    results, failure = ended([EQUAL[0], WRONG])
    assert shown(results) == [(ROW_COUNT, True, "ERROR"), (FINGERPRINT, False, "ERROR")]
    assert failure is not None
    assert failure.allow_retries is False
    assert "id.sum: expected 10, found 11" in (failure.description or "")
    assert failure.metadata["error"].value == "VerificationError"


def test_a_source_that_moved_is_a_warning_and_materialized() -> None:
    (made, *results), failure = ended([EQUAL[0], MOVED])
    assert isinstance(made, dg.MaterializeResult)
    assert shown(results) == [(ROW_COUNT, True, "ERROR"), (FINGERPRINT, False, "WARN")]
    assert failure is None


@pytest.mark.parametrize("verdicts", [EQUAL, [EQUAL[0], WRONG]], ids=["equal", "wrong"])
def test_dagster_stores_them_in_that_order(verdicts: Sequence[Verdict]) -> None:
    @dg.asset(key=specs()[0].asset_key, check_specs=[
        dg.AssetCheckSpec(spec.name, asset=spec.asset_key) for spec in specs()
    ])  # fmt: skip
    def mssql_table() -> Any:
        yield from conclude(
            Stage.MSSQL, TABLE, "p000", specs=specs(), verdicts=verdicts,
            result=dg.MaterializeResult(),
        )  # fmt: skip

    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.materialize([mssql_table], instance=instance, raise_on_error=False)
        kinds = [event.event_type_value for event in run.all_events]
    wanted = {"ASSET_MATERIALIZATION", "ASSET_CHECK_EVALUATION", "STEP_FAILURE"}
    stored = [kind for kind in kinds if kind in wanted]
    checks = ["ASSET_CHECK_EVALUATION"] * 2
    if verdicts is EQUAL:
        assert stored == ["ASSET_MATERIALIZATION", *checks]
    else:
        assert stored == [*checks, "STEP_FAILURE"]
    assert run.success is (verdicts is EQUAL)


# --- a verification level lowered for a run


def receipt(level: VerificationLevel) -> ExtractReceipt:
    values = {"id.sum": 10} if level is VerificationLevel.FULL else {}
    measured = Fingerprint(rows=5, values=values)
    return ExtractReceipt(
        table_id=TABLE.table_id, partition_key="p000", source_partition=0, attempt="a", run_id="r",
        rows=5, seconds=1.0, files=(), fingerprint=measured,
        source_fingerprint=None if level is VerificationLevel.NONE else measured,
        consistency="snapshot", extracted_at=datetime(2024, 1, 1, tzinfo=UTC),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("lowered", "expected"),
    [
        ("", [(ROW_COUNT, True, "ERROR"), (FINGERPRINT, True, "ERROR")]),
        ("count", [(ROW_COUNT, True, "ERROR"), (FINGERPRINT, False, "WARN")]),
        ("none", [(ROW_COUNT, False, "WARN"), (FINGERPRINT, False, "WARN")]),
    ],
)
def test_a_check_that_the_run_s_config_skipped_is_a_warning_and_not_passed(
    lowered: str, expected: list[tuple[str, bool, str]]
) -> None:
    level = ExtractConfig(verification=lowered).level(TABLE)
    (made, *results), failure = ended(source_verdicts(receipt(level), lambda: None))
    assert isinstance(made, dg.MaterializeResult)
    assert shown(results) == expected
    assert failure is None
    skipped = [one for one in results if not one.passed]
    assert {one.description for one in skipped} <= {
        "Not verified: the run's config lowered the verification level."
    }


def test_a_load_of_an_extraction_that_was_only_counted_is_not_verified() -> None:
    loaded = Fingerprint(rows=5, values={"id.sum": 10})
    verdicts = target_verdicts(Fingerprint(rows=5), lambda: loaded)
    assert [(one.check, one.skipped) for one in verdicts] == [
        (ROW_COUNT, False), (FINGERPRINT, True),
    ]  # fmt: skip
