"""Where the plan comes from: a path, or an object in S3."""

from __future__ import annotations

from pathlib import Path

from migration_assets.errors import PlanError
from migration_assets.plan import REMEDY, MigrationPlan


def load_plan(location: str) -> MigrationPlan:
    """Read a plan that has to be there.

    Raises:
        PlanError: there is none, or it is not a readable plan.
    """
    try:
        return read_plan(location)
    except FileNotFoundError:
        raise PlanError(
            f"There is no plan at {location}.",
            code="MA-PL-001",
            next_step="Run `migration-assets plan`, or set MIGRATION_PLAN.",
        ) from None


def read_plan(location: str) -> MigrationPlan:
    """Read a plan from a path or an `s3://` URI.

    Raises:
        FileNotFoundError: there is none.
        PlanError: it is not a readable plan.
    """
    if not location.startswith("s3://"):
        path = Path(location)
        try:
            path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(location) from None
        except (OSError, ValueError) as error:
            raise PlanError(f"{location} cannot be read: {error}.", code="MA-PL-002") from None
        return MigrationPlan.load(path)
    from migration_assets.iceberg.lake import Lake
    from migration_assets.settings import LakeSettings

    with Lake(LakeSettings.load()) as lake:
        if not lake.store.exists(location):
            raise FileNotFoundError(location)
        try:
            text = lake.store.read(location).decode("utf-8-sig")
        except UnicodeDecodeError:
            raise PlanError(
                f"{location} cannot be read: it is no UTF-8 text.",
                code="MA-PL-002",
                next_step=REMEDY,
            ) from None
    return MigrationPlan.from_json(text, origin=location)
