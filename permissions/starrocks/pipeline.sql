-- What the migration's user needs in StarRocks 3.0 and later. Run by root or a user_admin:
--   envsubst < pipeline.sql | mysql -h HOST -P 9030 -u root -p
-- Repeat what names ${DATABASE} for each target database of the plan. The databases are made here, since
-- StarRocks grants nothing on one that is not there; so the user needs no right to make any.
-- The stand-in executes it, and each grant that is taken away makes it refuse something; no StarRocks
-- cluster ran it.
CREATE ROLE IF NOT EXISTS migration;
CREATE USER IF NOT EXISTS migration IDENTIFIED BY '${PASSWORD}';
GRANT migration TO USER migration;
SET DEFAULT ROLE migration TO migration;

-- The doctor's probe.
CREATE DATABASE IF NOT EXISTS migration_assets_probe;
GRANT CREATE TABLE ON DATABASE migration_assets_probe TO ROLE migration;
GRANT DROP ON ALL TABLES IN DATABASE migration_assets_probe TO ROLE migration;

-- Each target database. ALTER is for `evolve` and `on_existing: adopt`, DROP for `reset` and `replace`.
CREATE DATABASE IF NOT EXISTS ${DATABASE};
GRANT CREATE TABLE ON DATABASE ${DATABASE} TO ROLE migration;
GRANT SELECT, INSERT, ALTER, DROP ON ALL TABLES IN DATABASE ${DATABASE} TO ROLE migration;

-- Reading Iceberg through the external catalog: in all databases, since those of the first run are not there
-- yet; which ones StarRocks sees is decided by its own role (permissions/aws/starrocks.json). ALTER is what
-- REFRESH EXTERNAL TABLE asks for; releases with https://github.com/StarRocks/starrocks/pull/62636 (merged in
-- September 2025) want REFRESH in its place.
GRANT USAGE ON CATALOG ${CATALOG} TO ROLE migration;
SET CATALOG ${CATALOG};
GRANT SELECT, ALTER ON ALL TABLES IN ALL DATABASES TO ROLE migration;
SET CATALOG default_catalog;
