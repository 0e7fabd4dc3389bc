-- A few tables of different kinds: 30,000 orders with a key that is cut into ranges, text, money, moments,
-- a table without a key, a column of each kind that is not exact in StarRocks.
USE [$(DATABASE)];
GO
CREATE SCHEMA sales;
GO
CREATE TABLE sales.Customers (
    CustomerId int NOT NULL PRIMARY KEY,
    Name nvarchar(60) NOT NULL,
    Country char(2) NOT NULL,
    Credit decimal(12, 2) NULL,
    Since date NOT NULL
);
GO
CREATE TABLE sales.Orders (
    OrderId bigint NOT NULL PRIMARY KEY,
    CustomerId int NOT NULL,
    PlacedAt datetime2(3) NOT NULL,
    Total money NOT NULL,
    Paid bit NOT NULL,
    Note nvarchar(200) NULL
);
GO
CREATE TABLE dbo.Measurements (
    Sensor uniqueidentifier NOT NULL,
    At datetimeoffset(3) NOT NULL,
    Value float NULL,
    Raw varbinary(16) NULL
);
GO
INSERT INTO sales.Customers (CustomerId, Name, Country, Credit, Since)
VALUES (1, N'Ångström AB', 'SE', 1000.50, '2019-02-28'), (2, N'Müller & Söhne', 'DE', NULL, '2020-02-29'),
       (3, N'株式会社 東京', 'JP', 0.01, '2021-12-31'), (4, N'O''Brien Ltd', 'IE', -20.00, '2022-01-01');
GO
WITH digits AS (SELECT n FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) AS d(n)),
numbers AS (
    SELECT a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n AS n
    FROM digits AS a, digits AS b, digits AS c, digits AS d, digits AS e
    WHERE e.n < 3
)
INSERT INTO sales.Orders (OrderId, CustomerId, PlacedAt, Total, Paid, Note)
SELECT n + 1, n % 4 + 1, DATEADD(minute, n, '2024-01-01T00:00:00.123'), n * 0.25, n % 2,
       CASE WHEN n % 3 = 0 THEN N'delivered – ✓' END
FROM numbers;
GO
INSERT INTO dbo.Measurements (Sensor, At, Value, Raw)
VALUES ('6F9619FF-8B86-D011-B42D-00C04FC964FF', '2024-03-31T01:59:59.999+01:00', 0.1, 0x00FF),
       ('6F9619FF-8B86-D011-B42D-00C04FC964FF', '2024-03-31T03:00:00.000+02:00', NULL, NULL),
       ('00000000-0000-0000-0000-000000000001', '2024-12-31T23:59:59.999-05:00', -1e300, 0x);
GO
