-- Recommended, by the owner of the database: rows and their fingerprint are then read from one point in
-- time, without locks, and `consistency: barrier` keeps writers waiting for milliseconds. It needs no grant to
-- the login. Versions of changed rows go to tempdb. Run `migration-assets plan` again afterwards.
--   sqlcmd -S HOST -C -v DATABASE=shop -i snapshot-isolation.sql
-- The stand-in executes it.
ALTER DATABASE [$(DATABASE)] SET ALLOW_SNAPSHOT_ISOLATION ON;
GO
