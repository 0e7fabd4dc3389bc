"""The sample database: a shop of 22 tables in three schemas, with every common type.

`schema.sql` declares it, `data` makes its rows, `expectation` says how they must arrive.
"""

from migration_assets.sandbox.sample.data import SEED, SampleTable, load_into, tables
from migration_assets.sandbox.sample.declared import DeclaredColumn, declared_tables, schema_sql
from migration_assets.sandbox.sample.expectation import expected

__all__ = [
    "SEED",
    "DeclaredColumn",
    "SampleTable",
    "declared_tables",
    "expected",
    "load_into",
    "schema_sql",
    "tables",
]
