"""What deploy/ and permissions/ say is well formed, fits settings.py, and keeps its promises.

No container runs here: images are not built, compose files and charts are not started.
"""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any

import pytest
import yaml
from botocore.session import get_session
from botocore.validate import ParamValidator
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config_schema
from dagster_aws.s3.compute_log_manager import S3ComputeLogManager
from dockerfile_parse import DockerfileParser

from migration_assets import settings
from migration_assets.operations.home import _DAGSTER_YAML

ROOT = Path(__file__).parents[2]
DEPLOY, PERMISSIONS = ROOT / "deploy", ROOT / "permissions"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text("utf-8"))
VALUES: dict[str, Any] = yaml.safe_load((DEPLOY / "kubernetes" / "values.yaml").read_text("utf-8"))
TASK: dict[str, Any] = json.loads((DEPLOY / "ecs" / "task-definition.json").read_text("utf-8"))
OTHERS = {
    "DAGSTER_HOME", "DAGSTER_PG_URL", "MSSQL_SA_PASSWORD", "MINIO_ROOT_USER", "MINIO_ROOT_PASSWORD",
    "POSTGRES_PASSWORD",
}  # fmt: skip
"""Variables that are Dagster's, or of the servers of the try."""
CLASSES = (
    settings.MssqlSettings, settings.LakeSettings, settings.StarRocksSettings,
    settings.SparkSettings, settings.RetrySettings, settings.ProjectSettings,
)  # fmt: skip


def known() -> set[str]:
    """Every variable of settings.py."""
    return {settings._variable(cls, name) for cls in CLASSES for name in cls.model_fields}


def try_env() -> dict[str, str]:
    text = (DEPLOY / "compose" / "try.env").read_text("utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def user_code() -> dict[str, Any]:
    (deployment,) = VALUES["dagster-user-deployments"]["deployments"]
    return dict(deployment)


def dockerfile() -> DockerfileParser:
    return DockerfileParser(fileobj=io.BytesIO((DEPLOY / "Dockerfile").read_bytes()))


def containers() -> dict[str, dict[str, Any]]:
    return {container["name"]: container for container in TASK["containerDefinitions"]}


def test_every_variable_is_one_of_settings() -> None:
    """A name that nobody reads is a setting that somebody believes in."""
    assert set(try_env()) - OTHERS <= known()
    of_compose = {
        name for service in COMPOSE["services"].values() if service.get("env_file")
        for name in service["environment"]
    }  # fmt: skip
    assert of_compose <= known() | OTHERS
    assert set(user_code()["env"]) <= known()
    for container in containers().values():
        names = {entry["name"] for entry in container["environment"] + container.get("secrets", [])}
        assert names <= known() | OTHERS
    docker = dockerfile()
    assert {name for name in docker.envs if name.startswith("MIGRATION_")} <= known()


def test_the_settings_of_the_try_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in known():
        monkeypatch.delenv(name, raising=False)
    for name, value in try_env().items():
        monkeypatch.setenv(name, value)
    for cls in CLASSES:
        cls(_env_file=None)
    # The plan's connection needs what the compose file's interpolation takes from the same file.
    text = (DEPLOY / "compose" / "compose.yaml").read_text("utf-8")
    assert set(re.findall(r"\$\{(\w+)", text)) <= set(try_env())
    assert try_env()["MSSQL_USER"] == "migration", "the login of permissions/sqlserver/login.sql"
    assert try_env()["AWS_SECRET_ACCESS_KEY"] == try_env()["MINIO_ROOT_PASSWORD"]


def test_the_workspace_of_the_image_is_ours() -> None:
    assert (DEPLOY / "workspace.yaml").read_text() == (ROOT / "workspace.yaml").read_text()


def images() -> Iterator[str]:
    for service in COMPOSE["services"].values():
        yield service["image"]
    yield from (container["image"] for container in containers().values())
    image = user_code()["image"]
    yield f"{image['repository']}:{image['tag']}"
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    stages = re.findall(r"^FROM \S+ AS (\w+)$", text, re.MULTILINE)
    found = re.findall(r"^FROM (\S+)|^COPY --from=(\S+)", text, re.MULTILINE)
    yield from {a or b for a, b in found} - set(stages)


@pytest.mark.parametrize("image", sorted(set(images())))
def test_an_image_has_a_tag_that_stays(image: str) -> None:
    _, _, tag = image.rpartition(":")
    assert re.search(r"\d+\.\d+\.\d+|\d+\.\d+-|CU\d+|RELEASE\.\d{4}", tag), image
    assert "latest" not in tag


def test_ports_are_bound_to_loopback() -> None:
    ports = [port for service in COMPOSE["services"].values() for port in service.get("ports", [])]
    assert len(ports) > 5
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in ports), ports
    assert VALUES["dagsterWebserver"]["service"]["type"] == "ClusterIP"


