"""What permissions/ grants is enough, and not one of it too much.

moto checks the IAM policies, and the stand-ins execute the T-SQL and StarRocks' grants.
"""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any

import boto3
import moto.settings
import pytest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.responses import ActionAuthenticatorMixin
from moto.iam.access_control import IAMRequestBase
from moto.moto_api._internal.models import moto_api_backend
from moto.server import ThreadedMotoServer
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

from migration_assets.choices import VerificationLevel
from migration_assets.errors import AccessDeniedError, MigrationError
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.output_files import PART_BYTES
from migration_assets.operations import doctor
from migration_assets.sandbox.sqlserver.batch import scripts
from migration_assets.sandbox.starrocks import StarRocksStandIn
from migration_assets.sandbox.starrocks.lexer import split
from migration_assets.settings import LakeSettings, StarRocksSettings
from migration_assets.starrocks.catalog import create_catalog, read_one_row
from migration_assets.starrocks.ddl import set_comment_sql
from migration_assets.starrocks.load import load_partition, measure
from migration_assets.starrocks.resource import StarRocks
from migration_assets.starrocks.tables import drop_table, recreate_table
from migration_assets_tests.sandbox.sqlserver_standin.client import Server, rows, tds
from migration_assets_tests.sandbox.starrocks_client import Client

FOLDER = Path(__file__).parents[2] / "permissions"
BUCKET, REGION = "lake", "us-east-1"
GIVEN = {
    "BUCKET": BUCKET, "WAREHOUSE": "warehouse", "REGION": REGION, "ACCOUNT": DEFAULT_ACCOUNT_ID,
    "NAMESPACES": "shop_*", "PASSWORD": "right", "DATABASE": "shop", "CATALOG": "lake",
}  # fmt: skip


def filled(path: str) -> str:
    """A file of permissions/ with its variables replaced, all of which must be known."""
    return Template((FOLDER / path).read_text("utf-8")).substitute(GIVEN)


def statements(name: str) -> list[dict[str, Any]]:
    """The statements of a policy."""
    found: list[dict[str, Any]] = json.loads(filled(f"aws/{name}.json"))["Statement"]
    return found


