"""What whoever helps wants to see, in one file: `migration-assets doctor --bundle FILE.zip`.

Each part is made by itself: what cannot be had (no server, no plan, no history) is named in the
manifest with the reason, and the others are there. Everything goes through `Redaction`.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migration_assets.errors import ConfigurationError, MigrationError, code_of, coded
from migration_assets.operations.home import home_of, open_instance
from migration_assets.operations.redaction import (
    MASK,
    Redaction,
    known_secrets,
    settings_classes,
    variables,
)
from migration_assets.settings import ProjectSettings

if TYPE_CHECKING:
    from dagster import DagsterInstance, DagsterRun, EventLogEntry

    from migration_assets.operations.doctor import Finding

FORMAT = 1
MOST_ERRORS = 50
_MOST_RUNS = 50
_LONGEST_TRACE = 20_000
_ELSEWHERE = ("DAGSTER_HOME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "JAVA_HOME")
"""Variables of others that decide how we work; their values are shown, masked."""
_DISTRIBUTION = "migration-assets"


@dataclass(frozen=True)
class _Part:
    """One file of the bundle.

    Attributes:
        name: in the archive.
        what: for people, in the manifest.
        make: gives what is written as JSON; an error, or None with a reason, leaves it out.
    """

    name: str
    what: str
    make: Callable[[], Any]


def check_bundle(path: Path) -> None:
    """See that the file can be written, before minutes are spent on what goes into it.

    Raises:
        ConfigurationError: there is no such folder, or nothing can be written there.
    """
    if path.is_dir():
        raise ConfigurationError(
            f"--bundle {path} is a folder.", code="MA-CF-031", next_step="Name a file in it."
        )
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"--bundle {path}: there is no folder {path.parent}.", code="MA-CF-031"
        )
    if not os.access(path.parent, os.W_OK):
        raise ConfigurationError(
            f"--bundle {path}: nothing can be written in {path.parent}.", code="MA-CF-031"
        )


def examined(findings: Iterator[Finding]) -> Iterator[Finding]:
    """The doctor's findings; an error that ends it is the last of them."""
    from migration_assets.operations.doctor import Finding

    try:
        yield from findings
    except MigrationError as error:
        found = coded(error.code, error.found)
        yield Finding("Doctor", "examination", ok=False, found=found, remedy=error.next_step)
    except Exception as error:  # noqa: BLE001 - it must not cost the bundle
        found = coded("MA-DG-001", f"unexpected {type(error).__name__}: {error}")
        yield Finding("Doctor", "examination", ok=False, found=found)


def write_bundle(path: Path, findings: Sequence[Finding]) -> list[str]:
    """Write the archive, readable by its owner only; one that is there is replaced at the end.

    Args:
        path: of the archive.
        findings: the doctor's.

    Returns:
        The names of the files in it.

    Raises:
        ConfigurationError: it cannot be written.
    """
    parts = (
        _Part("settings.json", "our settings as they are set; secrets are masked", settings_shown),
        _Part("versions.json", "releases of the tool, Python, drivers and servers",
              lambda: versions(findings)),
        _Part("doctor.json", "what `migration-assets doctor` found",
              lambda: [asdict(finding) for finding in findings]),
        _Part("plan.json", "the plan: names and types of tables and columns, bounds of keys; no rows",
              _plan),
        _Part("errors.json", f"the last {MOST_ERRORS} errors of Dagster's history, with stack traces",
              _errors),
        _Part("report.json", "the report of the last run in this folder", _report),
    )  # fmt: skip
    redaction = Redaction(known_secrets())
    files: dict[str, bytes] = {}
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "masked": f"Secrets are shown as {MASK}. Read the files before you send them: names, "
        "addresses and bounds of keys are as they are.",
        "files": [],
        "left_out": [],
    }
    for part in parts:
        try:
            body = part.make()
        except MigrationError as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 - one part that fails must not cost the others
            why = coded("MA-DG-001", f"unexpected {type(error).__name__}: {error}")
        else:
            files[part.name] = _json(redaction.data(body))
            shown = {"name": part.name, "what": part.what, "bytes": len(files[part.name])}
            manifest["files"].append(shown)
            continue
        manifest["left_out"].append({"name": part.name, "why": redaction.text(why)})
    files = {"manifest.json": _json(manifest), **files}
    _write(path, files)
    return list(files)


