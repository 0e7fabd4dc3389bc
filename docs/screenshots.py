"""Clicks through Dagster's UI as an operator does and leaves screenshots in `docs/`: `make ui`.

The sandbox and `dagster dev` start in a temporary folder on free ports; Debian's chromium does the
clicking, driven by Playwright. Everything is materialized, one partition of one table is made to
fail by a fault switch of StarRocks' stand-in, retried by a click, and everything must be green
again: otherwise the exit code is 1. GraphQL is only read, to know when to click next.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import Page, ViewportSize, sync_playwright

from migration_assets.sandbox.control import Control, Fault
from migration_assets.sandbox.launcher import Sandbox

DOCS = Path(__file__).resolve().parent
WORKSPACE = DOCS.parent / "workspace.yaml"
SCALE = 0.01
SIZE = ViewportSize(width=1400, height=900)
LARGEST_BYTES = 400_000
START_TIMEOUT_S = 180
BACKFILL_TIMEOUT_S = 600
CLICK_TIMEOUT_MS = 60_000

# As root in a container, and without Chromium's own calls to the outside.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

ENDED = {"SUCCESS", "FAILURE", "CANCELED"}
ASSET = "assets/starrocks/sales/transactions"
BROKEN_PARTITION = "p003"
BREAK = Fault(
    "error",
    match=r"INSERT OVERWRITE.*transactions.*source_partition\s*=\s*3\b",
    number=5203,
    message="Access denied; you need (at least one of) the INSERT privilege(s) on TABLE "
    "transactions for this operation.",
)


class Failed(Exception):  # noqa: N818 - reads as the outcome that it is
    """The UI did not show in time what it should."""


class Dagster:
    """What Dagster's GraphQL says; read only."""

    def __init__(self, url: str) -> None:
        """Remember where the webserver is."""
        self.url = url

    def ask(self, query: str) -> Any:
        """Answer a GraphQL query."""
        request = urllib.request.Request(  # noqa: S310 - our own webserver
            f"{self.url}/graphql",
            data=json.dumps({"query": query}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)["data"]

    def is_loaded(self) -> bool:
        """Whether the code location is there, with assets."""
        try:
            return bool(self.ask("{assetNodes{id}}")["assetNodes"])
        except (urllib.error.URLError, ConnectionError):
            return False

    def newest_backfill(self) -> tuple[str, str]:
        """Id and status of the backfill launched last; empty when there is none."""
        query = (
            "{partitionBackfillsOrError(limit:1){... on PartitionBackfills{results{id status}}}}"
        )
        found = self.ask(query)["partitionBackfillsOrError"]["results"]
        return (found[0]["id"], found[0]["status"]) if found else ("", "")

    def runs(self, backfill_id: str | None = None) -> list[dict[str, str]]:
        """Id and status of the runs of a backfill, or of all runs; the newest come first."""
        tag = f'{{key:"dagster/backfill",value:"{backfill_id}"}}' if backfill_id else ""
        query = f"{{runsOrError(filter:{{tags:[{tag}]}}){{... on Runs{{results{{id status}}}}}}}}"
        runs: list[dict[str, str]] = self.ask(query)["runsOrError"]["results"]
        return runs

    def not_green(self) -> list[str]:
        """What is not materialized, or not checked, partition by partition; in words."""
        nodes = self.ask(
            "{assetNodes{assetKey{path} partitionStats{numPartitions numMaterialized numFailed} "
            "assetChecksOrError{... on AssetChecks{checks{name partitionStatuses{"
            "... on AssetCheckDefaultPartitionStatuses{succeededPartitions}}}}}}}"
        )["assetNodes"]
        found = []
        for node in nodes:
            name, stats = "/".join(node["assetKey"]["path"]), node["partitionStats"]
            total = stats["numPartitions"]
            if stats["numMaterialized"] != total or stats["numFailed"]:
                found.append(f"{name}: {stats}")
            for check in node["assetChecksOrError"]["checks"]:
                passed = len(check["partitionStatuses"]["succeededPartitions"])
                if passed != total:
                    found.append(f"{name} {check['name']}: {passed} of {total} passed")
        return found


class Operator:
    """A person at the browser."""

    def __init__(self, page: Page, dagster: Dagster) -> None:
        """Sit down."""
        self._page = page
        self._dagster = dagster
        page.set_default_timeout(CLICK_TIMEOUT_MS)

    def open(self, path: str) -> None:
        """Open a page of the UI."""
        self._page.goto(f"{self._dagster.url}/{path}")

    def click(self, text: str) -> None:
        """Click the first button with exactly this text."""
        exactly = re.compile(f"^{re.escape(text)}$")
        self._page.get_by_role("button").filter(has_text=exactly).first.click()

    def filter_events(self, text: str) -> None:
        """Type into the filter above the events of a run."""
        box = self._page.get_by_placeholder("Filter…")
        box.fill(text)
        box.press("Enter")

    def see(self, text: str) -> None:
        """Wait until a text is on the page."""
        self._page.get_by_text(text).first.wait_for()

    def shoot(self, name: str) -> None:
        """Let the page settle and save what it shows as `docs/<name>`."""
        self._page.get_by_text("fetching statuses").first.wait_for(state="detached")
        self._page.mouse.move(700, 890)
        self._page.wait_for_timeout(3000)
        path = DOCS / name
        self._page.screenshot(path=path)
        if path.stat().st_size > LARGEST_BYTES:
            raise Failed(f"{name} has {path.stat().st_size:,} bytes; that is much for a repository")
        say(f"    docs/{name}")

    def backfill(self, *clicks: str) -> tuple[str, str]:
        """Click a backfill together, launch it, wait for its end; return its id and status."""
        before, _ = self._dagster.newest_backfill()
        for button in (*clicks, "Launch backfill"):
            self.click(button)
        started, told = time.monotonic(), 0

        def ended() -> bool:
            nonlocal told
            backfill, status = self._dagster.newest_backfill()
            if backfill == before:
                return False
            runs = self._dagster.runs(backfill)
            done = sum(run["status"] in ENDED for run in runs)
            if done > told:
                say(f"    {done} of {len(runs)} runs ended")
                told = done
            return status not in {"REQUESTED", "CANCELING", "FAILING"}

        wait(ended, BACKFILL_TIMEOUT_S, "the end of the backfill")
        backfill, status = self._dagster.newest_backfill()
        say(f"    {status} after {time.monotonic() - started:.0f} s")
        return backfill, status

    def run(self, *clicks: str) -> None:
        """Click a run of one partition together, launch it, wait for its end."""
        before = {run["id"] for run in self._dagster.runs()}
        for button in (*clicks, "Launch 1 run"):
            self.click(button)

        def ended() -> bool:
            new = [run for run in self._dagster.runs() if run["id"] not in before]
            return bool(new) and all(run["status"] in ENDED for run in new)

        wait(ended, BACKFILL_TIMEOUT_S, "the end of the run")


def play(operator: Operator, dagster: Dagster, starrocks: Control) -> None:
    """Materialize all, break a partition, retry it.

    Raises:
        Failed: something is not as it should be.
    """
    say("Lineage: Materialize all")
    operator.open("asset-groups")
    operator.backfill("Materialize all…")
    require_green(dagster)
    operator.open("asset-groups?expanded=global%40global%3Ahr")
    operator.see("employees")
    operator.shoot("asset-graph.png")
    operator.open("assets/starrocks/sales/orders")
    operator.see("From PlacedAt")
    operator.shoot("table.png")
    operator.open(f"{ASSET}?view=checks")
    operator.see("Evaluation result")
    operator.shoot("checks.png")

    say(f"StarRocks refuses {BROKEN_PARTITION} of one table; materialize it again")
    starrocks.arm(BREAK)
    operator.open(ASSET)
    backfill, status = operator.backfill("Materialize…", "All")
    starrocks.arm()
    failed = [run["id"] for run in dagster.runs(backfill) if run["status"] == "FAILURE"]
    if status != "COMPLETED_FAILED" or len(failed) != 1:
        raise Failed(f"one partition should have failed, but {status}, failed runs: {failed}")
    operator.open(f"{ASSET}?view=partitions&partition={BROKEN_PARTITION}")
    operator.see("did not materialize this asset")
    operator.shoot("partitions.png")
    operator.open(f"runs/{failed[0]}")
    operator.filter_events("type:STEP_FAILURE")
    operator.see("a privilege is missing")
    operator.shoot("failed.png")

    say("The privilege is back: Materialize, Failed")
    operator.open(ASSET)
    # Failed is one partition, or the button to launch would speak of a backfill.
    operator.run("Materialize…", "Failed")
    require_green(dagster)
    operator.open(f"{ASSET}?view=partitions&partition={BROKEN_PARTITION}")
    operator.see("Latest materialization")
    operator.shoot("retried.png")


def require_green(dagster: Dagster) -> None:
    """Raises `Failed` unless every partition is materialized and every check of it passed."""
    if found := dagster.not_green():
        raise Failed("not green: " + "; ".join(found[:10]))


@contextmanager
def dagster_dev(settings: dict[str, str], folder: Path) -> Iterator[Dagster]:
    """Plan, then run `dagster dev` until the context ends, which must leave no process behind."""
    environment = {name: value for name, value in os.environ.items() if "DAGSTER" not in name}
    environment |= settings
    environment |= {
        "MIGRATION_PLAN": str(folder / "migration_plan.json"),
        "DAGSTER_HOME": str(folder / ".dagster"),
    }
    for arguments in (["env"], ["doctor", "--fix"], ["plan"]):
        command = [sys.executable, "-m", "migration_assets", *arguments]
        done = subprocess.run(  # noqa: S603 - our own command
            command, env=environment, cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Failed(f"`migration-assets {arguments[0]}` failed:\n{done.stdout}{done.stderr}")
    config = folder / ".dagster" / "dagster.yaml"
    if "nux:" not in config.read_text():
        # Dagster's invitation to its newsletter pops up at some moment and closes other dialogs.
        config.write_text(config.read_text() + "nux:\n  enabled: false\n")
    port = free_port()
    command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port)]
    log = folder / "dagster.log"
    with (
        log.open("w") as output,
        subprocess.Popen(  # noqa: S603 - our own command
            [*command, "-w", str(WORKSPACE)],
            env=environment,
            cwd=folder,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            dagster = Dagster(f"http://127.0.0.1:{port}")
            try:
                wait(dagster.is_loaded, START_TIMEOUT_S, "Dagster")
            except Failed as error:
                raise Failed(f"{error}; its log:\n{log.read_text()[-3000:]}") from None
            yield dagster
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End `dagster dev` as Ctrl-C does; kills what is left, and says so by raising `Failed`."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(60)
        wait(lambda: not is_alive(process.pid), 15, "the end of Dagster's processes")
    except (subprocess.TimeoutExpired, Failed):
        os.killpg(process.pid, signal.SIGKILL)
        raise Failed("`dagster dev` left processes behind after SIGINT; they were killed") from None


def is_alive(group: int) -> bool:
    """Whether a process group has a process."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def browser_page() -> Iterator[Page]:
    """A page in a headless chromium with a profile of its own."""
    executable = shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        raise Failed("there is no chromium on the PATH: apt-get install chromium")
    with (
        tempfile.TemporaryDirectory(prefix="chromium-") as profile,
        sync_playwright() as playwright,
    ):
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=executable, headless=True, args=FLAGS, viewport=SIZE
        )
        try:
            yield context.pages[0]
        finally:
            context.close()


def wait(until: Callable[[], bool], seconds: float, what: str) -> None:
    """Poll until something is true.

    Raises:
        Failed: it was not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not until():
        if time.monotonic() > deadline:
            raise Failed(f"waited {seconds:.0f} s for {what}")
        time.sleep(1)


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def say(text: str) -> None:
    """Tell the person at the terminal."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main() -> int:
    """Run the whole story; returns the exit code."""
    # Started in the background, this process would ignore SIGINT, and so would Dagster.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        with tempfile.TemporaryDirectory(prefix="migration-ui-") as folder:
            say("Starting the sandbox and Dagster")
            with (
                Sandbox(scale=SCALE) as sandbox,
                dagster_dev(sandbox.settings, Path(folder)) as dagster,
                browser_page() as page,
            ):
                play(Operator(page, dagster), dagster, sandbox.control("starrocks"))
    except (Failed, PlaywrightError) as error:
        say(f"Failed: {error}")
        return 1
    say("All green.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
