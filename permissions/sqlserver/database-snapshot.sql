-- For `consistency: database_snapshot`, where the login itself is to make and drop the database snapshot.
-- Or an administrator makes it and migration.yaml names it: then it needs no grant.
-- https://learn.microsoft.com/sql/relational-databases/databases/create-a-database-snapshot-transact-sql
--   sqlcmd -S HOST -C -i database-snapshot.sql
-- Read by a parser of T-SQL only: the stand-in has no permissions of a server.
USE [master];
GO
GRANT CREATE ANY DATABASE TO [migration];
GO
