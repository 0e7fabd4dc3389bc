"""A barrier without servers: its rules, what a plan says of it, and that a set is whole or void."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import dagster as dg
import pytest

from migration_assets.assets import barrier_extraction
from migration_assets.assets.barrier import build_barrier_asset, refuse_differences, refuse_part
from migration_assets.assets.barrier_extraction import OneSet
from migration_assets.assets.build import NO_POINT, point_tag
from migration_assets.assets.checks import source_verdicts
from migration_assets.assets.extractor import Extraction
from migration_assets.assets.failures import retry_command
from migration_assets.assets.mssql import consistency_metadata
from migration_assets.choices import Engine, TableConsistency, VerificationLevel
from migration_assets.definitions import build_definitions, build_resources
from migration_assets.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConnectionLostError,
    ServerBusyError,
    VerificationError,
)
from migration_assets.iceberg.commit import _point_properties
from migration_assets.iceberg.lake import Lake
from migration_assets.memory import MemoryLimit
from migration_assets.mssql.barrier import Barrier, Transaction, _is_read_only, _point
from migration_assets.mssql.client import SqlServer
from migration_assets.mssql.point_in_time import Standpoint
from migration_assets.operations.run import Selection, _work
from migration_assets.operations.schedule import Schedule, Work
from migration_assets.operations.status import State, partition_statuses
from migration_assets.operations.workers import PartitionMade
from migration_assets.plan import TablePlan
from migration_assets.plan_changes import compare_plans
from migration_assets.receipts import DataFile, ExtractReceipt, Fingerprint, PointInTime
from migration_assets.rules_file import load_rules
from migration_assets.schema import TableKind
from migration_assets_tests.unit.histories import (
    ICEBERG,
    MSSQL,
    STARROCKS,
    TRANSLATOR,
    instance,
    materialize,
    plan_of,
    table,
)
from migration_assets_tests.unit.scripted_server import ScriptedServer
from migration_assets_tests.unit.source_tables import only, planned, source
from migration_assets_tests.unit.test_consistency import BARE
from migration_assets_tests.unit.test_replanning import big, made, text_of

__all__ = ["instance"]  # a fixture

KEYS = ("p000", "p001", "p002", "p003")


def guarded(name: str = "t", partitions: int = 4) -> TablePlan:
    return table(name, partitions=partitions).replaced(consistency=TableConsistency.BARRIER)


def with_rules(**of_the_table: Any) -> dict[str, Any]:
    return {"tables": {"dbo.orders": {"consistency": "barrier", **of_the_table}}}


# -- rules and plan --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "needle"),
    [
        ("consistency: barrier\n", r"line 1: .*a barrier is of one table.*dbo\.accounts"),
        (
            "tables:\n  dbo.a:\n    consistency: statement\n",
            r"line 3: .*statement is of all tables.*has only barrier",
        ),
        ("tables:\n  dbo.a:\n    consistency: barier\n", "'barrier'"),
        ("defaults: {consistency: barrier}\n", "consistency"),
    ],
)
def test_a_barrier_is_of_a_table(tmp_path: Path, text: str, needle: str) -> None:
    path = tmp_path / "migration.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=needle):
        load_rules(path)


def test_a_barrier_changes_nothing_of_the_table() -> None:
    """Neither its id, nor the id of plans without one."""
    found, plain = only(source(), rules=with_rules()), only(source())
    assert found.at_barrier
    assert (found.warnings, found.block_writers) == ((), False)
    assert found.table_id == plain.table_id
    assert plain.model_dump().keys().isdisjoint({"consistency", "block_writers"})
    assert TablePlan.model_validate(found.model_dump(mode="json")) == found


def test_the_rule_cuts_nothing_anew_and_is_shown_as_a_change() -> None:
    old = made(big(10**7, 10**7))
    new = made(big(10**7, 10**7), old=old, rules=with_rules(block_writers=True))
    (before,), (after,) = old.tables, new.tables
    assert (before.cut_rules, before.key_ranges) == (after.cut_rules, after.key_ranges)
    changes = text_of(compare_plans(old, new))
    assert "consistency: barrier" in changes
    assert "block writers" in changes


def test_the_rule_is_asked_for_since_partitions_of_several_states_are_stale() -> None:
    old = made(big(10**7, 10**7))
    new = made(big(10**7, 10**7), old=old, rules=with_rules())
    changes = compare_plans(old, new)
    assert changes.is_to_be_accepted
    assert "migration-assets run --failed --tables dbo.orders" in text_of(changes)
    assert not compare_plans(new, old).is_to_be_accepted
    one = made(big(10, 10))
    assert not compare_plans(one, made(big(10, 10), old=one, rules=with_rules())).is_to_be_accepted


def test_the_plan_names_the_tables_at_a_barrier() -> None:
    notes = planned(source("a"), source("b"), rules={"tables": {"*.a": {"consistency": "barrier"}}})
    assert notes.notes[-1] == "As of one point in time each, behind a barrier: dbo.a."


def test_a_large_table_at_a_barrier_stays_with_the_arrow_engine() -> None:
    found = only(source(rows=10**9), rules=with_rules(), has_cluster=True)
    assert found.engine is Engine.ARROW


@pytest.mark.parametrize(
    ("rules", "more", "needle"),
    [
        (with_rules(engine="spark"), {}, r"engine spark reads.*database_snapshot"),
        (
            {**with_rules(), "consistency": "database_snapshot"},
            {},
            "no effect with consistency database_snapshot",
        ),
        (with_rules(), {"snapshot_isolation": False}, r"ALTER DATABASE \[shop\].*block_writers"),
        ({"tables": {"*": {"block_writers": True}}}, {}, "block_writers has no effect"),
        (
            with_rules(),
            {"kind": TableKind.QUERY},
            "locks a table for a moment, and this is a query",
        ),
        (
            with_rules(window={"column": "at", "by": "month"}),
            {},
            "windows are there to be migrated",
        ),
    ],
)
def test_what_cannot_be_is_refused_when_planning(
    rules: dict[str, Any], more: dict[str, Any], needle: str
) -> None:
    more = dict(more)
    table = source(kind=more.pop("kind", TableKind.TABLE))
    with pytest.raises(ConfigurationError, match=needle) as raised:
        only(table, rules=rules, **more)
    assert "dbo.orders" in raised.value.found
    assert raised.value.next_step


def test_that_writers_will_wait_is_a_warning() -> None:
    rules = with_rules(block_writers=True)
    assert only(source(), rules=rules).warnings == ()
    (warning,) = only(source(), rules=rules, snapshot_isolation=False).warnings
    assert "Writers of this table wait" in warning


# -- what receipts and events say ------------------------------------------------------------------

POINT = PointInTime(barrier="b1", change_tracking_version=7)


def receipt(partition_key: str = "p000", **changes: Any) -> ExtractReceipt:
    given = {**BARE, "partition_key": partition_key, "consistency": "barrier"}
    return ExtractReceipt.model_validate({**given, "point_in_time": POINT, **changes})


def test_the_set_stands_in_metadata_properties_and_tags() -> None:
    assert consistency_metadata(receipt()) == {
        "read consistency": "barrier", "barrier": "b1", "change tracking version": "7",
    }  # fmt: skip
    assert _point_properties([receipt(), receipt("p001")]) == {
        "migration.source.consistency": "barrier",
        "migration.source.barrier": "b1",
        "migration.source.change-tracking-version": "7",
    }
    assert point_tag(POINT) == "b1"


@pytest.mark.parametrize("word", ["barrier", "table lock"])
def test_at_a_barrier_nothing_excuses_a_difference(word: str) -> None:
    wrong = receipt(consistency=word, source_fingerprint=Fingerprint(rows=1))
    verdicts = {"p000": source_verdicts(wrong, lambda: Fingerprint(rows=2))}
    with pytest.raises(VerificationError, match=r"Partition p000: .*None of the 1 partitions"):
        refuse_differences(guarded(), verdicts)
    refuse_differences(guarded(), {"p000": source_verdicts(receipt(), lambda: None)})


# -- a set is whole or void ------------------------------------------------------------------------


class Reader:
    """A transaction whose partitions are what a script says: nothing, an error, or a wait."""

    def __init__(self, script: dict[str, Callable[[], None]]) -> None:
        self.script = script
        self.checked = 0

    @contextmanager
    def partition(self, key_range: Any, **_: Any) -> Iterator[Any]:
        stopped = threading.Event()
        key = f"p{key_range.source_partition:03d}"
        yield SimpleNamespace(key=key, stopped=stopped, cancel=stopped.set, script=self.script)

    def check(self) -> None:
        self.checked += 1


class Files:
    """An object store that only remembers what was removed."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def delete(self, paths: list[str]) -> None:
        self.removed += paths