def test_compose_yaml_is_valid_by_the_schema_of_compose() -> None:
    path = DEPLOY / "compose" / "compose.yaml"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run(
        [*command, str(path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout
    for name, service in COMPOSE["services"].items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in COMPOSE["services"], (name, needed)
            if how["condition"] == "service_healthy":
                assert "healthcheck" in COMPOSE["services"][needed], (name, needed)
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            is_there = (DEPLOY / "compose" / source).exists()
            assert is_there if source.startswith(".") else source in COMPOSE["volumes"], volume


def test_the_image_is_built_as_a_user_without_rights_from_the_lock_file() -> None:
    docker = dockerfile()
    instructions = [(i["instruction"], i["value"]) for i in docker.structure]
    users = [value for name, value in instructions if name == "USER"]
    assert users == ["10001:10001"], "numeric, so that Kubernetes can tell it from root"
    runs = [value for name, value in instructions if name == "RUN"]
    assert all("--frozen" in run for run in runs if "uv sync" in run)
    installed = next(run for run in runs if "apt-get install" in run)
    from migration_assets.mssql.odbc import INSTALL_COMMANDS

    libraries = INSTALL_COMMANDS["Debian, Ubuntu"].split(" install ")[1].split()
    assert {name for name in libraries if not name.startswith("-")} <= set(installed.split())
    assert "WITH_SPARK" in installed
    assert "openjdk-17-jre-headless" in installed
    assert "HEALTHCHECK" in dict(instructions)
    secret = re.compile("PASSWORD|SECRET|TOKEN|ACCESS_KEY")
    assert not [
        entry for entry in instructions if entry[0] in {"ENV", "ARG"} and secret.search(entry[1])
    ]
    # Nothing gets into the context but what is copied, and what is copied is there.
    ignore = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = {line[1:] for line in ignore if line.startswith("!")}
    assert "*" in ignore
    for name, value in instructions:
        if name == "COPY" and "--from" not in value:
            words = [word for word in value.split() if not word.startswith("--")]
            for source in [word.removeprefix("./") for word in words[:-1]]:
                assert (ROOT / source).exists(), source
                assert any(entry.split("/")[0] == source.split("/")[0] for entry in allowed), source
    assert all((ROOT / entry).exists() for entry in allowed)


def test_dagster_yaml_fits_dagster_s_schema_and_our_own_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DAGSTER_PG_URL", "postgresql://u:p@h/d")
    monkeypatch.setenv("S3_BUCKET", "lake")
    found = yaml.safe_load((DEPLOY / "dagster.yaml").read_text("utf-8"))
    result = process_config(dagster_instance_config_schema(), found)
    assert result.success, result.errors
    logs = found["compute_logs"]
    assert process_config(S3ComputeLogManager.config_type(), logs["config"]).success
    # What differs from the file for one machine is where history and logs are, and nothing else.
    runs = int(try_env()["MIGRATION_CONCURRENT_RUNS"])
    ours = yaml.safe_load(_DAGSTER_YAML.format(run_slots=runs))
    assert {k: v for k, v in found.items() if k not in {"storage", "compute_logs"}} == ours
    values = [e["value"] for e in containers()["daemon"]["environment"] if "RUNS" in e["name"]]
    assert values == [str(runs)]
    for policy in ("run-logs.json",):
        text = (PERMISSIONS / "aws" / policy).read_text("utf-8")
        assert f"/{logs['config']['prefix']}/*" in text


BASE_MIB = 640
"""Of a process that executes a run, beside its rows; measured, see docs/deploy.md."""
DAEMON_MIB = 1024
"""Of the daemon with its code server."""


def mib(text: str) -> int:
    number, unit = re.fullmatch(r"(\d+)(Mi|Gi|m|g)", text).groups()  # type: ignore[union-attr]
    return int(number) * (1024 if unit in {"Gi", "g"} else 1)


def test_memory_follows_from_the_settings() -> None:
    env = try_env()
    a_run = BASE_MIB + int(env["MIGRATION_MEMORY_MB"])
    wanted = DAEMON_MIB + int(env["MIGRATION_CONCURRENT_RUNS"]) * a_run
    assert mib(COMPOSE["services"]["daemon"]["mem_limit"]) >= wanted
    of_task = {e["name"]: e["value"] for e in containers()["daemon"]["environment"]}
    a_run = BASE_MIB + int(of_task["MIGRATION_MEMORY_MB"])
    wanted = DAEMON_MIB + int(of_task["MIGRATION_CONCURRENT_RUNS"]) * a_run
    assert containers()["daemon"]["memory"] >= wanted
    assert sum(c["memory"] for c in containers().values()) <= int(TASK["memory"])
    env = user_code()["env"]
    a_run = BASE_MIB + int(env["MIGRATION_MEMORY_MB"])
    run = VALUES["runLauncher"]["config"]["k8sRunLauncher"]["resources"]
    assert mib(run["limits"]["memory"]) == mib(run["requests"]["memory"]) >= a_run
    assert VALUES["concurrency"]["runs"]["maxConcurrentRuns"] == int(
        env["MIGRATION_CONCURRENT_RUNS"]
    )


def test_no_secret_is_written_down_but_those_of_the_try() -> None:
    secret = re.compile("PASSWORD|SECRET|TOKEN|ACCESS_KEY|PG_URL")
    assert not [name for name in user_code()["env"] if secret.search(name)]
    assert user_code()["envSecrets"]
    for container in containers().values():
        assert not [e for e in container["environment"] if secret.search(e["name"])]
    assert VALUES["generatePostgresqlPasswordSecret"] is False
    assert "postgresqlPassword" not in VALUES["postgresql"]


def test_the_task_definition_is_one_that_ecs_takes() -> None:
    model = get_session().get_service_model("ecs").operation_model("RegisterTaskDefinition")
    report = ParamValidator().validate(TASK, model.input_shape)
    assert not report.has_errors(), report.generate_report()
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
    assert int(TASK["memory"]) in range(8192, 30721, 1024)
    assert TASK["cpu"] == "4096"
    assert all(
        "hostPort" not in p for c in containers().values() for p in c.get("portMappings", [])
    )


@pytest.mark.parametrize("path", sorted([*PERMISSIONS.glob("aws/*.json"), DEPLOY / "ecs/execution-role.json"]),
                         ids=lambda path: path.name)  # fmt: skip
def test_a_policy_is_well_formed_and_narrow(path: Path) -> None:
    policy = json.loads(path.read_text("utf-8"))
    assert policy["Version"] == "2012-10-17"
    sids = [statement["Sid"] for statement in policy["Statement"]]
    assert len(sids) == len(set(sids))
    for statement in policy["Statement"]:
        assert set(statement) == {"Sid", "Effect", "Action", "Resource"}, statement["Sid"]
        assert re.fullmatch(r"[A-Za-z0-9]+", statement["Sid"]), "IAM takes letters and digits only"
        actions = statement["Action"]
        assert "*" not in "".join([actions] if isinstance(actions, str) else actions)
        # The one action of AWS here that has no resources.
        assert statement["Resource"] != "*" or actions == "ecr:GetAuthorizationToken"


def test_the_t_sql_can_be_parsed() -> None:
    from sqlfluff.core import Linter

    linter = Linter(dialect="tsql")
    kinds = set()
    for path in sorted(PERMISSIONS.glob("sqlserver/*.sql")):
        text = path.read_text("utf-8").replace("$(DATABASE)", "shop").replace("$(PASSWORD)", "x")
        assert "$(" not in text, path.name
        parsed = linter.parse_string(text)
        assert not parsed.violations, (path.name, [v.desc() for v in parsed.violations])
        assert parsed.tree is not None
        kinds |= {s.segments[0].type for s in parsed.tree.recursive_crawl("statement")}
    assert {"create_login_statement", "create_user_statement", "grant_statement"} <= kinds


def test_the_pages_name_every_file() -> None:
    """The files are the source: the pages say what each is for, and repeat none."""
    for folder, page in ((PERMISSIONS, "permissions.md"), (DEPLOY, "deploy.md")):
        text = (ROOT / "docs" / page).read_text("utf-8")
        files = [p.relative_to(ROOT) for p in folder.rglob("*") if p.is_file()]
        for path in files:
            assert path.as_posix() in text or f"../{path.as_posix()}" in text, path
    variables = set()
    for path in PERMISSIONS.rglob("*"):
        if path.is_file():
            variables |= {
                m for m in Template.pattern.findall(path.read_text("utf-8")) for m in m if m
            }
    text = (ROOT / "docs" / "permissions.md").read_text("utf-8")
    assert all(f"`{name}`" in text for name in variables if name.isupper()), variables
