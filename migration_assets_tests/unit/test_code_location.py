"""Dagster itself finds nothing wrong with the code location: with a plan, without, with 342 tables."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from migration_assets.definitions import JOB_WITHOUT_PLAN, build_definitions, load_definitions
from migration_assets.plan import MigrationPlan
from migration_assets_tests.unit.test_definitions import named, plan_of

ROOT = Path(__file__).parents[2]
CUTS = ((), tuple(str(n) for n in range(1, 8)), tuple(str(n) for n in range(1, 16)))


def many() -> MigrationPlan:
    return plan_of(*(named(f"schema{n % 7}", f"T{n}", cuts=CUTS[n % 3]) for n in range(342)))


def validated(folder: Path, *words: str) -> str:
    """What `dagster definitions validate` says of a location that it accepts."""
    command = Path(sys.executable).with_name("dagster")
    home = folder / "home"
    home.mkdir()
    done = subprocess.run(
        [command, "definitions", "validate", *words], cwd=folder, capture_output=True, text=True,
        timeout=300, check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "DAGSTER_HOME": str(home)},
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "Traceback" not in said
    return said


def test_dagster_validates_the_location_without_a_plan(tmp_path: Path) -> None:
    said = validated(tmp_path, "-w", str(ROOT / "workspace.yaml"))
    assert "run `migration-assets plan`" in said
    assert "successful for code location migration_assets" in said


def test_dagster_validates_the_location_of_342_tables(tmp_path: Path) -> None:
    (tmp_path / "migration_plan.json").write_text(many().to_json(), encoding="utf-8")
    said = validated(tmp_path, "-m", "migration_assets.definitions")
    assert "successful for code location migration_assets.definitions" in said


def test_every_job_asset_and_resource_of_the_definitions_resolves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MIGRATION_PLAN", raising=False)
    without = load_definitions()
    dg.Definitions.validate_loadable(without)
    assert without.resolve_job_def(JOB_WITHOUT_PLAN)
    full = build_definitions(many())
    dg.Definitions.validate_loadable(full)
    # It looks: a job over an asset that is not there does not pass.
    broken = dg.Definitions(jobs=[dg.define_asset_job("j", selection=[dg.AssetKey("nowhere")])])
    with pytest.raises(dg.DagsterInvalidDefinitionError):
        dg.Definitions.validate_loadable(broken)
