-- Optional: sizes of tables from sys.dm_db_partition_stats, which set the number of partitions. Without it
-- the plan counts rows in other catalog views, and says so. SQL Server 2022 has a narrower permission, VIEW
-- DATABASE PERFORMANCE STATE, which will do there:
-- https://learn.microsoft.com/sql/relational-databases/system-dynamic-management-views/sys-dm-db-partition-stats-transact-sql
--   sqlcmd -S HOST -C -v DATABASE=shop -i sizes.sql
-- Read by a parser of T-SQL only.
USE [$(DATABASE)];
GO
GRANT VIEW DATABASE STATE TO [migration];
GO
