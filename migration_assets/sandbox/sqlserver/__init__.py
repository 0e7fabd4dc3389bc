"""A stand-in for SQL Server: the TDS protocol in front, DuckDB behind, T-SQL translated between.

It is for development, demos and tests; it is not SQL Server. What it does not know is an error
that says so. What it knows only in part:

- times are kept in microseconds: the seventh digit of time, datetime2 and datetimeoffset is 0;
- collations: case, binary order and code page are honoured, accents and the order of punctuation
  are not; keys and unique constraints on text are case-sensitive;
- foreign keys are described, not enforced;
- an error ends its batch, and one at run time also ends the open transaction, as under `SET XACT_ABORT ON`;
- under READ COMMITTED a transaction sees one state from its first write on; nothing ever blocks.
"""

from migration_assets.sandbox.sqlserver.server import FAKE_PASSWORD, SqlServerStandIn

__all__ = ["FAKE_PASSWORD", "SqlServerStandIn"]