def attempt(
    script: dict[str, Callable[[], None]], *, readers: int = 2, lock: Reader | None = None
) -> tuple[OneSet, Files, list[Reader]]:
    def write(_: Any, partition_key: str, source: Any) -> ExtractReceipt:
        act = source.script.get(partition_key)
        if act is waits:
            assert source.stopped.wait(30), "nobody broke it off"
            raise ServerBusyError("It was cancelled.")
        if act is not None:
            act()
        return receipt(partition_key, files=(DataFile(path=partition_key, bytes=1, rows=0),))

    extraction = SimpleNamespace(
        table=guarded(),
        batch_rows=1,
        memory=MemoryLimit(),
        level=VerificationLevel.FULL,
        write=write,
    )
    files, made = Files(), [Reader(script) for _ in range(readers)]
    barrier = Barrier(
        tuple(cast("list[Transaction]", made)),
        Standpoint(snapshot=True, watched=False, point=POINT),
        "barrier",
        cast("Transaction | None", lock),
    )
    lake = cast("Lake", SimpleNamespace(store=files))
    return OneSet(cast("Extraction", extraction), barrier, lake, KEYS), files, made


def waits() -> None:
    """A partition whose rows never come."""


def fails(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.mark.parametrize("readers", [1, 2, 4])
def test_all_partitions_are_extracted_and_each_reader_looked_at(readers: int) -> None:
    whole, files, made = attempt({}, readers=readers)
    assert sorted(whole.extract()) == list(KEYS)
    assert files.removed == []
    assert sum(reader.checked for reader in made) == len(KEYS)


def test_one_that_fails_breaks_the_others_off_and_leaves_nothing() -> None:
    lost = ConnectionLostError("It is gone.")
    whole, files, _ = attempt({"p000": waits, "p002": fails(lost)})
    with pytest.raises(ConnectionLostError, match=r"^It is gone\.$"):
        whole.extract()
    assert files.removed == ["p001"]


def test_what_is_no_error_of_ours_is_raised_as_well() -> None:
    whole, files, _ = attempt({"p001": fails(KeyError("x"))}, readers=1)
    with pytest.raises(KeyError):
        whole.extract()
    assert files.removed == ["p000"]


def test_a_lock_that_is_lost_at_the_very_end_voids_all() -> None:
    class Lost(Reader):
        def check(self) -> None:
            super().check()
            if self.checked == len(KEYS):
                raise ConnectionLostError("The lock is gone.")

    whole, files, _ = attempt({}, lock=Lost({}))
    with pytest.raises(ConnectionLostError, match="lock"):
        whole.extract()
    assert sorted(files.removed) == list(KEYS)


def test_an_interrupt_does_not_wait_for_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(barrier_extraction, "wait", interrupted)
    whole, _, _ = attempt(dict.fromkeys(KEYS, waits))
    with pytest.raises(KeyboardInterrupt):
        whole.extract()


# -- the server's state ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([("READ_ONLY",)], True),
        ([("READ_WRITE",)], False),
        ([(None,)], False),
        (AccessDeniedError("No."), False),
    ],
)
def test_a_database_that_nobody_writes_to_is_known(answer: Any, *, expected: bool) -> None:
    server = cast("SqlServer", ScriptedServer({"Updateability": answer}))
    assert _is_read_only(server) is expected


