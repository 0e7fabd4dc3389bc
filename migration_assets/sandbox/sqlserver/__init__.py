"""A stand-in for SQL Server: the TDS protocol in front, DuckDB behind, T-SQL translated between.

It speaks TDS 7.4 and 8.0 with TLS. It is for development, demos and tests; it is not SQL Server. What it does not know is an error
that says so. What it knows only in part:

- sql_variant, hierarchyid, geometry, geography, json, vector and CLR types go out through
  expressions over them (`.ToString()`, `CONVERT(nvarchar(max), …)`): a result column of such a type
  is refused; shapes are points, linestrings and polygons; CLR types are bytes without methods;
- text that a code page lacks becomes `?`, where SQL Server would take a similar letter for some;
- characters from U+10F800 on are refused: they stand for surrogates without a partner;
- collations: case, binary order and code page are honoured, accents and the order of punctuation
  are not; keys and unique constraints on text are case-sensitive;
- foreign keys are described, not enforced;
- an error ends its batch, and one at run time also ends the open transaction, as under `SET XACT_ABORT ON`;
- GRANT, DENY and REVOKE know SELECT, UNMASK and VIEW DEFINITION, all of the one login, whomever they
  name; MASKED WITH knows default() and email(); a filter of a security policy is a condition over its
  parameters;
- temporal, graph, ledger, external, memory-optimized, FILESTREAM and encrypted tables are only
  described: `EXEC sp_stand_in_describe 'dbo.t', 'temporal_type', 2` gives a column of `sys.tables` a
  value, with a column's name as fourth argument one of `sys.columns`;
- under READ COMMITTED a transaction sees one state from its first write on; nothing ever blocks.
"""

from migration_assets.sandbox.sqlserver.server import FAKE_PASSWORD, SqlServerStandIn

__all__ = ["FAKE_PASSWORD", "SqlServerStandIn"]
