"""The file `.env`, read as strictly as a file that holds passwords and addresses deserves.

python-dotenv passes over a line that it does not understand, so half of a merge conflict, a missing
quote or a `name: value` would leave a setting at its default, or at another line's value.
"""

from __future__ import annotations

import io
import re
from pathlib import Path

from migration_assets.errors import ConfigurationError

_NAME = re.compile(r"[A-Za-z_][\w.-]*", re.ASCII)
_LINES = "Each line is NAME=value, or a comment that begins with #."


def read_env_file(path: Path) -> dict[str, str | None]:
    """Read an env file; one that is not there has no settings.

    Args:
        path: the file, in UTF-8 with or without a byte order mark.

    Returns:
        Names to values, None for a name without `=`; `${NAME}` in a value is replaced.

    Raises:
        ConfigurationError: it is a folder, no UTF-8 text, or a line of it cannot be understood.
    """
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError:
        raise ConfigurationError(
            f"Settings: {path} cannot be read: it is no UTF-8 text.",
            code="MA-CF-004",
            next_step="Save it as UTF-8.",
        ) from None
    except OSError as error:
        raise ConfigurationError(
            f"Settings: {path} cannot be read: {error.strerror}.", code="MA-CF-004"
        ) from None
    for binding in parse_stream(io.StringIO(text)):
        # What the line says may be a secret.
        where = f"Settings: {path}, line {binding.original.line}"
        # python-dotenv takes `MSSQL_PORT:1434` for a name without a value.
        is_no_name = binding.key is not None and _NAME.fullmatch(binding.key) is None
        if binding.error or (is_no_name and binding.value is None):
            raise ConfigurationError(
                f"{where}: not understood.", code="MA-CF-004", next_step=_LINES
            )
        if "\0" in binding.original.string:
            raise ConfigurationError(
                f"{where}: there is a NUL character in it.", code="MA-CF-004", next_step=_LINES
            )
    return dotenv_values(stream=io.StringIO(text))