def _write(path: Path, files: dict[str, bytes]) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        # Before a byte is in it, it is nobody else's to read.
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, body in files.items():
                archive.writestr(name, body)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise ConfigurationError(
            f"--bundle {path} cannot be written: {error.strerror}.", code="MA-CF-031"
        ) from None


def _json(body: Any) -> bytes:
    return (json.dumps(body, indent=1, ensure_ascii=False, default=str) + "\n").encode()


def settings_shown() -> dict[str, dict[str, str]]:
    """Each variable that is set, by class of settings; `export_env_file` has put `.env` there."""
    shown = {
        cls.__name__: {
            name: MASK if is_secret else os.environ[name]
            for name, is_secret in variables(cls)
            if os.environ.get(name)
        }
        for cls in settings_classes()
    }
    return {
        **shown,
        "others": {name: os.environ[name] for name in _ELSEWHERE if name in os.environ},
    }


def versions(findings: Sequence[Finding]) -> dict[str, Any]:
    """Releases of what takes part; a server that did not answer has none."""
    return {
        _DISTRIBUTION: _version(_DISTRIBUTION),
        "python": sys.version,
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "packages": {
            name: found
            for name in sorted(_required())
            if (found := _version(name)) is not None
        },
        "servers": {
            finding.system: finding.found if finding.ok else None
            for finding in findings
            if finding.check == "connection"
        },
    }  # fmt: skip


def _required() -> Iterator[str]:
    """The packages that ours asks for, extras included."""
    import re

    for line in metadata.requires(_DISTRIBUTION) or ():
        found = re.match(r"[A-Za-z0-9._-]+", line)
        if found is not None:
            yield found[0]


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _plan() -> Any:
    from migration_assets.plan_source import load_plan

    return json.loads(load_plan(ProjectSettings.load().plan).to_json())


def _report() -> Any:
    path = Path("report.json")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"There is no {path} in this folder.", code="MA-CF-032") from None
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}.", code="MA-CF-032") from None


def _errors() -> list[dict[str, Any]]:
    """The newest failures of runs and steps, newest first."""
    import dagster as dg

    project = ProjectSettings.load()
    if not home_of(project).is_dir():
        raise ConfigurationError(
            f"There is no history of Dagster in {home_of(project)}.", code="MA-CF-032"
        )
    found: list[dict[str, Any]] = []
    with open_instance(project) as instance:
        failed = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])
        for run in instance.get_runs(failed, limit=_MOST_RUNS):
            found += _errors_of(instance, run)
            if len(found) >= MOST_ERRORS:
                break
    return sorted(found, key=lambda one: str(one["at"]), reverse=True)[:MOST_ERRORS]


def _errors_of(instance: DagsterInstance, run: DagsterRun) -> Iterator[dict[str, Any]]:
    import dagster as dg

    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}
    for entry in instance.all_logs(run.run_id, of_type=kinds):
        said, error, trace = _said(entry)
        yield {
            "at": datetime.fromtimestamp(entry.timestamp, UTC).isoformat(timespec="seconds"),
            "code": code_of(said),
            "said": said,
            "error": error,
            "job": run.job_name,
            "step": entry.step_key,
            "partition": run.tags.get("dagster/partition"),
            "run_id": run.run_id,
            "trace": trace[-_LONGEST_TRACE:],
        }


def _said(entry: EventLogEntry) -> tuple[str, str, str]:
    """What a failure says, the class of its error, and the stack traces from the cause on."""
    event = entry.dagster_event
    if event is None:
        return entry.user_message, "", ""
    if event.event_type_value != "STEP_FAILURE":
        return event.message or "", "", ""
    data = event.step_failure_data
    said = "" if data.user_failure_data is None else data.user_failure_data.description or ""
    chain = []
    error = data.error
    while error is not None:
        chain.append(error)
        error = error.cause
    if not said and chain:
        said = chain[-1].message.strip()
    kind = str(chain[-1].cls_name) if chain else ""
    return said, kind, "\n".join(one.to_string() for one in reversed(chain[-3:]))
