"""The page for whoever decides: all of it is there, it counts right, and no name is markup."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from migration_assets.choices import VerificationLevel
from migration_assets.errors import ConfigurationError
from migration_assets.inventory import Inventory, Kind, LeftBehind
from migration_assets.inventory_page.balance import Balance, balances, partition_sizes
from migration_assets.inventory_page.content import MOST_NAMES, Page, page
from migration_assets.inventory_page.estimate import Assumptions, estimate
from migration_assets.inventory_page.html import html
from migration_assets.inventory_page.markdown import fenced, markdown, text
from migration_assets.inventory_page.table_design import table_design
from migration_assets.inventory_page.wording import duration, sentence, size, visible
from migration_assets.key_range import KeyRange
from migration_assets.plan import MigrationPlan, SkippedTable, TablePlan
from migration_assets.schema import MssqlType
from migration_assets_tests.unit.tables import BIGINT, INT, nvarchar, table_plan

HOSTILE = "</pre><script>alert(1)</script>\"'&|`*_<img src=http://x.example/y onerror=z>{{ 7*7 }}"
OFFSET = MssqlType("datetimeoffset", 10, 34, 7)


def plan_of(*tables: TablePlan, **values: object) -> MigrationPlan:
    return MigrationPlan.model_validate(
        {"server": "SQL1", "database": "shop", "tables": tables, **values}
    )


def cut_table(name: str = "orders", parts: int = 4, **values: object) -> TablePlan:
    made = table_plan(
        [("id", BIGINT), ("at", OFFSET)],
        key=["id"],
        cuts=[str(number) for number in range(1, parts)],
        name=name,
    )
    return made.model_copy(update={"rows": 1_000, "bytes": 2_000_000, **values})


def page_of(plan: MigrationPlan, inventory: Inventory | None = None, **values: object) -> Page:
    given: dict[str, object] = {
        "assumptions": Assumptions(),
        "replication_num": 3,
        "made_at": datetime(2026, 11, 22, 12, 0, tzinfo=UTC),
        **values,
    }
    return page(plan, inventory or Inventory(), **given)  # type: ignore[arg-type] - by name above


class _Reader(HTMLParser):
    """Collects what a browser would see: elements, attributes and text."""

    VOID = ("meta", "br")

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.ids: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        self.ids |= {value for name, value in attrs if name == "id" and value}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def read(document: str) -> _Reader:
    reader = _Reader()
    reader.feed(document)
    reader.close()
    assert reader.open in ([], ["doctype"]), "elements that are not closed"
    return reader


def hostile_page() -> Page:
    table = cut_table().model_copy(
        update={
            "source_name": HOSTILE,
            "source_schema": HOSTILE,
            "starrocks_database": "db",
            "warnings": (f"{HOSTILE} warned.",),
        }
    )
    columns = tuple(c.model_copy(update={"source_name": HOSTILE}) for c in table.columns)
    table = table.model_copy(update={"columns": columns, "primary_key": (HOSTILE,)})
    plan = plan_of(
        table,
        server=HOSTILE,
        database=HOSTILE,
        skipped=(SkippedTable(source_schema=HOSTILE, source_name=HOSTILE, reason=HOSTILE),),
        notes=(HOSTILE,),
    )
    objects = {kind: (LeftBehind(HOSTILE, HOSTILE, HOSTILE, HOSTILE),) for kind in Kind}
    return page_of(
        plan,
        Inventory(objects, (HOSTILE,)),
        partition_rows={table.full_name: (1, 2, 3, 1000)},
        partition_notes=(HOSTILE,),
    )


def test_no_name_becomes_markup() -> None:
    document = html(hostile_page())
    reader = read(document)
    assert not {"script", "img", "link", "iframe", "object", "form"} & set(reader.tags)
    assert {name for name, _ in reader.attributes if name.startswith("on")} == set()
    assert "<script>alert(1)" not in document
    assert "<script>alert(1)</script>" in reader.text, "shown as it is, not dropped"
    assert "{{ 7*7 }}" in reader.text


def test_it_needs_nothing_from_outside() -> None:
    document = html(hostile_page())
    outside = {name: value for name, value in read(document).attributes if name in {"src", "href"}}
    assert all(str(value).startswith("#") for value in outside.values())
    assert "url(" not in document
    assert "@import" not in document
    assert "default-src 'none'" in document


def test_every_entry_of_the_contents_leads_somewhere() -> None:
    reader = read(html(page_of(plan_of(cut_table()))))
    targets = {value[1:] for name, value in reader.attributes if name == "href" and value}
    assert targets == reader.ids
    assert len(targets) == 8


def test_a_name_in_markdown_is_no_markup() -> None:
    document = markdown(hostile_page())
    outside_of_code = re.sub(r"(?ms)^(`{3,}).*?^\1$", "", document)
    assert "<script>" not in outside_of_code
    assert "<img" not in outside_of_code
    tables = re.findall(r"(?:^\|.*\n)+", outside_of_code, re.MULTILINE)
    assert len(tables) > 5
    for table in tables:
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, "a name opened another cell"


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("a|b", r"a\|b"),
        ("a_b*c", r"a\_b\*c"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("# no", r"\# no"),
        ("1. no", r"1\. no"),
        ("1.5 GB", "1.5 GB"),
        ("@who", "&#64;who"),
        ("a\nb", r"a\\u000ab"),
    ],
)
def test_text_in_markdown(given: str, written: str) -> None:
    assert text(given) == written


def test_code_with_a_fence_in_it_gets_a_longer_one() -> None:
    assert fenced("a ```` b", "sql") == "`````sql\na ```` b\n`````"


def test_what_is_on_the_page() -> None:
    plan = plan_of(
        cut_table("orders", 4),
        table_plan([("note", nvarchar(10))], name="log").model_copy(
            update={"rows": 5, "warnings": ("No primary key.",)}
        ),
        skipped=(
            SkippedTable(source_schema="dbo", source_name="v", reason="it is a view"),
            SkippedTable(source_schema="dbo", source_name="cur", reason="column x is a cursor"),
        ),
        notes=("sys.tables has no column ledger_type here.",),
    )
    inventory = Inventory(
        {
            Kind.PROCEDURE: (LeftBehind("dbo", "close_books"), LeftBehind("hr", "pay")),
            Kind.FOREIGN_KEY: (LeftBehind("dbo", "FK_1", "orders", "to dbo.log"),),
            Kind.TRIGGER: (),
        },
        ("SQL Server Agent jobs not known: msdb.dbo.sysjobs is not permitted to this login.",),
    )
    made = page_of(plan, inventory)
    for document in (read(html(made)).text, markdown(made)):
        for expected in (
            "close_books", "FK_1", "to dbo.log", "pay", "is not permitted to this login",
            "Column x is a cursor", "It is a view", "No primary key", "ledger", "extract_rows_per_s",
            "CREATE TABLE `dbo`.`orders`", "DUPLICATE KEY (`id`)", "the offset itself is dropped",
            "offsets: column or text", "assumed, not measured",
        ):  # fmt: skip
            assert expected in document.replace("\\_", "_"), expected
    facts = {fact.label: fact.value for fact in made.facts}
    assert facts["Tables to migrate"] == "2"
    assert facts["Rows"] == "1,005"
    assert facts["Partitions"] == "5"
    assert facts["Columns that change"] == "1"
    assert facts["Objects left behind"] == "3"
    counts = {kind.kind: kind.count for kind in made.left_behind}
    assert (counts["Procedures"], counts["Triggers"], counts["Views"]) == (2, 0, None)
    assert len(made.left_behind) == len(Kind)


def test_kinds_that_are_not_known_are_not_said_to_be_none() -> None:
    shown = read(html(page_of(plan_of(cut_table()), Inventory({Kind.TRIGGER: ()})))).text
    assert re.search(r"Not known: Views, Procedures.*SQL Server Agent jobs\.", shown)
    assert "sees none: Triggers." in shown


def test_an_empty_plan_has_a_page() -> None:
    made = page_of(plan_of())
    assert "The plan has no table." in read(html(made)).text
    assert "Estimated duration" in markdown(made)


def test_of_very_many_names_the_rest_is_counted() -> None:
    names = tuple(LeftBehind("dbo", f"p{number:05d}") for number in range(MOST_NAMES + 7))
    made = page_of(plan_of(cut_table()), Inventory({Kind.PROCEDURE: names}))
    assert "And 7 more." in html(made)
    assert f"p{MOST_NAMES:05d}" not in html(made)
    assert "and 7 more" in markdown(made)


def test_three_hundred_tables_fit() -> None:
    tables = [cut_table(f"t{number:03d}", 8) for number in range(342)]
    made = page_of(plan_of(*tables), partition_rows={t.full_name: (1,) * 8 for t in tables})
    document = html(made)
    assert document.count("CREATE TABLE") == 342
    assert document.count("<figure>") == 24
    assert "318, none less even" in read(document).text
    assert len(document) < 3_000_000


# --- partitions and their balance


def test_balance_of_partitions() -> None:
    plan = plan_of(cut_table("even"), cut_table("skewed"), cut_table("unknown"))
    found = balances(plan, {"dbo.even": (5, 5, 5, 5), "dbo.skewed": (1, 1, 1, 17)})
    assert [(one.table, one.ratio) for one in found] == [("dbo.skewed", 3.4), ("dbo.even", 1.0)]
    assert Balance("dbo.none", (0, 0)).ratio == 1.0


def test_counts_of_another_number_of_partitions_are_not_used() -> None:
    assert balances(plan_of(cut_table()), {"dbo.orders": (1, 2)}) == ()


def test_unknown_balance_is_said_and_counts_as_equal_shares() -> None:
    made = page_of(plan_of(cut_table("orders", 4, rows=40_000)))
    assert "not known for the tables cut into ranges" in made.balance_notes[0]
    assert dict(partition_sizes(plan_of(cut_table("orders", 4, rows=40_000)), {})) | {
        "10,000 to 100,000": 0
    } == dict.fromkeys([bar.label for bar in made.partition_sizes], 0)
    assert "<figure>" not in html(made)


def test_what_the_planner_knew_is_plotted_and_marked_as_estimated() -> None:
    known = cut_table("known", range_rows=(100, 100, 100, 700))
    plan = plan_of(known, cut_table("counted"), cut_table("unknown"))
    made = page_of(plan, partition_rows={"dbo.counted": (250, 250, 250, 250)})
    assert {one.table: (one.ratio, one.estimated) for one in made.balances} == {
        "dbo.known": (2.8, True),
        "dbo.counted": (1.0, False),
    }
    assert [note.split(":")[0] for note in made.balance_notes] == [
        "Rows of the partitions of 1 table are estimated",
        "How rows divide among the ranges is not known for 1 table cut into ranges",
    ]
    assert "--measure" in made.balance_notes[0]
    figures = re.findall(r"<figure>.*?</figure>", html(made), re.DOTALL)
    assert ["estimated" in figure for figure in figures] == [True, False]
    assert "about 700 rows" in figures[0]
    assert "about" not in figures[1]
    assert re.search(r"dbo.known \| 4 \| .* \| estimated \|", markdown(made))
    assert re.search(r"dbo.counted \| 4 \| .* \| counted \|", markdown(made))


def test_counted_rows_go_before_estimates() -> None:
    plan = plan_of(cut_table("orders", range_rows=(100, 100, 100, 700)))
    (found,) = balances(plan, {"dbo.orders": (1, 1, 1, 1)})
    assert (found.rows, found.estimated) == ((1, 1, 1, 1), False)
    (found,) = balances(plan, {"dbo.orders": (1, 1)})
    assert (found.rows, found.estimated) == ((100, 100, 100, 700), True)


def test_a_plot_has_a_bar_for_each_partition_and_marks_the_large_ones() -> None:
    made = page_of(plan_of(cut_table()), partition_rows={"dbo.orders": (1, 1, 1, 17)})
    (figure,) = re.findall(r"<figure>.*?</figure>", html(made), re.DOTALL)
    assert len(re.findall("<rect", figure)) == 4
    (large,) = re.findall(r'<rect class="over".*?height="([\d.]+)"', figure)
    assert float(large) == 56.0
    assert "3.40 x" in figure
    assert any("above 2 times the mean" in sentence for sentence in made.decisions)


# --- duration


def test_the_estimate_is_the_sum_of_the_parts_shared_by_the_runs() -> None:
    plan = plan_of(cut_table("orders", 4, rows=4_000_000, bytes=None))
    rates = Assumptions(
        concurrent_runs=2,
        extract_rows_per_s=100_000,
        load_rows_per_s=500_000,
        seconds_per_partition=1,
        verification_share=0.5,
    )
    # Of each partition: 1 s, 10 s to extract, 5 s to verify, 2 s to load.
    found = estimate(plan, rates)
    assert found.tables == {"dbo.orders": pytest.approx(4 * 18)}
    assert found.seconds == pytest.approx(36)
    assert (found.fastest, found.slowest) == (pytest.approx(18), pytest.approx(72))
    assert "2 at a time" in found.bound


def test_the_largest_partition_and_the_network_are_lower_bounds() -> None:
    plan = plan_of(cut_table("orders", 4, rows=4_000_000, bytes=None))
    skewed = {"dbo.orders": (3_999_997, 1, 1, 1)}
    found = estimate(plan, Assumptions(concurrent_runs=8), skewed)
    assert found.bound == "the largest partition of dbo.orders"
    wide = plan_of(cut_table("orders", 4, rows=4, bytes=10**12))
    found = estimate(wide, Assumptions(concurrent_runs=1000, extract_bytes_per_s=1e9))
    assert found.bound in {"the network", "the largest partition of dbo.orders"}
    assert found.seconds >= 10_000


def test_wide_rows_and_verification_take_longer() -> None:
    narrow = estimate(plan_of(cut_table(bytes=1)), Assumptions()).seconds
    assert estimate(plan_of(cut_table(bytes=10**11)), Assumptions()).seconds > 10 * narrow
    levels = [VerificationLevel.NONE, VerificationLevel.FULL, VerificationLevel.ROWS]
    seconds = [
        estimate(plan_of(cut_table(rows=10**7, verification=v)), Assumptions()).seconds
        for v in levels
    ]
    assert seconds == sorted(set(seconds))


def test_assumptions_can_be_given_and_say_so() -> None:
    given = Assumptions().changed(["extract_rows_per_s=1_000", "concurrent_runs=8"])
    assert (given.extract_rows_per_s, given.concurrent_runs) == (1000, 8)
    sources = {name: source for name, _, _, source in given.listed()}
    assert sources["extract_rows_per_s"] == "given with --assume"
    assert "benchmarks/README.md" in sources["seconds_per_partition"]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("speed=3", "--assume knows no 'speed'"),
        ("load_rows_per_s", "is no number"),
        ("load_rows_per_s=fast", "'fast' is no number"),
        ("load_rows_per_s=0", "above zero"),
        ("load_rows_per_s=nan", "above zero"),
    ],
)
def test_wrong_assumptions_are_refused(given: str, found: str) -> None:
    with pytest.raises(ConfigurationError, match=found):
        Assumptions().changed([given])


# --- the tables in StarRocks


def test_reasons_of_a_table() -> None:
    reasons = dict(table_design(cut_table(), 3).reasons)
    assert reasons["Sort key"].startswith("id: the primary key of the source")
    assert "4 ranges of id" in reasons["Partitions"]
    assert reasons["Buckets"].startswith("1 for each partition")
    heap = table_design(table_plan([("id", INT)]), 1)
    assert "the table has no primary key" in dict(heap.reasons)["Sort key"]
    assert heap.summary == "DUPLICATE KEY (source_partition), 1 partition, 1 bucket each, 1 tablet"
    many = cut_table(buckets=4)
    assert "about 10 GiB of data a tablet" in dict(table_design(many, 3).reasons)["Buckets"]
    assert table_design(many, 3).summary.endswith("4 partitions, 4 buckets each, 48 tablets")


@pytest.mark.parametrize(
    ("cut_by", "said"),
    [
        ("histogram", "4 ranges of id, as even as SQL Server's histogram says; so many by rows"),
        ("walk", "4 ranges of id, as even as the rows that were counted along an index;"),
        ("arithmetic", "4 ranges of id, equally wide, since SQL Server's histogram"),
        ("bounds", "4 ranges of id, equally wide between the lowest and the highest value,"),
        ("partition_function", "4 ranges of id, along SQL Server's own partitions ("),
        ("", "4 ranges of id; so many by rows and bytes (or migration.yaml)."),
    ],
)
def test_the_reason_of_partitions_says_how_the_table_was_cut(cut_by: str, said: str) -> None:
    assert said in dict(table_design(cut_table(cut_by=cut_by), 3).reasons)["Partitions"]


def test_a_table_split_by_hash_says_what_it_costs() -> None:
    ranges = tuple(
        KeyRange(source_partition=i, hash_columns=("id", "at"), hash_of=4) for i in range(4)
    )
    reasons = dict(table_design(cut_table(key_ranges=ranges, cut_by="hash"), 3).reasons)
    assert "4 parts by a checksum over 2 columns" in reasons["Partitions"]
    assert "each reads the whole table" in reasons["Partitions"]


def test_a_table_that_starrocks_cannot_have_is_said_not_raised() -> None:
    wrong = cut_table(sort_key=("nothing",))
    made = page_of(plan_of(wrong))
    for document in (read(html(made)).text, markdown(made)):
        assert "the sort key names" in document
        assert "CREATE TABLE" not in document


# --- words


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.2, "1 s"), (89, "89 s"), (90, "2 min"), (5_340, "89 min"), (5_400, "1 h 30 min"),
        (7_200, "2 h"), (172_000, "47 h 47 min"), (180_000, "2 d 2 h"),
    ],
)  # fmt: skip
def test_durations(seconds: float, shown: str) -> None:
    assert duration(seconds) == shown


def test_sizes_and_sentences() -> None:
    assert [size(v) for v in (None, 0, 999, 1000, 2.5e12)] == [
        "unknown", "0 B", "999 B", "1.0 kB", "2.5 TB",
    ]  # fmt: skip
    assert sentence("it is a view") == "It is a view."
    assert sentence("migration.yaml excludes it") == "migration.yaml excludes it."


def test_what_nobody_sees_is_made_visible() -> None:
    assert visible("a\u202eb\x00c\nd\ud800 é 名") == r"a\u202eb\u0000c\u000ad\ud800 é 名"
