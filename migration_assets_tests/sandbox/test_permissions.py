"""What docs/permissions.md has us grant is enough, and not one of it too much: moto checks IAM policies."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import moto.settings
import pytest
from moto.core.responses import ActionAuthenticatorMixin
from moto.server import ThreadedMotoServer

from migration_assets.errors import AccessDeniedError, MigrationError
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.output_files import PART_BYTES
from migration_assets.operations import doctor
from migration_assets.settings import LakeSettings

DOCUMENT = Path(__file__).parents[2] / "docs" / "permissions.md"
SECTION = DOCUMENT.read_text("utf-8").split("## S3 and Glue (our own")[1].split("\n## ")[0]
ACTIONS = sorted(set(re.findall(r"`((?:s3|glue):[A-Z]\w+)`", SECTION)))
USER, BUCKET = "migration", "lake"


@dataclass
class Account:
    """An AWS account with one user, and a lake that is used in that user's name."""

    lake: Lake
    iam: Any
    s3: Any

    def allow(self, actions: list[str]) -> None:
        """Let the user's policy have these actions and nothing else."""
        with checked(False):
            statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
            policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
            self.iam.put_user_policy(UserName=USER, PolicyName="ours", PolicyDocument=policy)

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


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        where = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1"}
        root = {"aws_access_key_id": "root", "aws_secret_access_key": "root"}
        iam, s3 = (boto3.client(name, **where, **root) for name in ("iam", "s3"))
        s3.create_bucket(Bucket=BUCKET)
        iam.create_user(UserName=USER)
        key = iam.create_access_key(UserName=USER)["AccessKey"]
        settings = LakeSettings(
            _env_file=None,
            region=where["region_name"],
            endpoint_url=where["endpoint_url"],
            access_key_id=key["AccessKeyId"],
            secret_access_key=key["SecretAccessKey"],
            bucket=BUCKET,
            max_attempts=1,
        )
        with Lake(settings) as lake:
            yield Account(lake, iam, s3)
        iam.close()
        s3.close()
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


def test_the_documented_actions_are_enough_and_each_is_needed(account: Account) -> None:
    assert len(ACTIONS) > 10
    with checked(True):
        account.allow(ACTIONS)
        use(account.lake)
        give_up(account.lake)
        assert account.uploads() == []
        for missing in ACTIONS:
            account.allow([action for action in ACTIONS if action != missing])
            if missing == "s3:AbortMultipartUpload":
                # The error that led to the abort is the one that is told; the upload is left.
                give_up(account.lake)
                assert len(account.uploads()) == 1
                continue
            with pytest.raises(AccessDeniedError) as refused:
                use(account.lake)
            assert "access was denied" in str(refused.value), missing
            assert "\n" not in str(refused.value), missing
            account.allow(ACTIONS)
            with suppress(MigrationError):
                doctor._drop_probe(account.lake)
