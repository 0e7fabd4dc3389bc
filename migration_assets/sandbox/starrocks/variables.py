"""Session and global variables, with the values StarRocks accepts and refuses."""

from __future__ import annotations

import re
import zoneinfo

from migration_assets.sandbox.starrocks.errors import StarRocksError, unsupported
from migration_assets.sandbox.starrocks.lexer import Reader

VERSION = "4.1.0 abc1234"  # the form of a real one: release, blank, commit

Value = str | int | float | bool | None

DEFAULTS: dict[str, Value] = {
    "auto_increment_increment": 1,
    "autocommit": True,
    "catalog": "default_catalog",
    "character_set_client": "utf8mb4",
    "character_set_connection": "utf8mb4",
    "character_set_results": "utf8mb4",
    "character_set_server": "utf8mb4",
    "collation_connection": "utf8_general_ci",
    "collation_server": "utf8_general_ci",
    "dynamic_overwrite": False,
    "enable_insert_partial_update": True,
    "enable_insert_strict": True,
    "enable_profile": False,
    "enable_spill": False,
    "init_connect": "",
    "insert_max_filter_ratio": 0.0,
    "insert_timeout": 14400,
    "interactive_timeout": 3600,
    "license": "Apache License 2.0",
    "lower_case_table_names": 0,
    "max_allowed_packet": 33554432,
    "net_read_timeout": 60,
    "net_write_timeout": 60,
    "performance_schema": False,
    "pipeline_dop": 0,
    "query_mem_limit": 0,
    "query_timeout": 300,
    "sql_mode": "ONLY_FULL_GROUP_BY",
    "sql_safe_updates": 0,
    "sql_select_limit": 9223372036854775807,
    "system_time_zone": "UTC",
    "time_zone": "UTC",
    "transaction_isolation": "REPEATABLE-READ",
    "transaction_read_only": False,
    "tx_isolation": "REPEATABLE-READ",
    "tx_visible_wait_timeout": 10,
    "version": "8.0.33",
    "version_comment": f"StarRocks version {VERSION}",
    "wait_timeout": 28800,
}
_READ_ONLY = ("version", "version_comment", "license", "system_time_zone", "lower_case_table_names")
# Settable, but the stand-in does not do what they ask for.
_REFUSED = {"sql_safe_updates": 0, "sql_select_limit": DEFAULTS["sql_select_limit"]}
_SQL_MODES = {
    "REAL_AS_FLOAT", "PIPES_AS_CONCAT", "ANSI_QUOTES", "IGNORE_SPACE", "ONLY_FULL_GROUP_BY",
    "NO_UNSIGNED_SUBTRACTION", "NO_DIR_IN_CREATE", "ANSI", "NO_AUTO_VALUE_ON_ZERO",
    "NO_BACKSLASH_ESCAPES", "STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "NO_ZERO_IN_DATE",
    "NO_ZERO_DATE", "ERROR_FOR_DIVISION_BY_ZERO", "TRADITIONAL", "NO_ENGINE_SUBSTITUTION",
    "PAD_CHAR_TO_FULL_LENGTH", "ALLOW_THROW_EXCEPTION",
}  # fmt: skip
_HARMLESS_MODES = {
    "ONLY_FULL_GROUP_BY", "STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "NO_ENGINE_SUBSTITUTION",
    "ALLOW_THROW_EXCEPTION",
}  # fmt: skip


