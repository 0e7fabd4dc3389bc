"""The stand-in for S3 and Glue, through the clients that use it in production."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from pyiceberg.catalog import Catalog, load_catalog

from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.launcher import Sandbox

NO_RETRY = {"total_max_attempts": 1}
ROWS = pa.table({"id": pa.array([1, 2, 3], pa.int64())})


@pytest.fixture(scope="module")
def statements(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("statements")


@pytest.fixture(scope="module")
def running(statements: Path) -> Iterator[Sandbox]:
    with Sandbox(["aws"], statements_dir=statements) as sandbox:
        yield sandbox


@pytest.fixture
def aws(running: Sandbox) -> Iterator[Sandbox]:
    yield running
    running.control("aws").arm()


def client(sandbox: Sandbox, service: str, **retries: Any) -> Any:
    settings = sandbox.settings
    return boto3.client(
        service,
        endpoint_url=settings["AWS_ENDPOINT_URL"],
        region_name=settings["AWS_REGION"],
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
        config=Config(retries=retries or NO_RETRY, read_timeout=20),
    )


def catalog(sandbox: Sandbox) -> Catalog:
    settings = sandbox.settings
    properties = {"warehouse": f"s3://{settings['S3_BUCKET']}/{settings['S3_WAREHOUSE_PATH']}"}
    for system in ("glue", "s3"):
        properties |= {
            f"{system}.endpoint": settings["AWS_ENDPOINT_URL"],
            f"{system}.region": settings["AWS_REGION"],
            f"{system}.access-key-id": settings["AWS_ACCESS_KEY_ID"],
            f"{system}.secret-access-key": settings["AWS_SECRET_ACCESS_KEY"],
        }
    return load_catalog("lake", type="glue", **properties)


def logged(directory: Path) -> list[dict[str, Any]]:
    lines = (directory / "aws.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if entry["outcome"] != "received"]


def test_an_iceberg_table_is_created_and_read_back(aws: Sandbox) -> None:
    lake = catalog(aws)
    lake.create_namespace("created")
    table = lake.create_table("created.rows", schema=ROWS.schema)
    table.append(ROWS)
    table.append(ROWS)
    read = catalog(aws).load_table("created.rows").scan().to_arrow()
    assert sorted(read["id"].to_pylist()) == [1, 1, 2, 2, 3, 3]


def test_glue_refuses_an_old_version_and_takes_the_current_one(aws: Sandbox) -> None:
    glue = client(aws, "glue")
    glue.create_database(DatabaseInput={"Name": "versions"})
    glue.create_table(DatabaseName="versions", TableInput={"Name": "t"})
    version = glue.get_table(DatabaseName="versions", Name="t")["Table"]["VersionId"]
    change = {"DatabaseName": "versions", "TableInput": {"Name": "t", "Description": "new"}}
    glue.update_table(**change, VersionId=version)
    with pytest.raises(ClientError) as refused:
        glue.update_table(**change, VersionId=version)
    assert refused.value.response["Error"]["Code"] == "ConcurrentModificationException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    glue.update_table(**change)  # without a version nothing is compared, as in Glue


def test_no_concurrent_commit_is_lost(aws: Sandbox) -> None:
    lake = catalog(aws)
    lake.create_namespace("many")
    properties = {"commit.retry.num-retries": "100", "commit.retry.min-wait-ms": "10"}
    lake.create_table("many.rows", schema=ROWS.schema, properties=properties)

    def commit(number: int) -> None:
        own = catalog(aws).load_table("many.rows")
        for step in range(3):
            own.append(pa.table({"id": pa.array([number * 10 + step], pa.int64())}))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(commit, range(4)))
    ids = catalog(aws).load_table("many.rows").scan().to_arrow()["id"].to_pylist()
    assert sorted(ids) == sorted(number * 10 + step for number in range(4) for step in range(3))


def test_an_object_of_50_mb_comes_back_whole_and_in_parts(aws: Sandbox) -> None:
    s3 = client(aws, "s3")
    body = os.urandom(1_000_000) * 50
    s3.put_object(Bucket="lake", Key="big", Body=body)
    assert s3.get_object(Bucket="lake", Key="big")["Body"].read() == body
    part = s3.get_object(Bucket="lake", Key="big", Range="bytes=49999990-")["Body"].read()
    assert part == body[-10:]
    assert s3.head_object(Bucket="lake", Key="big")["ContentLength"] == 50_000_000
    s3.delete_object(Bucket="lake", Key="big")


def test_one_connection_serves_many_requests(aws: Sandbox) -> None:
    control = aws.control("aws")
    before = control.state()
    s3 = client(aws, "s3")
    for number in range(20):
        s3.put_object(Bucket="lake", Key=f"small/{number}", Body=b"x")
    after = control.state()
    assert after.statements - before.statements == 20
    assert after.opened - before.opened == 1


def test_a_503_reaches_the_client_and_a_retry_heals_it(aws: Sandbox, statements: Path) -> None:
    aws.control("aws").arm(Fault("unavailable", match="PUT /lake/busy", times=1))
    with pytest.raises(ClientError) as refused:
        client(aws, "s3").put_object(Bucket="lake", Key="busy", Body=b"x")
    assert refused.value.response["Error"]["Code"] == "SlowDown"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503

    aws.control("aws").arm(Fault("unavailable", match="PUT /lake/busy", times=2))
    before = len(logged(statements))
    retrying = client(aws, "s3", mode="standard", total_max_attempts=5)
    retrying.put_object(Bucket="lake", Key="busy", Body=b"healed")
    assert [entry["status"] for entry in logged(statements)[before:]] == [503, 503, 200]
    assert retrying.get_object(Bucket="lake", Key="busy")["Body"].read() == b"healed"


def test_a_percentage_of_requests_gets_503(aws: Sandbox, statements: Path) -> None:
    aws.control("aws").arm(Fault("unavailable", match="HEAD", percent=20))
    s3, refused = client(aws, "s3"), 0
    for _ in range(200):
        try:
            s3.head_bucket(Bucket="lake")
        except ClientError:
            refused += 1
    assert 20 <= refused <= 60


def test_an_error_of_glue_is_in_its_own_form(aws: Sandbox) -> None:
    fault = Fault(
        "error", match=r"GetTable db\.t$", number=400, message="AccessDeniedException: no"
    )
    aws.control("aws").arm(fault)
    with pytest.raises(ClientError) as refused:
        client(aws, "glue").get_table(DatabaseName="db", Name="t")
    assert refused.value.response["Error"] == {"Code": "AccessDeniedException", "Message": "no"}


def test_a_dropped_answer_leaves_the_work_done(aws: Sandbox) -> None:
    aws.control("aws").arm(Fault("drop", match="PUT /lake/dropped", times=1))
    s3 = client(aws, "s3")
    with pytest.raises(HTTPClientError):
        s3.put_object(Bucket="lake", Key="dropped", Body=b"done")
    assert s3.get_object(Bucket="lake", Key="dropped")["Body"].read() == b"done"


def test_a_connection_dropped_after_some_requests_does_not_execute_the_next(aws: Sandbox) -> None:
    s3 = client(aws, "s3")
    aws.control("aws").arm(Fault("drop", after_queries=2))
    s3.put_object(Bucket="lake", Key="first", Body=b"1")
    s3.put_object(Bucket="lake", Key="second", Body=b"2")
    with pytest.raises(HTTPClientError):
        s3.put_object(Bucket="lake", Key="third", Body=b"3")
    aws.control("aws").arm()
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket="lake")["Contents"]]
    assert {"first", "second"} <= set(keys)
    assert "third" not in keys


def test_a_delayed_request_of_a_client_that_left_is_not_executed(
    aws: Sandbox, statements: Path
) -> None:
    s3 = client(aws, "s3")
    impatient = boto3.client(
        "s3",
        endpoint_url=aws.settings["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id="sandbox",
        aws_secret_access_key="x",
        config=Config(retries=NO_RETRY, read_timeout=0.2),
    )
    aws.control("aws").arm(Fault("delay", match="PUT /lake/late", seconds=0.6, times=1))
    with pytest.raises(Exception, match="timeout"):
        impatient.put_object(Bucket="lake", Key="late", Body=b"x")
    impatient.close()
    aws.control("aws").arm(Fault("delay", match="PUT /lake/patient", seconds=0.6, times=1))
    s3.put_object(Bucket="lake", Key="patient", Body=b"x")
    entry = next(entry for entry in logged(statements) if "/lake/patient" in entry["statement"])
    assert entry["seconds"] >= 0.6
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket="lake", Key="late")


def test_the_log_names_method_path_target_and_status(aws: Sandbox, statements: Path) -> None:
    glue = client(aws, "glue")
    glue.create_database(DatabaseInput={"Name": "logged"})
    with pytest.raises(ClientError, match="EntityNotFound"):
        glue.get_table(DatabaseName="logged", Name="missing")
    entry = logged(statements)[-1]
    assert entry["statement"] == "POST / AWSGlue.GetTable logged.missing"
    assert (entry["method"], entry["path"], entry["target"]) == ("POST", "/", "AWSGlue.GetTable")
    assert (entry["status"], entry["outcome"]) == (400, "error")
    assert entry["seconds"] > 0


def test_connections_beyond_a_refuse_fault_are_refused(aws: Sandbox) -> None:
    control = aws.control("aws")
    refused = control.state().refused
    control.arm(Fault("refuse", above=0))
    with pytest.raises(HTTPClientError):
        client(aws, "s3").head_bucket(Bucket="lake")
    assert control.state().refused == refused + 1


def test_a_secret_is_kept(aws: Sandbox) -> None:
    manager = client(aws, "secretsmanager")
    manager.create_secret(Name="mssql", SecretString="password")
    assert manager.get_secret_value(SecretId="mssql")["SecretString"] == "password"


def test_large_objects_leave_no_file_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with Sandbox(["aws"]) as sandbox:
        client(sandbox, "s3").put_object(Bucket="lake", Key="big", Body=b"x" * 20_000_000)
        # Nameless from the start: not even a SIGKILL could leave anything.
        assert list(tmp_path.iterdir()) == []
    assert list(tmp_path.iterdir()) == []
