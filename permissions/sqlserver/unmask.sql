-- Where columns have dynamic data masking and are to be migrated as they are: without it a login reads
-- masked values, so the plan refuses such columns.
--   sqlcmd -S HOST -C -v DATABASE=shop -i unmask.sql
-- The stand-in executes it.
USE [$(DATABASE)];
GO
GRANT UNMASK TO [migration];
GO