class Variables:
    """The variables of one session; `parent` holds the global ones."""

    def __init__(self, parent: Variables | None = None) -> None:
        """Start with the global values of now."""
        values = DEFAULTS if parent is None else {k: parent[k] for k in DEFAULTS}
        self._values: dict[str, Value] = dict(values)
        self._parent = parent

    def __getitem__(self, name: str) -> Value:
        """Read a variable; 1193 when there is none of this name."""
        if name.lower() not in self._values:
            raise _unknown(name)
        return self._values[name.lower()]

    def items(self) -> list[tuple[str, str]]:
        """All variables as SHOW VARIABLES prints them."""
        return [(k, _shown(v)) for k, v in sorted(self._values.items())]

    @property
    def throw(self) -> bool:
        """Whether a failing cast is an error."""
        return "ALLOW_THROW_EXCEPTION" in str(self["sql_mode"])

    def set(self, name: str, text: str | None) -> None:
        """Set a variable from its text; None for DEFAULT.

        Raises:
            StarRocksError: 1193 unknown, 1231 refused value, 1298 unknown time zone.
        """
        name = name.lower()
        if name not in DEFAULTS:
            raise _unknown(name)
        if name in _READ_ONLY:
            raise StarRocksError(f"Variable '{name}' is a read only variable", 1238)
        value = DEFAULTS[name] if text is None else _converted(name, text)
        if name in _REFUSED and value != _REFUSED[name]:
            raise unsupported(f"SET {name} = {text}")
        self._values[name] = value

    def assign(self, reader: Reader) -> None:
        """Run the rest of a SET statement (everything but SET CATALOG and the like)."""
        while True:
            self._assignment(reader)
            if not reader.take(","):
                break
        reader.end()

    def _assignment(self, reader: Reader) -> None:
        if reader.take("NAMES"):
            charset = reader.name_or_string()
            if charset.lower() not in ("utf8", "utf8mb4", "utf8mb3"):
                raise unsupported(f"SET NAMES {charset}")
            if reader.take("COLLATE"):
                reader.name_or_string()
            return
        if reader.at("TRANSACTION") or reader.at("SESSION", "TRANSACTION"):
            raise unsupported("SET TRANSACTION")
        if reader.take("@@"):
            scope = reader.one_of("GLOBAL", "SESSION")
            if scope:
                reader.expect(".")
        else:
            if reader.take("@"):
                raise unsupported("user variables")
            scope = reader.one_of("GLOBAL", "SESSION", "LOCAL")
        name = reader.name()
        if not reader.take(":", "="):
            reader.expect("=")
        text = None if reader.take("DEFAULT") else reader.value()
        self.set(name, text)
        if scope == "GLOBAL" and self._parent is not None:
            self._parent.set(name, text)


def _unknown(name: str) -> StarRocksError:
    return StarRocksError(f"Unknown system variable '{name}'", 1193)


def _wrong(name: str, text: str) -> StarRocksError:
    return StarRocksError(f"Variable '{name}' can't be set to the value of '{text}'", 1231)


def _shown(value: Value) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _converted(name: str, text: str) -> Value:
    default = DEFAULTS[name]
    try:
        if name == "sql_mode":
            return _sql_mode(text)
        if name == "time_zone":
            _check_time_zone(text)
        if isinstance(default, bool):
            return {"true": True, "on": True, "1": True, "false": False, "off": False, "0": False}[
                text.lower()
            ]
        if isinstance(default, int):
            number = int(text)
            if name in ("query_timeout", "insert_timeout") and not 1 <= number <= 259_200:
                raise _wrong(name, text)
            return number
        if isinstance(default, float):
            ratio = float(text)
            if not 0 <= ratio <= 1:
                raise _wrong(name, text)
            return ratio
    except (ValueError, KeyError):
        raise _wrong(name, text) from None
    return text


def _sql_mode(text: str) -> str:
    modes = [mode.strip().upper() for mode in text.split(",") if mode.strip()]
    for mode in modes:
        if mode not in _SQL_MODES:
            raise _wrong("sql_mode", mode)
        if mode not in _HARMLESS_MODES:
            raise unsupported(f"sql_mode {mode}")
    return ",".join(modes)


def _check_time_zone(text: str) -> None:
    if offset_minutes(text) is not None:
        return
    known = text in ("UTC", "GMT", "CST", "PRC") or "/" in text
    if not known or (text != "CST" and text not in zoneinfo.available_timezones()):
        raise StarRocksError(f"Unknown or incorrect time zone: '{text}'", 1298)


def offset_minutes(zone: str) -> int | None:
    """The minutes of a zone written as `+08:00`; None for a named zone."""
    match = re.fullmatch(r"([+-])(\d{1,2}):(\d{2})", zone)
    if not match:
        return None
    minutes = int(match[2]) * 60 + int(match[3])
    minutes = -minutes if match[1] == "-" else minutes
    return minutes if -12 * 60 <= minutes <= 14 * 60 and int(match[3]) < 60 else None


def in_zone(sql: str, zone: str) -> str:
    """DuckDB's expression for a TIMESTAMPTZ as wall clock time of a session's zone."""
    minutes = offset_minutes(zone)
    if minutes is not None:
        return f"(({sql} AT TIME ZONE 'UTC') + INTERVAL ({minutes}) MINUTE)"
    return f"({sql} AT TIME ZONE '{'Asia/Shanghai' if zone == 'CST' else zone}')"
