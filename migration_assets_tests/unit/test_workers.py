"""The pool of worker processes, with real processes and pipes.

What a worker does with a batch is replaced by `_obey`; what Dagster does is left to the tests of
`migration_assets_tests/sandbox`, where runs are killed from outside.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from migration_assets.operations import workers as module
from migration_assets.operations.run_states import is_alive
from migration_assets.operations.workers import Batch, BatchEnded, Event, StepEnded, Workers


def _obey(parent: Connection, environment: Mapping[str, str]) -> None:
    """A worker that does what a batch's job is called, and says by which process."""
    while True:
        try:
            batch: Batch = parent.recv()
        except EOFError:
            return
        parent.send(StepEnded(batch, ("asset",), "done", message=str(os.getpid())))
        match batch.job:
            case "die":
                os._exit(7)
            case "tell":
                parent.send(BatchEnded(batch, success=True, message=environment["TOLD"]))
            case "hang":
                time.sleep(600)
            case _:
                parent.send(BatchEnded(batch, success=batch.job != "fail"))


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    monkeypatch.setattr(module, "_work", _obey)
    with Workers(2) as workers:
        yield workers


def batch(job: str, weight: int = 0) -> Batch:
    return Batch(job=job, partition_key=None, asset_paths=(), weight=weight)


def outcomes(events: list[Event]) -> dict[str, tuple[bool, str]]:
    """Run id to success and message."""
    ends = [event for event in events if isinstance(event, BatchEnded)]
    found = {event.batch.run_id: (event.success, event.message) for event in ends}
    assert len(found) == len(ends), "a batch ended twice"
    return found


def run(pool: Workers, batches: list[Batch]) -> list[Event]:
    return [event for event in pool.run(batches) if event is not None]


def test_a_worker_that_dies_fails_its_batch_alone(pool: Workers) -> None:
    batches = [batch(job) for job in ("ok", "die", "ok", "fail", "die", "ok")]
    found = outcomes(run(pool, batches))
    assert [found[one.run_id][0] for one in batches] == [True, False, True, False, False, True]
    for one in batches:
        said = found[one.run_id][1]
        assert ("ended with exit code 7" in said) == (one.job == "die")


def test_batches_share_the_processes(pool: Workers) -> None:
    events = run(pool, [batch("ok") for _ in range(12)])
    processes = {event.message for event in events if isinstance(event, StepEnded)}
    assert 1 <= len(processes) <= 2
    assert str(os.getpid()) not in processes


def test_a_worker_is_replaced_after_its_share(
    pool: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RUNS_PER_WORKER", 3)
    events = run(pool, [batch("ok") for _ in range(12)])
    by_process: dict[str, int] = {}
    for event in events:
        if isinstance(event, StepEnded):
            by_process[event.message] = by_process.get(event.message, 0) + 1
    assert max(by_process.values()) <= 3
    assert sum(by_process.values()) == 12


def test_the_heaviest_begin_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_work", _obey)
    with Workers(1) as pool:
        events = run(pool, [batch("ok", weight) for weight in (1, 30, 2, 20)])
    ends = [event.batch.weight for event in events if isinstance(event, BatchEnded)]
    assert ends == [30, 20, 2, 1]


def test_draining_ends_with_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_work", _obey)
    with Workers(1) as pool:
        found = []
        for event in pool.run([batch("ok") for _ in range(5)]):
            found += [event] if isinstance(event, BatchEnded) else []
            pool.draining = True
    assert len(found) == 1


def test_leaving_ends_a_worker_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_work", _obey)
    with Workers(1) as pool:
        process = 0
        for event in pool.run([batch("hang")]):
            if isinstance(event, StepEnded):
                process = int(event.message)
                assert [one.job for one in pool.running] == ["hang"]
                break
    assert process
    with pytest.raises(ProcessLookupError):
        os.kill(process, 0)


def test_the_caller_gets_to_look_at_the_clock(pool: Workers) -> None:
    started = time.monotonic()
    for event in pool.run([batch("hang")]):
        if event is None:
            break
    assert time.monotonic() - started < 5


def test_a_worker_that_dies_between_two_batches_is_replaced(pool: Workers) -> None:
    found = []
    for event in pool.run([batch("ok") for _ in range(4)]):
        if isinstance(event, BatchEnded):
            found.append(event.success)
            for _connection, process, _runs in pool._idle:
                process.kill()
                process.join(10)
    assert found == [True] * 4


def test_definitions_that_do_not_load_are_told_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real worker, with a plan that it cannot read."""
    (tmp_path / "plan.json").write_text("{", encoding="utf-8")
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("MIGRATION_PLAN", str(tmp_path / "plan.json"))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    one = batch("validate")
    with Workers(1) as pool:
        success, message = outcomes(run(pool, [one]))[one.run_id]
    assert not success
    assert "The definitions do not load" in message
    assert "plan.json is not valid JSON" in message


def _start_one_that_hangs(pid_file: Path) -> None:
    """What a command does that is killed later."""
    module._work = _obey
    with Workers(1) as pool:
        for event in pool.run([batch("hang")]):
            if isinstance(event, StepEnded):
                pid_file.with_suffix(".part").write_text(event.message, encoding="utf-8")
                pid_file.with_suffix(".part").replace(pid_file)


def test_a_parent_that_is_killed_takes_its_workers_with_it(tmp_path: Path) -> None:
    said = tmp_path / "pid"
    parent = multiprocessing.get_context("spawn").Process(
        target=_start_one_that_hangs, args=(said,)
    )
    parent.start()
    _await(said.exists)
    worker = int(said.read_text(encoding="utf-8"))
    assert is_alive(worker)
    parent.kill()
    parent.join(60)
    _await(lambda: not is_alive(worker))


def _await(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_workers_have_the_environment_of_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    # The process that workers are forks of was started with the first of them.
    monkeypatch.setattr(module, "_work", _obey)
    for told in ("first", "second"):
        monkeypatch.setenv("TOLD", told)
        with Workers(1) as workers:
            (found,) = outcomes(run(workers, [batch("tell")])).values()
        assert found == (True, told)
