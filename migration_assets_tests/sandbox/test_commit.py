"""Extracts and commits over real sockets: S3 and Glue as boto3, pyarrow and pyiceberg speak to them."""

import json
import multiprocessing
import os
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from pyiceberg.catalog.glue import GlueCatalog

from migration_assets.errors import (
    AccessDeniedError,
    ConnectionLostError,
    MigrationError,
    ObjectNotFoundError,
    ReceiptError,
    ServerBusyError,
)
from migration_assets.iceberg.commit import partition_rows, snapshot_holding
from migration_assets.iceberg.intents import StoredIntents
from migration_assets.iceberg.lake import Lake
from migration_assets.iceberg.output_files import PART_BYTES
from migration_assets.plan import TablePlan
from migration_assets.receipts import ExtractReceipt
from migration_assets.sandbox.control import Fault
from migration_assets.sandbox.launcher import Sandbox
from migration_assets.settings import LakeSettings
from migration_assets_tests.unit.iceberg_tables import (
    commit_all,
    expected_rows,
    extract,
    iceberg_table,
    planned_table,
    stored_rows,
)


@pytest.fixture(scope="module")
def statements(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("statements")


@pytest.fixture(scope="module")
def running(statements: Path) -> Iterator[Sandbox]:
    with Sandbox(["aws"], statements_dir=statements) as sandbox:
        yield sandbox


@pytest.fixture
def aws(running: Sandbox, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    monkeypatch.chdir(tmp_path)
    for name, value in running.settings.items():
        monkeypatch.setenv(name, value)
    yield running
    running.control("aws").arm()


@pytest.fixture
def lake(aws: Sandbox) -> Iterator[Lake]:
    with Lake(LakeSettings.load()) as lake:
        yield lake


@pytest.fixture
def table(lake: Lake) -> TablePlan:
    return planned_table(lake.settings.warehouse, f"orders_{secrets.token_hex(4)}", partitions=40)


@pytest.fixture
def intents(lake: Lake, table: TablePlan) -> StoredIntents:
    return StoredIntents(lake.store, f"{lake.settings.warehouse}/.receipts/{table.iceberg_table}")


def s3(aws: Sandbox) -> Any:
    settings = aws.settings
    return boto3.client(
        "s3",
        endpoint_url=settings["AWS_ENDPOINT_URL"],
        region_name=settings["AWS_REGION"],
        aws_access_key_id=settings["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=settings["AWS_SECRET_ACCESS_KEY"],
    )


def requests(statements: Path) -> list[dict[str, Any]]:
    lines = (statements / "aws.jsonl").read_text().splitlines()
    return [entry for entry in map(json.loads, lines) if "path" in entry]


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class TestStore:
    def test_small_files(self, lake: Lake) -> None:
        root = f"{lake.settings.warehouse}/small {secrets.token_hex(4)}"
        store, uri = lake.store, f"{root}/a/ü %20=1.json"
        assert (store.size(uri), store.exists(uri)) == (None, False)
        store.write(uri, b"one")
        store.write(uri, b"three")
        assert (store.read(uri), store.size(uri)) == (b"three", 5)
        assert store.read_tail(uri, 2) == (b"ee", 5)
        assert store.read_tail(uri, 99) == (b"three", 5)
        with store.open_input(uri) as file:
            file.seek(2)
            assert file.read() == b"ree"
        store.write(f"{root}/b", b"")
        store.write(f"{root}2/c", b"")
        assert [(file.uri, file.size) for file in store.list(root)] == [(uri, 5), (f"{root}/b", 0)]
        store.delete([uri, f"{root}/none", f"{root}/b"])
        assert list(store.list(root)) == []
        for read in (store.read, store.open_input, lambda u: store.read_tail(u, 1)):
            with pytest.raises(ObjectNotFoundError, match="ü %20=1"):
                read(uri)

    def test_more_than_a_page_of_keys(self, lake: Lake) -> None:
        root = f"{lake.settings.warehouse}/many{secrets.token_hex(4)}"
        for number in range(1010):
            lake.store.write(f"{root}/{number}", b"")
        uris = [file.uri for file in lake.store.list(root)]
        assert len(uris) == 1010
        lake.store.delete(uris)
        assert list(lake.store.list(root)) == []

    def test_multipart_upload(self, lake: Lake, statements: Path) -> None:
        uri = f"{lake.settings.warehouse}/big-{secrets.token_hex(4)}"
        data = secrets.token_bytes(2 * PART_BYTES + 17)
        with lake.store.open_output(uri) as file:
            for start in range(0, len(data), 1_000_003):
                file.write(data[start : start + 1_000_003])
            assert not lake.store.exists(uri)
        assert file.size == len(data)
        assert lake.store.read(uri) == data
        name = uri.rpartition("/")[2]
        puts = [r for r in requests(statements) if r["method"] == "PUT" and name in r["path"]]
        assert len(puts) == 3

    @pytest.mark.parametrize("size", [100, PART_BYTES + 100])
    def test_aborted_upload_is_never_visible(self, lake: Lake, aws: Sandbox, size: int) -> None:
        uri = f"{lake.settings.warehouse}/aborted-{secrets.token_hex(4)}"

        def write() -> None:
            with lake.store.open_output(uri) as file:
                file.write(b"x" * size)
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            write()
        assert not lake.store.exists(uri)
        bucket = aws.settings["S3_BUCKET"]
        assert "Uploads" not in s3(aws).list_multipart_uploads(Bucket=bucket)

    def test_failing_upload_is_aborted(self, aws: Sandbox) -> None:
        with Lake(LakeSettings.load(max_attempts=1)) as lake:
            uri = f"{lake.settings.warehouse}/failing-{secrets.token_hex(4)}"
            aws.control("aws").arm(Fault("unavailable", match="partNumber=2"))

            def write() -> None:
                with lake.store.open_output(uri) as file:
                    file.write(secrets.token_bytes(2 * PART_BYTES + 1))

            with pytest.raises(ServerBusyError, match="failing-"):
                write()
            assert not lake.store.exists(uri)
        bucket = aws.settings["S3_BUCKET"]
        assert "Uploads" not in s3(aws).list_multipart_uploads(Bucket=bucket)

    def test_body_that_breaks_off_is_read_again(self, lake: Lake, aws: Sandbox) -> None:
        uri = f"{lake.settings.warehouse}/broken-{secrets.token_hex(4)}"
        data = secrets.token_bytes(100_000)
        lake.store.write(uri, data)
        aws.control("aws").arm(Fault("drop", match="GET .*broken-", times=1, after_bytes=500))
        assert lake.store.read(uri) == data
        aws.control("aws").arm(Fault("drop", match="GET .*broken-", times=1, after_bytes=500))
        assert lake.store.read_tail(uri, 1000) == (data[-1000:], len(data))


class TestCommit:
    def test_as_another_reader_sees_it(
        self, lake: Lake, aws: Sandbox, table: TablePlan, intents: StoredIntents
    ) -> None:
        extracted = [extract(lake, table, 0), extract(lake, table, 1), extract(lake, table, 2, 0)]
        receipts = commit_all(lake, table, extracted, intents)
        commit_all(lake, table, [extract(lake, table, 1, rows=3)], intents)
        settings = aws.settings
        other = GlueCatalog(
            "other",
            **{
                "glue.endpoint": settings["AWS_ENDPOINT_URL"],
                "s3.endpoint": settings["AWS_ENDPOINT_URL"],
                "client.region": settings["AWS_REGION"],
                "client.access-key-id": settings["AWS_ACCESS_KEY_ID"],
                "client.secret-access-key": settings["AWS_SECRET_ACCESS_KEY"],
            },  # type: ignore[arg-type]
        )
        found = other.load_table((table.namespace, table.iceberg_table))
        rows = sorted(
            found.scan().to_arrow().to_pylist(),
            key=lambda row: (row["source_partition"], row["order id"]),
        )
        assert rows == expected_rows(table, (0, 10), (1, 3))
        assert partition_rows(lake, table, ["p000", "p001", "p002"]) == {0: 10, 1: 3, 2: 0}
        current = found.current_snapshot()
        assert current is not None
        assert snapshot_holding(lake, table, receipts[0]) == current.snapshot_id

    def test_one_swap_however_many_partitions(
        self, lake: Lake, table: TablePlan, intents: StoredIntents, statements: Path
    ) -> None:
        commit_all(lake, table, [extract(lake, table, 0)], intents)
        before = len(requests(statements))
        commit_all(lake, table, [extract(lake, table, n, rows=1) for n in range(40)], intents)
        targets = [r.get("target") for r in requests(statements)[before:]]
        assert targets.count("AWSGlue.UpdateTable") == 1
        assert stored_rows(lake, table) == expected_rows(table, *[(n, 1) for n in range(40)])

    def test_metadata_are_read_once(
        self, lake: Lake, table: TablePlan, intents: StoredIntents, statements: Path
    ) -> None:
        """They never change, and who commits and loads partition after partition sees them often."""
        before = len(requests(statements))
        commit_all(lake, table, [extract(lake, table, 0)], intents)
        commit_all(lake, table, [extract(lake, table, 1)], intents)
        assert partition_rows(lake, table, ["p000", "p001"]) == {0: 10, 1: 10}
        read = [
            r["path"]
            for r in requests(statements)[before:]
            if r["method"] == "GET" and "/metadata/" in r["path"]
        ]
        assert read == []  # all were written by this process

    def test_a_receipt_with_a_footer_longer_than_its_tail(
        self, lake: Lake, table: TablePlan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("migration_assets.iceberg.footers.TAIL_BYTES", 64)
        commit_all(lake, table, [extract(lake, table, 0)])
        assert stored_rows(lake, table) == expected_rows(table, (0, 10))

    def test_lost_answer_is_decided_by_the_table(
        self,
        lake: Lake,
        aws: Sandbox,
        table: TablePlan,
        intents: StoredIntents,
        statements: Path,
    ) -> None:
        """boto3 repeats the swap, and Glue then reports a conflict with the one that landed."""
        commit_all(lake, table, [extract(lake, table, 0)], intents)
        before = len(requests(statements))
        aws.control("aws").arm(Fault("drop", match="UpdateTable", times=1, after_bytes=0))
        (receipt,) = commit_all(lake, table, [extract(lake, table, 0, rows=4)], intents)
        swaps = [
            r for r in requests(statements)[before:] if r.get("target") == "AWSGlue.UpdateTable"
        ]
        assert [swap["outcome"] for swap in swaps] == ["dropped", "error"]
        found = iceberg_table(lake, table)
        assert receipt.snapshot_id == found.current_snapshot().snapshot_id
        assert len(found.snapshots()) == 3
        assert stored_rows(lake, table) == expected_rows(table, (0, 4))

    def test_throttled_bucket(
        self, lake: Lake, aws: Sandbox, table: TablePlan, intents: StoredIntents
    ) -> None:
        aws.control("aws").arm(Fault("unavailable", percent=15))
        extracted = [extract(lake, table, number) for number in range(4)]
        for receipt in extracted:
            commit_all(lake, table, [receipt], intents)
        aws.control("aws").arm()
        assert stored_rows(lake, table) == expected_rows(table, *[(n, 10) for n in range(4)])

    def test_busy_catalog(self, aws: Sandbox, table: TablePlan) -> None:
        with Lake(LakeSettings.load(max_attempts=1)) as lake:
            extracted = extract(lake, table, 0)
            aws.control("aws").arm(Fault("unavailable", match="UpdateTable"))
            with pytest.raises(ServerBusyError, match=table.iceberg_table):
                commit_all(lake, table, [extracted])
            aws.control("aws").arm()
            commit_all(lake, table, [extracted])
            assert stored_rows(lake, table) == expected_rows(table, (0, 10))

    def test_spent(self, lake: Lake, table: TablePlan, intents: StoredIntents) -> None:
        old = extract(lake, table, 0)
        commit_all(lake, table, [old], intents)
        commit_all(lake, table, [extract(lake, table, 0)], intents)
        with pytest.raises(ReceiptError, match="is spent"):
            commit_all(lake, table, [old], intents)


def commit_in_process(settings: dict[str, str], plan: str, receipts: list[str]) -> None:
    """Commit receipts one by one, in a process of its own."""
    os.environ.update(settings)
    table = TablePlan.model_validate_json(plan)
    with Lake(LakeSettings.load()) as lake:
        root = f"{lake.settings.warehouse}/.receipts/{table.iceberg_table}"
        for receipt in receipts:
            extracted = ExtractReceipt.model_validate_json(receipt)
            commit_all(lake, table, [extracted], StoredIntents(lake.store, root))


def start(aws: Sandbox, table: TablePlan, receipts: list[ExtractReceipt]) -> Any:
    process = multiprocessing.get_context("spawn").Process(
        target=commit_in_process,
        args=(aws.settings, table.model_dump_json(), [r.model_dump_json() for r in receipts]),
    )
    process.start()
    return process


class TestProcesses:
    def test_different_partitions_at_once(self, lake: Lake, aws: Sandbox, table: TablePlan) -> None:
        extracted = [extract(lake, table, number, rows=2) for number in range(40)]
        processes = [start(aws, table, extracted[worker::4]) for worker in range(4)]
        for process in processes:
            process.join(120)
        assert [process.exitcode for process in processes] == [0, 0, 0, 0]
        assert stored_rows(lake, table) == expected_rows(table, *[(n, 2) for n in range(40)])
        assert len(iceberg_table(lake, table).snapshots()) == 40

    def test_killed_between_intent_and_swap(
        self, lake: Lake, aws: Sandbox, table: TablePlan, intents: StoredIntents
    ) -> None:
        commit_all(lake, table, [extract(lake, table, 0)], intents)
        before = iceberg_table(lake, table).metadata_location
        aws.control("aws").arm(Fault("delay", match="UpdateTable", times=1, seconds=60))
        extracted = extract(lake, table, 0, rows=3)
        process = start(aws, table, [extracted])
        try:
            until(lambda: not any(f.times for f in aws.control("aws").faults()))
            (intent,) = intents.load(["p000"])["p000"]
            assert intent.attempt == extracted.attempt
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.join(10)
        assert iceberg_table(lake, table).metadata_location == before
        assert stored_rows(lake, table) == expected_rows(table, (0, 10))
        commit_all(lake, table, [extracted], intents)
        assert stored_rows(lake, table) == expected_rows(table, (0, 3))


class TestWrongSettings:
    """Each names what is wrong in one sentence, says what to do, and tells no secret."""

    def refused(self, error: type[MigrationError], match: str, **changed: Any) -> None:
        settings = LakeSettings.load(max_attempts=1, connect_timeout_s=2, **changed)
        with Lake(settings) as lake:
            table = planned_table(settings.warehouse)
            for touch in (
                lambda: lake.store.write(f"{settings.warehouse}/x", b""),
                lambda: partition_rows(lake, table),
                lambda: extract(lake, table, 0),
            ):
                with pytest.raises(error, match=match) as raised:
                    touch()
                assert raised.value.next_step
                assert settings.secret_access_key is not None
                assert settings.secret_access_key.get_secret_value() not in str(raised.value)

    @pytest.mark.usefixtures("aws")
    def test_nobody_listens(self) -> None:
        self.refused(ConnectionLostError, "127.0.0.1:9", endpoint_url="http://127.0.0.1:9")

    def test_no_such_bucket(self, lake: Lake) -> None:
        with Lake(LakeSettings.load(bucket="nobodys")) as other:
            table = planned_table(other.settings.warehouse, "t")
            with pytest.raises(ObjectNotFoundError, match=r"s3://nobodys/.* no such bucket"):
                extract(other, table, 0)
            with pytest.raises(ObjectNotFoundError, match=r"shop_dbo\.t.* no such bucket"):
                commit_all(other, table, [extract(lake, table, 0, rows=0)])

    @pytest.mark.parametrize("code", ["AccessDenied", "ExpiredToken", "InvalidAccessKeyId"])
    def test_denied(self, aws: Sandbox, lake: Lake, code: str) -> None:
        table = planned_table(lake.settings.warehouse)
        aws.control("aws").arm(Fault("error", number=403, message=f"{code}: no"))
        for touch in (
            lambda: lake.store.read(f"{lake.settings.warehouse}/x"),
            lambda: lake.store.open_input(f"{lake.settings.warehouse}/x").read(),
            lambda: extract(lake, table, 0),
        ):
            with pytest.raises(AccessDeniedError):
                touch()
