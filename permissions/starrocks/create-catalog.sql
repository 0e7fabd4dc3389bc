-- Once, where `migration-assets doctor --fix` is to create the external catalog; or an administrator creates
-- it. Run before pipeline.sql, which needs the catalog, and take it away afterwards:
--   REVOKE CREATE EXTERNAL CATALOG ON SYSTEM FROM ROLE migration;
-- The stand-in executes it; no StarRocks cluster ran it.
CREATE ROLE IF NOT EXISTS migration;
CREATE USER IF NOT EXISTS migration IDENTIFIED BY '${PASSWORD}';
GRANT migration TO USER migration;
SET DEFAULT ROLE migration TO migration;
GRANT CREATE EXTERNAL CATALOG ON SYSTEM TO ROLE migration;