def test_versions_are_asked_behind_the_lock_where_there_are_any() -> None:
    asked: list[str] = []

    class Locked:
        @staticmethod
        def run(sql: str) -> tuple[Any, ...]:
            asked.append(sql)
            if "fn_cdc" in sql:
                raise AccessDeniedError("No.")
            return (None,) if "SYSDATETIME" in sql else (9,)

    lock = cast("Transaction", Locked())
    before = PointInTime(change_tracking_version=7, lsn="0x01")
    found = _point(lock, before, is_exact=True)
    assert (found.change_tracking_version, found.lsn) == (9, "0x01")
    assert _point(lock, before, is_exact=False).change_tracking_version == 7
    assert _point(lock, PointInTime(), is_exact=True).change_tracking_version is None
    assert sum("CHANGE_TRACKING" in sql for sql in asked) == 1


# -- runs ------------------------------------------------------------------------------------------


def work(
    instance: dg.DagsterInstance, of: TablePlan, selection: Selection
) -> list[tuple[str, Any]]:
    found = _work(instance, [of], selection, TRANSLATOR)
    return [(item.partition_key, item.stages[0]) for item in found]


def note(instance: dg.DagsterInstance, of: TablePlan, point: str, *keys: str) -> None:
    """Materialize the extraction of some partitions as of a point in time."""
    for key in keys:
        materialize(instance, of, MSSQL, key, point=point)


