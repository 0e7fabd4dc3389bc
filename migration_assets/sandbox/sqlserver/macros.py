# ruff: noqa: RUF001 - the characters of code page 1252 are meant
"""DuckDB macros that translated T-SQL calls; created once in the stand-in's main database."""

from __future__ import annotations

from migration_assets.sandbox.sqlserver.errors import raising, unsupported

PREFIX = "memory.main.ss_"
"""How translated SQL names a macro, whatever database is in use."""

MAX_TICKS = 3_155_378_975_999_999_999
"""9999-12-31 23:59:59.9999999 in 100 ns since 0001-01-01."""
_NOT_A_DATE = raising(
    241, "Conversion failed when converting date and/or time from character string."
)
_OUT_OF_RANGE = raising(
    242, "The conversion of a data type to a datetime data type resulted in an out-of-range value."
)
_NON_BMP = unsupported("this string function on a character outside the BMP")

MACROS: dict[str, str] = {
    # Strings. strlen counts bytes of UTF-8, length counts code points: equal for ASCII only.
    # A surrogate without its partner is kept as U+10F800 and up, see code_pages.py: one unit.
    "units(x)": """CASE WHEN strlen(x) = length(x) THEN length(x) ELSE length(x)
        + length(regexp_replace(x, '[^\\x{10000}-\\x{10F7FF}]', '', 'g')) END""",
    "bmp(x)": f"""CASE WHEN strlen(x) <> length(x) AND regexp_matches(x, '[\\x{{10000}}-\\x{{10F7FF}}]')
        THEN {raising(_NON_BMP.number, _NON_BMP.message)} ELSE x END""",
    "cp1252(x)": """CASE WHEN strlen(x) = length(x) THEN x ELSE regexp_replace(regexp_replace(x,
        '[\\x{10000}-\\x{10F7FF}]', '??', 'g'),
        '[^\\x{00}-\\x{7F}\\x{A0}-\\x{FF}€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]', '?', 'g') END""",
    "fold(x)": "lower(rtrim(x, ' '))",
    # GUIDs: SQL Server compares the last six bytes first; see SqlGuid in .NET's sources.
    "guid_key(u)": """substr(CAST(u AS VARCHAR), 25, 12) || substr(CAST(u AS VARCHAR), 20, 4)
        || substr(CAST(u AS VARCHAR), 17, 2) || substr(CAST(u AS VARCHAR), 15, 2)
        || substr(CAST(u AS VARCHAR), 12, 2) || substr(CAST(u AS VARCHAR), 10, 2)
        || substr(CAST(u AS VARCHAR), 7, 2) || substr(CAST(u AS VARCHAR), 5, 2)
        || substr(CAST(u AS VARCHAR), 3, 2) || substr(CAST(u AS VARCHAR), 1, 2)""",
    "swap_hex(h)": """substr(h, 7, 2) || substr(h, 5, 2) || substr(h, 3, 2) || substr(h, 1, 2)
        || substr(h, 11, 2) || substr(h, 9, 2) || substr(h, 15, 2) || substr(h, 13, 2)
        || substr(h, 17, 16)""",
    "guid_binary(u)": "unhex(memory.main.ss_swap_hex(replace(CAST(u AS VARCHAR), '-', '')))",
    "binary_guid(b)": "CAST(memory.main.ss_swap_hex(hex(b)) AS UUID)",
    # Binaries.
    "unsigned(b)": "CASE WHEN octet_length(b) = 0 THEN 0::UHUGEINT ELSE ('0x' || hex(b))::UHUGEINT END",
    "blob_part(b, s, n)": """unhex(substr(hex(b), 2 * greatest(s, 1) - 1,
        2 * greatest(n + least(s - 1, 0), 0)))""",
    "utf16(x)": """CASE WHEN strlen(x) = length(x)
        THEN unhex(regexp_replace(hex(encode(x)), '(..)', '\\1' || '00', 'g'))
        ELSE ss_native_bytes(x, 'utf-16-le') END""",
    "narrow(x, page)": "CASE WHEN strlen(x) = length(x) THEN encode(x) ELSE ss_native_bytes(x, page) END",
    "kept(x, page)": "CASE WHEN strlen(x) = length(x) THEN x ELSE ss_native_kept(x, page) END",
    "cut(x, page, n)": """CASE WHEN strlen(x) = length(x) THEN substr(x, 1, n)
        ELSE ss_native_cut(x, page, n) END""",
    # Times. Timestamps are microseconds; datetime is kept as SQL Server shows it (.000, .003, .007).
    "floor_to(v, unit)": "v - ((v % unit) + unit) % unit",
    "round_stamp(t, unit)": """make_timestamp(memory.main.ss_floor_to(
        epoch_us(t) + unit // 2, unit))""",
    "round_time(t, unit)": """CAST(make_timestamp(memory.main.ss_floor_to(
        epoch_us(t) + unit // 2, unit) % 86400000000) AS TIME)""",
    "datetime_units(t)": "round((((epoch_us(t) % 86400000000) + 86400000000) % 86400000000) * 3 / 10000.0)::BIGINT",
    "to_datetime(t)": """make_timestamp(memory.main.ss_floor_to(epoch_us(t), 86400000000)
        + round(memory.main.ss_datetime_units(t) * 10 / 3.0)::BIGINT * 1000)""",
    "exact_datetime(t)": """make_timestamp(memory.main.ss_floor_to(epoch_us(t), 86400000000)
        + round(memory.main.ss_datetime_units(t) * 10000 / 3.0)::BIGINT)""",
    # 100 ns since 0001-01-01, for the seventh digit.
    "ticks_of_stamp(t)": "(epoch_us(t) + 62135596800000000) * 10",
    "ticks_of_datetime(t)": """(memory.main.ss_floor_to(epoch_us(t), 86400000000) + 62135596800000000) * 10
        + (memory.main.ss_datetime_units(t) * 200000 + 3) // 6""",
    "stamp_of_ticks(n)": "make_timestamp(n // 10 - 62135596800000000)",
    "round_ticks(n, unit)": f"""CASE WHEN (n + unit // 2) // unit * unit > {MAX_TICKS}
        THEN {raising(50001, "stand-in: not supported: a moment that rounds up beyond 9999-12-31")}
        ELSE (n + unit // 2) // unit * unit END""",
    "datetime_of_ticks(n)": f"""CASE WHEN n < 552877920000000000 OR n >= 3155378975999985000 THEN {_OUT_OF_RANGE}
        ELSE make_timestamp((n // 864000000000 - 719162) * 86400000000
        + ((((n % 864000000000) * 3 + 50000) // 100000) * 10 + 1) // 3 * 1000) END""",
    "smalldatetime_of_datetime(t)": f"""CASE WHEN t < TIMESTAMP '1900-01-01'
        OR t >= TIMESTAMP '2079-06-06 23:59:30' THEN {_OUT_OF_RANGE}
        ELSE memory.main.ss_round_stamp(t, 60000000) END""",
    "since_0001(t)": "epoch_us(t) + 62135596800000000",
    "stamp_of_time(t)": "make_timestamp(epoch_us(t) - 2208988800000000)",
    "dto_local(d)": "make_timestamp(epoch_us(CAST((d).utc AS TIMESTAMP)) + (d).off::BIGINT * 60000000)",
    "offset_minutes(z)": """CASE WHEN z = '' OR upper(z) = 'Z' THEN 0 ELSE
        (CASE WHEN z[1] = '-' THEN -1 ELSE 1 END)
        * (CAST(z[2:3] AS INTEGER) * 60 + CAST(z[5:6] AS INTEGER)) END""",
    "offset_text(m)": "printf('%s%02d:%02d', CASE WHEN m < 0 THEN '-' ELSE '+' END, abs(m::INTEGER) // 60, abs(m::INTEGER) % 60)",
    "stamp_text(x)": """CASE WHEN regexp_matches(trim(x), '^\\d{8}( |$)')
        THEN substr(trim(x), 1, 4) || '-' || substr(trim(x), 5, 2) || '-' || substr(trim(x), 7) ELSE trim(x) END""",
    "to_stamp(x)": """CAST(CASE WHEN trim(x) = '' THEN '1900-01-01'
        WHEN regexp_matches(trim(x), '^\\d+:') THEN '1900-01-01 ' || trim(x)
        ELSE regexp_replace(memory.main.ss_stamp_text(x), 'Z$', '') END AS TIMESTAMP)""",
    "fraction_of_text(x)": f"""CASE WHEN length(regexp_extract(x, '[.](\\d+)', 1)) > 7 THEN {_NOT_A_DATE}
        ELSE rpad(regexp_extract(x, '[.](\\d+)', 1), 7, '0') END""",
    "ticks_of_text(x)": """memory.main.ss_ticks_of_stamp(memory.main.ss_to_stamp(
        regexp_replace(x, '[.]\\d{1,7}', ''))) + CAST(memory.main.ss_fraction_of_text(x) AS BIGINT)""",
    "dto_of_local(n, off)": f"""CASE WHEN n IS NULL OR off IS NULL THEN NULL
        WHEN abs(off) > 840 OR n - off::BIGINT * 600000000 NOT BETWEEN 0 AND {MAX_TICKS}
        THEN {_NOT_A_DATE}
        ELSE {{'utc': n - off::BIGINT * 600000000, 'off': off::SMALLINT}} END""",
    "dto_of_text(x)": """CASE WHEN x IS NULL THEN NULL ELSE memory.main.ss_dto_of_local(
        memory.main.ss_ticks_of_text(regexp_replace(trim(x), ' *(Z|[+-]\\d\\d:\\d\\d)$', '')),
        memory.main.ss_offset_minutes(regexp_extract(trim(x), '(Z|[+-]\\d\\d:\\d\\d)$', 1))) END""",
    # Numbers.
    "whole(x)": """CASE WHEN x IS NULL THEN NULL WHEN trim(x) = '' THEN '0'
        WHEN regexp_full_match(trim(x), '[+-]?[0-9]+') THEN trim(x)
        ELSE error('tds:245:Conversion failed when converting the varchar value ''' || x
        || ''' to data type int.') END""",
    "decimal_text(d)": "regexp_replace(CAST(d AS VARCHAR), '^(-?)[.]', '\\10.')",
    "exp3(x)": "regexp_replace(x, 'e([+-])(\\d\\d)$', 'e\\10\\2')",
}


def statements() -> list[str]:
    """CREATE MACRO statements, in an order in which each finds those it uses."""
    return [
        f"CREATE OR REPLACE MACRO {PREFIX}{head} AS {' '.join(body.split())}"
        for head, body in MACROS.items()
    ]
