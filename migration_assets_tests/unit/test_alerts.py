"""Alerts: what is sent, to a real receiver on a socket, when, and how often."""

import json
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
)

from migration_assets.assets.alerts import CHECK_SENSOR, RUN_SENSOR, build_alert_sensors
from migration_assets.assets.failures import failures
from migration_assets.assets.translator import MigrationTranslator, Stage
from migration_assets.definitions import build_definitions
from migration_assets.errors import AccessDeniedError, ConnectionLostError
from migration_assets.setting_choices import AlertFormat
from migration_assets.settings import AlertSettings
from migration_assets.webhook import MOST_PROBLEMS, Alert, Problem, body, send
from migration_assets_tests.unit.histories import plan_of, table

ORDERS = table("Orders", partitions=3)
TRANSLATOR = MigrationTranslator()
KEY = TRANSLATOR.asset_key(Stage.MSSQL, ORDERS)
PARTITIONS = dg.StaticPartitionsDefinition(list(ORDERS.partition_keys))
SECRET = "T0P/s3cr3t-path"


class Receiver:
    """A webhook: keeps what was posted, and answers with a status."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                content = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.status == 200:
                    outer.got.append(json.loads(content))
                self.send_response(outer.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/{SECRET}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with warnings.catch_warnings(), dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


class Sensors:
    """The two sensors, each with the cursor of its last tick, as the daemon keeps them."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.sensors = {s.name: s for s in build_alert_sensors(plan_of(ORDERS), TRANSLATOR)}
        self.cursors: dict[str, str | None] = dict.fromkeys(self.sensors)

    def tick(self, name: str) -> str:
        context = dg.build_sensor_context(self.instance, cursor=self.cursors[name])
        found = self.sensors[name].evaluate_tick(context)
        self.cursors[name] = found.cursor
        return found.skip_message or ""


def run(
    instance: dg.DagsterInstance,
    *,
    fails: bool = False,
    check: bool | None = None,
    key: str = "p001",
) -> str:
    """A run of one partition, whose step fails or whose check says something; returns its id."""

    @dg.asset(
        key=KEY,
        partitions_def=PARTITIONS,
        check_specs=[dg.AssetCheckSpec("row_count", asset=KEY)] if check is not None else [],
    )
    def orders(context: dg.AssetExecutionContext) -> Iterator[Any]:
        with failures(context, Stage.MSSQL, ORDERS, key):
            if check is not None:
                yield dg.AssetCheckResult(
                    passed=check, check_name="row_count", description="rows: expected 3, found 2."
                )
            if fails:
                raise AccessDeniedError(
                    "The login was refused.", code="MA-MS-005", next_step="Grant <it> & go."
                )
            yield dg.MaterializeResult()

    with warnings.catch_warnings():
        result = dg.materialize(
            [orders], instance=instance, partition_key=key, raise_on_error=False
        )
    assert result.success is not fails
    return result.run_id


