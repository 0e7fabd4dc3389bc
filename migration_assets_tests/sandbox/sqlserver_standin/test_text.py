"""Code pages, UTF-8, NUL and surrogates without a partner: bytes inside and text outside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from migration_assets_tests.sandbox.sqlserver_standin.client import (
    Server,
    arrow,
    error_of,
    odbc,
    one,
    rows,
    tds,
)

PAGES: list[tuple[str, str, str, bytes]] = [
    # collation, what is stored, what is left of it, its bytes
    ("Latin1_General_CI_AS", "Ää€Ж", "Ää€?", b"\xc4\xe4\x80?"),
    ("SQL_Latin1_General_CP1_CS_AS", "œ😀", "œ??", b"\x9c??"),
    ("Polish_CI_AS", "ŁódźЖ", "Łódź?", b"\xa3\xf3d\x9f?"),
    ("Czech_100_CS_AS", "řeč", "řeč", b"\xf8e\xe8"),
    ("SQL_Latin1_General_CP1250_CI_AS", "Łß", "Łß", b"\xa3\xdf"),
    ("Cyrillic_General_CI_AS", "ЖукÄ", "Жук?", b"\xc6\xf3\xea?"),
    ("SQL_Latin1_General_CP1251_CS_AS", "Я", "Я", b"\xdf"),
    ("SQL_Latin1_General_CP437_CI_AS", "é░Ж", "é░?", b"\x82\xb0?"),
    ("SQL_Latin1_General_CP850_BIN", "éØ", "éØ", b"\x82\x9d"),
    ("Greek_CI_AS", "Ωä", "Ω?", b"\xd9?"),
    ("Turkish_CI_AS", "İş", "İş", b"\xdd\xfe"),
    ("Thai_CI_AS", "ก", "ก", b"\xa1"),
    ("Japanese_CI_AS", "日ｱé😀", "日ｱ???", b"\x93\xfa\xb1???"),
    ("Japanese_XJIS_140_CI_AS", "語", "語", b"\x8c\xea"),
    ("Chinese_PRC_CI_AS", "中文", "中文", b"\xd6\xd0\xce\xc4"),
    ("Korean_Wansung_CI_AS", "한글é", "한글?", b"\xc7\xd1\xb1\xdb?"),
    ("Chinese_Taiwan_Stroke_CI_AS", "繁體ä", "繁體?", b"\xc1c\xc5\xe9?"),
    ("Latin1_General_100_CI_AS_SC_UTF8", "Ж😀é", "Ж😀é", "Ж😀é".encode()),
    ("Japanese_XJIS_140_CI_AS_UTF8", "日é", "日é", "日é".encode()),
]


@pytest.fixture(scope="module")
def filled() -> Iterator[Server]:
    server = Server()
    server.execute_script(
        "\n".join(
            f"CREATE TABLE p{place} (v varchar(20) COLLATE {collation}, c char(20) COLLATE {collation}, "
            f"m varchar(max) COLLATE {collation})\nINSERT p{place} VALUES (N'{text}', N'{text}', N'{text}')"
            for place, (collation, text, _, _) in enumerate(PAGES)
        )
    )
    yield server
    server.close()


@pytest.mark.parametrize("place", range(len(PAGES)), ids=[page for page, *_ in PAGES])
def test_text_of_a_code_page(filled: Server, place: int) -> None:
    _, _, kept, held = PAGES[place]
    padded = kept + " " * (20 - len(held))
    for driver in (tds, odbc):
        connection = driver(filled)
        assert rows(connection, f"SELECT v, c, m FROM p{place}") == [(kept, padded, kept)], driver
        assert rows(
            connection,
            "SELECT DATALENGTH(v), DATALENGTH(c), DATALENGTH(m), CAST(v AS varbinary(40)), "
            f"CONVERT(nvarchar(max), m) FROM p{place}",
        ) == [(len(held), 20, len(held), held, kept)], driver
        connection.close()
    connection = odbc(filled)
    table = arrow(connection, f"SELECT v, c, m FROM p{place}")
    wide = arrow(connection, f"SELECT CAST(v AS nvarchar(20)) FROM p{place}")
    connection.close()
    assert wide.column(0).to_pylist() == [kept]
    found = [column.to_pylist() for column in table.columns]
    if not PAGES[place][0].startswith("Chinese_PRC"):  # for which see below
        assert found == [[kept], [padded], [kept]]


def test_beside_a_max_column_the_arrow_reader_garbles_code_page_936(server: Server) -> None:
    """Differently from row to row, while the bytes on the wire are the same for all three.

    A reader of such columns must ask for nvarchar. When this fails, it need no longer.
    """
    text = "CAST(N'中文' COLLATE Chinese_PRC_CI_AS AS varchar(20))"
    three = "FROM (VALUES (1), (2), (3)) AS n(k)"
    connection = odbc(server)
    alone = arrow(connection, f"SELECT {text} AS v {three}").column(0).to_pylist()
    beside = arrow(connection, f"SELECT {text} AS v, CAST(N'' AS nvarchar(max)) AS m {three}")
    wide = arrow(
        connection,
        f"SELECT CAST({text} AS nvarchar(20)) AS v, CAST(N'' AS nvarchar(max)) AS m {three}",
    )
    plain = rows(connection, f"SELECT {text} AS v, CAST(N'' AS nvarchar(max)) AS m {three}")
    connection.close()
    assert alone == ["中文"] * 3
    assert beside.column(0).to_pylist() != ["中文"] * 3
    assert wide.column(0).to_pylist() == ["中文"] * 3
    assert plain == [("中文", "")] * 3


def test_the_length_of_varchar_is_in_bytes(server: Server) -> None:
    server.execute_script(
        "CREATE TABLE w (j varchar(5) COLLATE Japanese_CI_AS, u varchar(5) COLLATE Latin1_General_100_CI_AS_SC_UTF8)"
    )
    connection = tds(server)
    for column, text in [("j", "日本語"), ("u", "ééé")]:
        assert error_of(connection, f"INSERT w ({column}) VALUES (N'{text}')")[0] == 2628
    rows_of = "SELECT CAST(N'a日本語' COLLATE {0} AS varchar(4)) + '|'"
    cut = {
        name: one(connection, rows_of.format(name))
        for name in ("Japanese_CI_AS", "Latin1_General_100_CI_AS_SC_UTF8")
    }  # fmt: skip
    connection.close()
    assert cut == {"Japanese_CI_AS": "a日|", "Latin1_General_100_CI_AS_SC_UTF8": "a日|"}


NUL_ROWS = [(1, "a\0b", "a\0b", "\0"), (2, "\0", "", "x\0")]


def test_nul_inside_text(server: Server) -> None:
    server.execute_script(
        "CREATE TABLE nul (k int, n nvarchar(20), v varchar(20), m nvarchar(max))\n"
        "INSERT nul VALUES (1, N'a' + NCHAR(0) + N'b', 'a' + CHAR(0) + 'b', NCHAR(0)), "
        "(2, CAST(0x0000 AS nvarchar(5)), '', N'x' + NCHAR(0))"
    )
    for driver in (tds, odbc):
        connection = driver(server)
        found = rows(connection, "SELECT * FROM nul ORDER BY k")
        if driver is tds:
            assert found == NUL_ROWS
        else:  # as rows, mssql-python drops a NUL at the end of a (max)
            assert found == [(*row[:3], row[3].rstrip("\0")) for row in NUL_ROWS]
        assert rows(
            connection,
            "SELECT LEN(n), DATALENGTH(n), DATALENGTH(v), DATALENGTH(m) FROM nul ORDER BY k",
        ) == [(3, 6, 3, 2), (1, 2, 0, 4)]
        assert rows(connection, "SELECT k FROM nul WHERE n = N'a' + NCHAR(0) + N'b'") == [(1,)]
        connection.close()
    connection = odbc(server)
    table = arrow(connection, "SELECT * FROM nul ORDER BY k")
    given = rows(connection, "SELECT ?, DATALENGTH(?)", "p\0q", "p\0q")
    connection.close()
    assert [tuple(row.values()) for row in table.to_pylist()] == NUL_ROWS
    assert given == [("p\0q", 3)]  # the driver sends ASCII as varchar


def test_surrogates_without_a_partner_are_kept(server: Server) -> None:
    """Their UTF-16 comes back exactly; what the drivers make of it is another matter."""
    server.execute_script(
        "CREATE TABLE lone (k int, n nvarchar(20), m nvarchar(max))\n"
        "INSERT lone VALUES (1, NCHAR(0xD800) + N'x', N'é' + NCHAR(0xDFFF)), "
        "(2, NCHAR(0xD83D) + NCHAR(0xDE00), CAST(0x3DD800DE AS nvarchar(10))), "
        "(3, N'😀', CAST(0x00D84100 AS nvarchar(10)))"
    )
    connection = odbc(server)
    found = rows(
        connection,
        "SELECT CAST(n AS varbinary(40)), CAST(m AS varbinary(40)), LEN(n), DATALENGTH(m), UNICODE(n + N''), "
        "CAST(m AS varchar(10)) FROM lone WHERE k = 1",
    )
    pairs = rows(connection, "SELECT n, m FROM lone WHERE k = 2")
    third = rows(connection, "SELECT n, CAST(m AS varbinary(40)) FROM lone WHERE k = 3")
    connection.close()
    assert found == [(b"\x00\xd8x\x00", b"\xe9\x00\xff\xdf", 2, 4, 0xD800, "é?")]
    # Two halves that meet are a pair on the wire.
    assert pairs == [("😀", "😀")]
    assert third == [("😀", b"\x00\xd8A\x00")]


def test_as_arrow_a_surrogate_without_a_partner_is_replaced(server: Server) -> None:
    """In silence, and without a change of length: what reads text this way cannot see it."""
    server.execute_script(
        "CREATE TABLE lone (n nvarchar(20), m nvarchar(max))\n"
        "INSERT lone VALUES (N'a' + NCHAR(0xD800), NCHAR(0xDC00) + N'b')"
    )
    connection = odbc(server)
    table = arrow(connection, "SELECT n, m FROM lone")
    connection.close()
    assert table.to_pylist() == [{"n": "a\ufffd", "m": "\ufffdb"}]


def test_like_finds_surrogates_without_a_partner(server: Server) -> None:
    texts = {
        1: "N'a' + NCHAR(0xD800)", 2: "NCHAR(0xDC00) + N'b'", 3: "N'😀'", 4: "N'ab'", 5: "N''",
        6: "NCHAR(0xD800) + N'x😀'", 7: "N'😀' + NCHAR(0xDFFF)", 8: "NCHAR(0xD83D) + NCHAR(0xDE00)",
    }  # fmt: skip
    server.execute_script(
        "CREATE TABLE lone (k int, n nvarchar(20))\nINSERT lone VALUES "
        + ", ".join(f"({k}, {text})" for k, text in texts.items())
    )
    high = "NCHAR(55296) + N'-' + NCHAR(56319) + N']"
    low = "NCHAR(56320) + N'-' + NCHAR(57343) + N']"
    patterns = [
        f"N'%[' + {high}[^' + {low}%'", f"N'%[' + {high}'", f"N'[' + {low}%'",
        f"N'%[^' + {high}[' + {low}%'",
    ]  # fmt: skip
    connection = odbc(server)
    found = [
        [
            k
            for (k,) in rows(
                connection,
                f"SELECT k FROM lone WHERE n COLLATE Latin1_General_BIN2 LIKE {pattern} ORDER BY k",
            )
        ]
        for pattern in patterns
    ]
    connection.close()
    assert found == [[6], [1], [2], [7]]


def test_characters_that_stand_for_surrogates_are_refused(server: Server) -> None:
    connection = tds(server)
    text = "\U0010f800"
    assert error_of(connection, f"SELECT N'{text}'")[0] == 50001
    assert one(connection, "SELECT DATALENGTH(N'\U0010f7ff')") == 4
    connection.close()
