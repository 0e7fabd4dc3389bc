"""Lines of log, and the tally of what was tried again."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_fixed

from migration_assets import events


@pytest.fixture(autouse=True)
def _as_before():
    yield
    package = logging.getLogger("migration_assets")
    for handler in [h for h in package.handlers if type(h).__name__ == "_Stderr"]:
        package.removeHandler(handler)
    package.setLevel(logging.NOTSET)


def test_text_lines_quote_what_is_not_one_word(capsys):
    events.write_lines(as_json=False)
    with events.place(table="dbo.My Table", partition=None, attempt=1):
        events.event("retry", wait_s=0.5, cause='He said "no"\nand = left')
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert line.rstrip().split(" ", 2)[2] == (
        'event=retry table="dbo.My Table" attempt=1 wait_s=0.5 cause="He said \\"no\\" and = left"'
    )


def test_json_lines_are_objects_whatever_is_logged(capsys):
    events.write_lines(as_json=True)
    events.write_lines(as_json=True)  # a second time changes nothing
    events.event("started", table="dbo.Größe")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logging.getLogger("migration_assets.iceberg.commit").exception("It %s.", "failed")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (first["event"], first["table"], first["level"]) == ("started", "dbo.Größe", "INFO")
    assert second["event"] == "message"
    assert second["logger"] == "migration_assets.iceberg.commit"
    assert second["text"] == "It failed."
    assert "ValueError: two\nlines" in second["exception"]


def test_retries_of_requests_are_counted_for_their_step_alone():
    with events.place(table="a") as outer:
        with events.place(table="b") as inner:
            events.retried("commit", wait_s=0.25, error="conflict")
        events.retried("load", wait_s=1, error="unknown snapshot", times=2)
    events.retried("nobody's", wait_s=1, error="x")
    assert (inner.retries, inner.waited_s) == (1, 0.25)
    assert (outer.retries, outer.waited_s) == (2, 1)


def test_threads_that_take_the_context_along_are_counted():
    with events.place(table="a") as tally, ThreadPoolExecutor(2) as threads:
        run = copy_context().run
        threads.submit(run, events.retried, "S3 UploadPart", wait_s=None, error="x").result()
    assert tally.retries == 1


def test_tenacity_s_waits_are_counted(caplog):
    caplog.set_level(logging.INFO, "migration_assets")
    attempts = []

    def work():
        attempts.append(1)
        if len(attempts) < 3:
            raise KeyError("busy")

    retrying = Retrying(
        retry=retry_if_exception_type(KeyError),
        stop=stop_after_attempt(5),
        wait=wait_fixed(0.001),
        before_sleep=events.before_sleep("commit"),
    )
    with events.place(table="a") as tally:
        retrying(work)
    assert (tally.retries, tally.waited_s) == (2, pytest.approx(0.002))
    assert [r.fields["what"] for r in caplog.records] == ["commit", "commit"]
    assert caplog.records[0].fields["cause"] == "'busy'"


def test_what_boto3_sends_again_is_counted(monkeypatch):
    client = boto3.client(
        "s3", region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    events.watch_retries(client, "S3")
    statuses = [503, 503, 200]

    class Raw:
        @staticmethod
        def stream(*_, **__):
            yield b""

    def answer(request, **_):
        return AWSResponse(request.url, statuses.pop(0), {}, Raw())

    client.meta.events.register("before-send.s3", answer)
    with events.place(table="a") as tally:
        client.head_bucket(Bucket="lake")
    assert statuses == []
    assert tally.retries == 2