def test_a_failed_run_is_told_once_with_table_partition_cause_and_command(
    instance: dg.DagsterInstance, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIGRATION_ALERT_WEBHOOK_URL", receiver.url)
    sensors = Sensors(instance)
    run(instance, fails=True)
    assert "Begins now" in sensors.tick(RUN_SENSOR)
    run(instance)
    failed = run(instance, fails=True)
    # The webhook is down: it stays to be told, and the address is in no word.
    receiver.status = 503
    said = sensors.tick(RUN_SENSOR)
    assert "answered 503" in said
    assert SECRET not in said
    receiver.status = 200
    assert sensors.tick(RUN_SENSOR) == "Alerts sent: 1."
    assert sensors.tick(RUN_SENSOR) == "Alerts sent: 0."
    (got,) = receiver.got
    assert (got["event"], got["run_id"]) == ("run failed", failed)
    assert got["problems"] == [
        {
            "table": "dbo.Orders",
            "partition": "p001",
            "stage": "mssql",
            "cause": "MA-MS-005: The login was refused. Grant <it> & go.",
            "next_step": "Grant <it> & go.",
            "retry": "migration-assets run --failed --tables dbo.Orders --partitions p001",
        }
    ]
    assert got["text"].splitlines()[1:] == [
        "- dbo.Orders p001 (mssql): MA-MS-005: The login was refused. Grant <it> & go.",
        "  `migration-assets run --failed --tables dbo.Orders --partitions p001`",
    ]
    # A run whose process was killed has no step that failed.
    killed = instance.create_run_for_job(
        _job(),
        tags={"dagster/partition": "p002"},
    )
    instance.report_run_failed(killed, "Its process 7 on here is gone.")
    instance.report_run_failed(killed, "Its process 7 on here is gone.")
    sensors.tick(RUN_SENSOR)
    assert len(receiver.got) == 2
    assert "is gone" in receiver.got[1]["problems"][0]["cause"]


def _job() -> dg.JobDefinition:
    @dg.op
    def nothing() -> None: ...

    @dg.job
    def migrate_p003() -> None:
        nothing()

    return migrate_p003


def test_a_failed_check_is_told_and_not_twice(
    instance: dg.DagsterInstance, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensors = Sensors(instance)
    for name in (RUN_SENSOR, CHECK_SENSOR):
        sensors.tick(name)
    quiet = run(instance, check=False, key="p002")
    failed = run(instance, check=False, fails=True)
    run(instance, check=True)
    assert "is not set" in sensors.tick(CHECK_SENSOR)
    monkeypatch.setenv("MIGRATION_ALERT_WEBHOOK_URL", receiver.url)
    _switch_on(instance, RUN_SENSOR)
    assert sensors.tick(CHECK_SENSOR) == "Alerts sent: 1."
    assert sensors.tick(RUN_SENSOR) == "Alerts sent: 1."
    told = {got["run_id"]: got for got in receiver.got}
    assert {one: got["event"] for one, got in told.items()} == {
        quiet: "check failed", failed: "run failed",
    }  # fmt: skip
    (problem,) = told[quiet]["problems"]
    assert problem["cause"] == "Check row_count failed. rows: expected 3, found 2."
    assert problem["retry"].endswith("--tables dbo.Orders --partitions p002")
    # Where nobody else would tell it, the failed run's check is told too.
    alone = Sensors(instance)
    alone.cursors[CHECK_SENSOR] = json.dumps({"began": 0.0, "since": 100.0})
    assert instance.schedule_storage is not None
    instance.schedule_storage.wipe()
    assert alone.tick(CHECK_SENSOR) == "Alerts sent: 2."


def _switch_on(instance: dg.DagsterInstance, name: str) -> None:
    """As the UI does; the origin is that of a location which is not looked at."""
    from dagster._core.remote_origin import (
        RegisteredCodeLocationOrigin,
        RemoteInstigatorOrigin,
        RemoteRepositoryOrigin,
    )

    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("here"), "repo"), name
    )
    instance.add_instigator_state(
        InstigatorState(
            origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData()
        )
    )


def problem(number: int) -> Problem:
    return Problem("dbo.t", f"p{number:03d}", "iceberg", "x" * 5000, "", "migration-assets run")


def test_each_service_gets_its_own_form_and_no_message_is_too_long() -> None:
    alert = Alert("run failed", "r1", "job", [problem(n) for n in range(25)])
    assert alert.text.splitlines()[-1] == "and 15 more: `migration-assets status --failed`"
    plain = body(alert, AlertFormat.JSON)
    assert (len(plain["problems"]), plain["more_problems"]) == (MOST_PROBLEMS, 15)
    assert len(json.dumps(plain)) < 20_000
    sharp = Alert("run failed", "r1", "job", [Problem("", "", "", "a <b> & c", "", "run")])
    assert "a &lt;b&gt; &amp; c" in body(sharp, AlertFormat.SLACK)["text"]
    (attachment,) = body(alert, AlertFormat.TEAMS)["attachments"]
    assert attachment["content"]["type"] == "AdaptiveCard"
    assert attachment["content"]["body"][0]["text"].startswith("Run failed: job job, run r1")


@pytest.mark.parametrize(("status", "said"), [(404, "answered 404"), (302, "answered 302")])
def test_what_the_webhook_does_not_take_is_told_without_its_address(
    receiver: Receiver, status: int, said: str
) -> None:
    receiver.status = status
    alert = Alert("run failed", "r1", "job", [problem(1)])
    with pytest.raises(ConnectionLostError, match=f"127.0.0.1 {said}") as told:
        send(alert, AlertSettings(webhook_url=receiver.url))
    assert SECRET not in str(told.value)
    nowhere = AlertSettings(webhook_url=f"http://127.0.0.1:9/{SECRET}")
    with pytest.raises(ConnectionLostError, match="Connection refused") as told:
        send(alert, nowhere)
    assert SECRET not in f"{told.value}{nowhere!r}"
    assert receiver.got == []


def test_sensors_are_off_and_loading_reads_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIGRATION_ALERT_WEBHOOK_URL", raising=False)
    found = {s.name: s for s in build_definitions(plan_of(ORDERS)).sensors or []}
    for name in (RUN_SENSOR, CHECK_SENSOR):
        assert found[name].default_status is dg.DefaultSensorStatus.STOPPED
