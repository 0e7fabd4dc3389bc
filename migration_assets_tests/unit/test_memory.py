"""How many rows are fetched at a time, and what bounds an extraction's memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from migration_assets.memory import FIRST_ROWS, UPLOAD_BYTES, FetchSize, MemoryLimit, declared_width
from migration_assets.setting_values import DEFAULT_MEMORY_MB, LEAST_MEMORY_MB
from migration_assets_tests.unit.tables import INT, decimal, nvarchar, table_plan

MIB = 2**20
NARROW = table_plan([("id", INT), ("price", decimal(18, 4)), ("name", nvarchar(100))])
WIDE = table_plan([("id", INT), *((f"text_{n}", nvarchar(4000)) for n in range(20))])
ENDLESS = table_plan([("id", INT), ("body", nvarchar(-1))])
LIMITS = st.integers(LEAST_MEMORY_MB, 16 * 1024).map(lambda mib: MemoryLimit(mib * MIB))


def test_what_the_types_bound() -> None:
    assert declared_width(NARROW) == 16 + 16 + 300
    assert declared_width(WIDE) == 16 + 20 * 12_000
    assert declared_width(ENDLESS) is None


def test_a_narrow_table_is_fetched_as_before_and_a_wide_one_in_smaller_pieces() -> None:
    memory = MemoryLimit()
    assert memory.batch_bytes == 32 * MIB
    assert memory.row_group_bytes == 64 * MIB
    assert FetchSize(NARROW, memory, 65_536).rows == 65_536
    assert FetchSize(WIDE, memory, 65_536).rows == 32 * MIB // 240_016
    assert FetchSize(ENDLESS, memory, 65_536).rows == FIRST_ROWS
    assert FetchSize(ENDLESS, memory, 10).rows == 10


def test_of_several_extractions_each_has_its_share() -> None:
    assert MemoryLimit(512 * MIB).shared(2) == MemoryLimit(256 * MIB)
    # However many: rows must go through.
    assert MemoryLimit(128 * MIB).shared(1000).batch_bytes > MIB


@given(memory=LIMITS)
def test_the_parts_fit_into_the_whole(memory: MemoryLimit) -> None:
    used = UPLOAD_BYTES + 6 * memory.batch_bytes + 2 * memory.row_group_bytes
    assert used <= memory.total_bytes
    # What the first fetch of unknown rows may bring when each has 1 MiB.
    assert memory.unbounded_rows * MIB <= max(memory.total_bytes // 4, 4 * MIB)


@given(
    memory=LIMITS,
    most=st.integers(1, 100_000),
    widths=st.lists(st.integers(1, 200 * MIB), min_size=1, max_size=30),
)
def test_rows_of_any_width_are_followed(memory: MemoryLimit, most: int, widths: list[int]) -> None:
    size = FetchSize(ENDLESS, memory, most)
    for width in widths:
        before = size.rows
        assert 1 <= before <= min(most, memory.unbounded_rows)
        size.saw(before, before * width)
        # Rows like these would fit, unless not even one does; and never is it a leap.
        assert size.rows * width <= memory.batch_bytes or size.rows == 1
        assert size.rows <= 2 * before
    for _ in range(20):
        size.saw(size.rows, size.rows * widths[-1])
    fitting = max(memory.batch_bytes // widths[-1], 1)
    assert size.rows == min(fitting, most, memory.unbounded_rows)


@pytest.mark.parametrize("size", [0, 1])
def test_an_empty_fetch_says_nothing_and_rows_without_bytes_are_narrow(size: int) -> None:
    fetch = FetchSize(ENDLESS, MemoryLimit(), 1000)
    fetch.saw(0, size)
    assert fetch.rows == FIRST_ROWS
    fetch.saw(FIRST_ROWS, size)
    assert fetch.rows == MemoryLimit().unbounded_rows
    assert DEFAULT_MEMORY_MB == 512