def test_a_part_of_the_partitions_is_not_extracted(instance: dg.DagsterInstance) -> None:
    made = guarded()
    refuse_part(made, KEYS)
    for selection in (
        Selection(partition_keys=["p001"]),
        Selection(partition_keys=["p001"], only_failed=True),
    ):
        with pytest.raises(ConfigurationError, match=r"dbo\.t has .*without p000.*all partitions"):
            work(instance, made, selection)
    later = Selection(partition_keys=["p001"], first=ICEBERG)
    assert work(instance, made, later) == [("p001", ICEBERG)]
    assert retry_command(made, "p001") == "migration-assets run --failed --tables dbo.t"


def test_the_command_of_a_name_with_blanks_can_be_pasted() -> None:
    with pytest.raises(ConfigurationError) as raised:
        refuse_part(guarded("order lines"), ["p000"])
    assert "run --tables 'dbo.order lines'`" in raised.value.next_step


def test_failed_extracts_all_again_when_one_is_missing(instance: dg.DagsterInstance) -> None:
    made, failed = guarded(), Selection(only_failed=True)
    note(instance, made, "b1", *KEYS[:3])
    assert work(instance, made, failed) == [(key, MSSQL) for key in KEYS]
    note(instance, made, "b1", KEYS[3])
    assert work(instance, made, failed) == [(key, ICEBERG) for key in KEYS]
    plain = table("t", partitions=4)
    assert work(instance, plain, failed) == [(key, ICEBERG) for key in KEYS]


@pytest.mark.parametrize("points", [("b1", "b2"), (NO_POINT, NO_POINT), ("b1", NO_POINT)])
def test_partitions_of_several_states_are_stale(
    instance: dg.DagsterInstance, points: tuple[str, str]
) -> None:
    made = guarded()
    note(instance, made, points[0], *KEYS[:2])
    note(instance, made, points[1], *KEYS[2:])

    def states(of: TablePlan) -> set[State]:
        return {s.states[MSSQL] for s in partition_statuses(instance, [of], TRANSLATOR)}

    assert states(made) == {State.STALE}
    assert states(table("t", partitions=4)) == {State.DONE}
    assert len(work(instance, made, Selection(only_failed=True))) == len(KEYS)
    note(instance, made, "b3", *KEYS)
    assert states(made) == {State.DONE}


def test_a_single_partition_is_of_one_state(instance: dg.DagsterInstance) -> None:
    made = guarded(partitions=1)
    note(instance, made, NO_POINT, "p000")
    (status,) = partition_statuses(instance, [made], TRANSLATOR)
    assert status.states[MSSQL] is State.DONE


def test_one_run_extracts_all_and_what_follows_waits_for_all() -> None:
    made = guarded()
    stages = (MSSQL, ICEBERG, STARROCKS)
    items = [Work(made, key, stages) for key in KEYS]
    for missing in (0, 1):
        schedule = Schedule(plan_of(made), items, TRANSLATOR)
        (batch,) = schedule.first()
        assert batch.partition_range == (KEYS[0], KEYS[-1])
        assert batch.asset_paths == (("mssql", "dbo", "t"),)
        for key in KEYS[missing:]:
            schedule.made(PartitionMade(batch, ("mssql", "dbo", "t"), key))
        after = schedule.after(batch)
        assert sorted(str(b.partition_key) for b in after) == ([] if missing else list(KEYS))


def test_the_asset_is_made_in_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MSSQL_HOST", "MSSQL_USER", "MSSQL_DATABASE", "STARROCKS_HOST", "STARROCKS_USER"):
        monkeypatch.setenv(name, "nobody")
    definitions = build_definitions(plan_of(guarded(), table("plain", partitions=4)))
    assets = {key: a for a in definitions.assets or [] for key in a.keys}  # type: ignore[union-attr]
    policy = assets[dg.AssetKey(["mssql", "dbo", "t"])].backfill_policy
    assert policy == dg.BackfillPolicy.single_run()
    plain = assets[dg.AssetKey(["mssql", "dbo", "plain"])].backfill_policy
    assert plain != dg.BackfillPolicy.single_run()


def test_a_single_partition_from_the_ui_is_refused_before_any_server_is_asked(
    instance: dg.DagsterInstance,
) -> None:
    made = guarded().replaced(verification=VerificationLevel.NONE)
    asset = build_barrier_asset(made, TRANSLATOR.asset_spec(MSSQL, made))
    result = dg.materialize(
        [asset],
        instance=instance,
        partition_key="p001",
        resources={**build_resources(plan_of(made)), "receipts": dg.mem_io_manager},
        raise_on_error=False,
    )
    (failed,) = result.get_step_failure_events()
    failure = failed.step_failure_data.user_failure_data
    assert failure is not None
    assert "without p000 the others would show another" in str(failure.description)
    assert "asset graph" in str(failure.metadata["next step"].value)
    assert not result.get_asset_materialization_events()
