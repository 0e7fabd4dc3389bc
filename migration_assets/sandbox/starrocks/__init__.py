"""A stand-in for a StarRocks frontend: MySQL protocol, DuckDB behind it. It is not StarRocks.

It enforces the rules and gives the error texts that were seen on a real frontend, reads external
Iceberg catalogs through pyiceberg with StarRocks' stale metadata, and answers "stand-in: not
supported: ..." to what it does not know. Rows live in DuckDB, in memory: StarRocks' `db`.`t` is
`"db"."t"` there, with all partitions in one table, DATETIME as TIMESTAMP, LARGEINT as HUGEINT,
VARBINARY as BLOB, so that `Control.sql` reads `UPDATE "db"."t" SET ...`. (DuckDB ignores the case
of names: of two tables that differ by case alone, the later one is `"t~2"`.)

Faults (see `control.Fault`; instead of `alter` there is `Control.sql`): `refuse`, `delay`, `error`,
`then`, and `drop`, which lets the statement run and cuts the socket before its answer (or after
`after_bytes` of it). `match` is tried on the statement. `refuse` counts as the cluster-wide limit;
each user's own is `--limit` or ALTER USER.

Run it with `python -m migration_assets.sandbox.starrocks`, or from Python with `StarRocksStandIn`.
"""

from migration_assets.sandbox.starrocks.server import StarRocksStandIn

__all__ = ["StarRocksStandIn"]