def actions(policy: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Each action of a policy with the statement that allows it."""
    return [
        (statement["Sid"], action)
        for statement in policy
        for action in (
            [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"]
        )
    ]


def without(policy: list[dict[str, Any]], sid: str, action: str) -> list[dict[str, Any]]:
    """A policy less one action of one statement."""
    kept = [
        {**s, "Action": [a for _, a in actions([s]) if (s["Sid"], a) != (sid, action)]}
        for s in policy
    ]
    return [statement for statement in kept if statement["Action"]]


@dataclass
class Account:
    """An AWS account with a user for each policy."""

    iam: Any
    s3: Any
    endpoint: str

    def allow(self, user: str, policy: list[dict[str, Any]]) -> None:
        """Let a user have this policy and no other."""
        with checked(False):
            document = json.dumps({"Version": "2012-10-17", "Statement": policy})
            self.iam.put_user_policy(UserName=user, PolicyName="ours", PolicyDocument=document)

    def add(self, user: str) -> tuple[str, str]:
        """Make a user with the policy of its name; returns its access key."""
        self.iam.create_user(UserName=user)
        self.allow(user, statements(user))
        key = self.iam.create_access_key(UserName=user)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def settings(self, user: str) -> LakeSettings:
        """The lake's settings in the name of a new user."""
        key, secret = self.add(user)
        return LakeSettings(
            _env_file=None, region=REGION, endpoint_url=self.endpoint, bucket=BUCKET,
            access_key_id=key, secret_access_key=secret, max_attempts=1,
        )  # fmt: skip

    def uploads(self) -> list[dict[str, Any]]:
        """Uploads that were neither completed nor aborted; they are aborted now."""
        with checked(False):
            left: list[dict[str, Any]] = self.s3.list_multipart_uploads(Bucket=BUCKET).get(
                "Uploads", []
            )
            for upload in left:
                self.s3.abort_multipart_upload(
                    Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"]
                )
            return left


@contextmanager
def checked(are: bool) -> Iterator[None]:
    """Whether moto looks at policies."""
    before = moto.settings.INITIAL_NO_AUTH_ACTION_COUNT
    moto.settings.INITIAL_NO_AUTH_ACTION_COUNT = 0 if are else float("inf")
    ActionAuthenticatorMixin.request_count = 0
    try:
        yield
    finally:
        moto.settings.INITIAL_NO_AUTH_ACTION_COUNT = before


def resources(request: IAMRequestBase) -> list[str]:
    """What Glue asks a permission on, which moto does not: catalog, database and table.

    https://docs.aws.amazon.com/glue/latest/dg/glue-specifying-resource-arns.html
    """
    body = json.loads(request._body or b"{}")
    arn = f"arn:aws:glue:{REGION}:{DEFAULT_ACCOUNT_ID}"
    is_table = "Table" in request._action
    named = body.get("TableInput" if is_table else "DatabaseInput", {}).get("Name")
    name = body.get("Name", named)
    database = body["DatabaseName"] if is_table else name
    found = [f"{arn}:catalog", f"{arn}:database/{database}"]
    return [*found, f"{arn}:table/{database}/{name or '*'}"] if is_table else found


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    check = IAMRequestBase.check_action_permitted

    def check_all(request: IAMRequestBase, resource: str) -> None:
        on_glue = request._action.startswith("glue:")
        for one in resources(request) if on_glue else [resource]:
            # The keys to delete are in the request's body, and moto looks at the bucket alone.
            deletes = request._action == "s3:DeleteObject" and "/" not in one
            check(request, f"{one}/warehouse/x" if deletes else one)

    monkeypatch.setattr(IAMRequestBase, "check_action_permitted", check_all)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        root = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
        where = {"endpoint_url": endpoint, "region_name": REGION}
        with (
            closing(boto3.client("iam", **where, **root)) as iam,
            closing(boto3.client("s3", **where, **root)) as s3,
        ):
            moto_api_backend.reset()  # its accounts are this process's, and others may have used them
            s3.create_bucket(Bucket=BUCKET)
            yield Account(iam, s3, endpoint)
    finally:
        server.stop()


def use(lake: Lake) -> None:
    """All that a migration and the doctor do there; what one of them leaves is removed."""
    uri = f"{lake.settings.warehouse}/probe"
    lake.store.write(uri, b"probe")
    assert lake.store.read(uri) == b"probe"
    lake.store.delete([uri])
    doctor._commit_probe(lake)
    doctor._drop_probe(lake)


def give_up(lake: Lake) -> None:
    """Begin a file of several parts, and abort it."""
    file = lake.store.open_output(f"{lake.settings.warehouse}/large")
    file.write(bytes(PART_BYTES + 1))
    file.abort()


def test_a_pipeline_needs_each_action_of_its_policy_and_no_other(account: Account) -> None:
    policy = statements("pipeline")
    with Lake(account.settings("pipeline")) as lake, checked(True):
        use(lake)
        give_up(lake)
        assert account.uploads() == []
        for elsewhere in (f"s3://{BUCKET}/elsewhere/probe", "s3://other/warehouse/probe"):
            with pytest.raises(AccessDeniedError):
                lake.store.write(elsewhere, b"probe")
        with pytest.raises(Exception, match=r"(?i)not authorized|denied"):
            lake.catalog.create_namespace("others")
        lake.catalog.create_namespace("shop_sales")
        unneeded, said = [], []
        for sid, missing in actions(policy):
            if sid == "MakeAndCommitTables":
                continue  # the same actions as the probe's, on other names
            account.allow("pipeline", without(policy, sid, missing))
            if missing == "s3:AbortMultipartUpload":
                # The error that led to the abort is the one that is told; the upload is left.
                give_up(lake)
                assert len(account.uploads()) == 1
                continue
            try:
                use(lake)
            except AccessDeniedError as refused:
                said.append(str(refused))
            else:
                unneeded.append((sid, missing))
            account.allow("pipeline", policy)
            with suppress(NoSuchTableError):
                lake.catalog.drop_table((doctor.PROBE, doctor.PROBE))
            with suppress(NoSuchNamespaceError):
                lake.catalog.drop_namespace(doctor.PROBE)
        assert unneeded == []
        assert all("access was denied" in text and "\n" not in text for text in said), said


def use_starrocks(client: StarRocks, lake: Lake, snapshot_id: int) -> None:
    """All that a migration and the doctor do in StarRocks."""
    probe = doctor._probe(lake)
    recreate_table(client, probe)
    drop_table(client, probe)
    assert read_one_row(client, probe)
    table = probe.model_copy(update={"starrocks_database": "shop"})
    recreate_table(client, table)
    assert load_partition(client, table, "p000", snapshot_id, run_id="r") == 1
    assert measure(client, table, table.key_ranges[0], VerificationLevel.COUNT).rows == 1
    client.execute(set_comment_sql(table))
    drop_table(client, table)


def test_starrocks_reads_with_its_own_policy_and_needs_each_grant(account: Account) -> None:
    key, secret = account.add("starrocks")
    lake_settings = account.settings("pipeline")
    with (
        StarRocksStandIn() as server,
        Lake(lake_settings) as lake,
        closing(Client(server.port).connection) as root,
        checked(True),
    ):
        doctor._commit_probe(lake)
        snapshot = lake.catalog.load_table((doctor.PROBE, doctor.PROBE)).current_snapshot()
        assert snapshot is not None

        def admin(sql: str) -> None:
            with root.cursor() as cursor:
                for statement in split(sql):
                    cursor.execute(statement)

        admin(filled("starrocks/create-catalog.sql"))
        settings = StarRocksSettings(
            _env_file=None, host="127.0.0.1", port=server.port, user="migration", password="right",
            replication_num=1, aws_access_key_id=key, aws_secret_access_key=secret,
            aws_use_instance_profile=False,
        )  # fmt: skip
        with closing(StarRocks(settings)) as client:
            create_catalog(client, lake_settings)
            admin("REVOKE CREATE EXTERNAL CATALOG ON SYSTEM FROM ROLE migration")
            with pytest.raises(AccessDeniedError):
                create_catalog(client, lake_settings)
            with pytest.raises(AccessDeniedError):
                use_starrocks(client, lake, snapshot.snapshot_id)
            admin(filled("starrocks/pipeline.sql"))
            use_starrocks(client, lake, snapshot.snapshot_id)
            unneeded, said = [], []
            for grant in grants(filled("starrocks/pipeline.sql")):
                admin(grant.replace("GRANT", "REVOKE", 1).replace(" TO ", " FROM "))
                try:
                    use_starrocks(client, lake, snapshot.snapshot_id)
                except AccessDeniedError as refused:
                    said.append(str(refused))
                else:
                    unneeded.append(grant)
                admin(f"{grant}; SET CATALOG default_catalog")
                for database in ("shop", doctor.PROBE):
                    admin(f"DROP TABLE IF EXISTS {database}.{doctor.PROBE}")
            assert unneeded == []
            assert all("\n" not in text for text in said), said

        # Its role reads, and changes nothing.
        reader = lake_settings.model_copy(
            update={"access_key_id": key, "secret_access_key": StarRocksSettings(
                _env_file=None, host="h", user="u", aws_secret_access_key=secret
            ).aws_secret_access_key}
        )  # fmt: skip
        with Lake(reader) as own:
            assert len(own.catalog.load_table((doctor.PROBE, doctor.PROBE)).scan().to_arrow()) == 1
            with pytest.raises(AccessDeniedError):
                own.store.write(f"{own.settings.warehouse}/probe", b"probe")
            with pytest.raises(MigrationError):
                doctor._drop_probe(own)


def grants(sql: str) -> Iterator[str]:
    """Each privilege that a script grants as a statement of its own, in the catalog it is meant for."""
    catalog = "default_catalog"
    for statement in split(sql):
        words = statement[statement.index(word) :] if (word := "GRANT ") in statement else ""
        if "SET CATALOG" in statement:
            catalog = statement.split()[-1]
        if " ON " in words:
            privileges, rest = words.removeprefix("GRANT ").split(" ON ", 1)
            for privilege in privileges.split(", "):
                yield f"SET CATALOG {catalog}; GRANT {privilege} ON {rest}"


def test_the_grants_of_sql_server_let_the_login_see_and_read() -> None:
    ask = (
        "SELECT HAS_PERMS_BY_NAME('dbo.t', 'OBJECT', 'SELECT'), "
        "HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'VIEW DEFINITION'), "
        "HAS_PERMS_BY_NAME(DB_NAME(), 'DATABASE', 'UNMASK')"
    )
    server = Server()
    try:
        with closing(tds(server)) as connection:

            def run(sql: str) -> None:
                for batch in scripts(sql):
                    connection.cursor().execute(batch)

            run("CREATE TABLE dbo.t (a varchar(9) MASKED WITH (FUNCTION = 'default()'))\nGO\n")
            run("INSERT INTO dbo.t VALUES ('secret')")
            (database,) = rows(connection, "SELECT DB_NAME()")[0]
            for permission in ("SELECT", "VIEW DEFINITION", "UNMASK"):
                run(f"REVOKE {permission} FROM migration")
            assert rows(connection, ask) == [(0, 0, 0)]
            for name, seen in (("read", (1, 1, 0)), ("unmask", (1, 1, 1))):
                text = (FOLDER / f"sqlserver/{name}.sql").read_text("utf-8")
                run(text.replace("$(DATABASE)", database))
                assert rows(connection, ask) == [seen]
            assert rows(connection, "SELECT a FROM dbo.t") == [("secret",)]
            text = (FOLDER / "sqlserver/snapshot-isolation.sql").read_text("utf-8")
            state = "SELECT snapshot_isolation_state FROM sys.databases WHERE name = DB_NAME()"
            run("ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION OFF")
            assert rows(connection, state) == [(0,)]
            run(text.replace("$(DATABASE)", database))
            assert rows(connection, state) == [(1,)]
    finally:
        server.close()
