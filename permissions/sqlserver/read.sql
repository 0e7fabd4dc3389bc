-- What `plan`, `run` and `validate` need, whichever state of the source is read:
-- `consistency: statement` and `barrier` need nothing else. A barrier's shared lock of a table is taken by
-- a SELECT (TABLOCK, HOLDLOCK), for which SELECT will do:
-- https://learn.microsoft.com/sql/t-sql/queries/hints-transact-sql-table
--   sqlcmd -S HOST -C -v DATABASE=shop -i read.sql
-- Instead of the whole database, SELECT may be granted on schemas or tables:
--   GRANT SELECT ON SCHEMA::[sales] TO [migration];
-- The stand-in executes it: after REVOKE of either nothing is planned, or a note says what is not seen;
-- with both all is.
USE [$(DATABASE)];
GO
GRANT SELECT TO [migration];
GO
GRANT VIEW DEFINITION TO [migration];
GO
