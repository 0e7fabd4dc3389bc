-- The login, and its user in the database. Run by an administrator:
--   sqlcmd -S HOST -C -v DATABASE=shop PASSWORD='…' -i login.sql
-- Read by a parser of T-SQL; the stand-in knows no logins, roles or users, so no server ran it.
USE [master];
GO
CREATE LOGIN [migration] WITH PASSWORD = N'$(PASSWORD)', CHECK_POLICY = ON;
GO
USE [$(DATABASE)];
GO
CREATE USER [migration] FOR LOGIN [migration];
GO
