-- The shop: the sample database of the sandbox, in T-SQL as SQL Server Management Studio scripts it.
-- `data.py` fills it. One column per line: `declared.py` reads the types from here.

CREATE SCHEMA [sales];
GO
CREATE SCHEMA [hr];
GO

CREATE TABLE [dbo].[Currencies] (
    [Code] char(3) NOT NULL,
    [Name] nvarchar(40) NOT NULL,
    [Symbol] nchar(2) NULL,
    [UnitsPerEuro] smallmoney NOT NULL,
    [IsActive] bit NOT NULL CONSTRAINT [DF_Currencies_IsActive] DEFAULT (1),
    CONSTRAINT [PK_Currencies] PRIMARY KEY CLUSTERED ([Code] ASC)
);
GO

CREATE TABLE [dbo].[Categories] (
    [CategoryID] tinyint NOT NULL,
    [ParentID] tinyint NULL,
    [Name] nvarchar(50) NOT NULL,
    [Description] ntext NULL,
    CONSTRAINT [PK_Categories] PRIMARY KEY CLUSTERED ([CategoryID] ASC),
    CONSTRAINT [FK_Categories_Parent] FOREIGN KEY ([ParentID]) REFERENCES [dbo].[Categories] ([CategoryID])
);
GO

CREATE TABLE [dbo].[Products] (
    [ProductID] int IDENTITY(1, 1) NOT NULL,
    [Sku] varchar(16) NOT NULL,
    [Name] nvarchar(80) NOT NULL,
    [CategoryID] tinyint NULL,
    [Price] decimal(10, 2) NOT NULL,
    [PriceWithTax] AS (CAST([Price] * 1.19 AS decimal(14, 4))) PERSISTED,
    [WeightKg] real NULL,
    [Margin] float NULL,
    [Specification] xml NULL,
    [Discontinued] bit NOT NULL,
    CONSTRAINT [PK_Products] PRIMARY KEY CLUSTERED ([ProductID] ASC),
    CONSTRAINT [UQ_Products_Sku] UNIQUE NONCLUSTERED ([Sku] ASC),
    CONSTRAINT [FK_Products_Categories] FOREIGN KEY ([CategoryID]) REFERENCES [dbo].[Categories] ([CategoryID])
);
GO

CREATE TABLE [dbo].[Customers] (
    [CustomerID] int IDENTITY(1, 1) NOT NULL,
    [RowGuid] uniqueidentifier ROWGUIDCOL NOT NULL CONSTRAINT [DF_Customers_RowGuid] DEFAULT (newid()),
    [Name] nvarchar(100) NOT NULL,
    [Email] varchar(120) NULL,
    [City] nvarchar(60) NULL,
    [Country] char(2) NOT NULL,
    [CreditLimit] money NULL,
    [Rating] smallint NULL,
    [CreatedAt] datetime2(3) NOT NULL,
    [ModifiedAt] datetime NULL,
    [IsActive] bit NOT NULL,
    CONSTRAINT [PK_Customers] PRIMARY KEY CLUSTERED ([CustomerID] ASC)
);
GO
CREATE UNIQUE NONCLUSTERED INDEX [UX_Customers_RowGuid] ON [dbo].[Customers] ([RowGuid] ASC);
GO

CREATE TABLE [dbo].[Settings] (
    [Key] nvarchar(100) NOT NULL,
    [Value] nvarchar(max) NULL,
    [Changed] datetime NOT NULL,
    CONSTRAINT [PK_Settings] PRIMARY KEY CLUSTERED ([Key] ASC)
);
GO

-- Reserved words and characters that need quoting, wherever a name can have them.
CREATE TABLE [dbo].[select] (
    [from] int NOT NULL,
    [Where] nvarchar(50) NULL,
    [ORDER] int NULL,
    [group by] varchar(20) NULL,
    [User] nvarchar(128) NULL,
    [NULL] bit NULL,
    [odd ]] bracket] int NULL,
    [it's "quoted"] varchar(10) NULL,
    [100 %] decimal(5, 2) NULL,
    CONSTRAINT [PK select] PRIMARY KEY CLUSTERED ([from] ASC)
);
GO

CREATE TABLE [dbo].[Documents] (
    [DocumentID] uniqueidentifier NOT NULL CONSTRAINT [DF_Documents_DocumentID] DEFAULT (newid()),
    [Title] nvarchar(200) NOT NULL,
    [Language] nchar(5) NULL,
    [Digest] binary(16) NULL,
    [CreatedAt] datetimeoffset(7) NOT NULL,
    [Body] nvarchar(max) NULL,
    [Plain] varchar(max) NULL,
    [Legacy] text NULL,
    [LegacyUnicode] ntext NULL,
    [Content] varbinary(max) NULL,
    [Thumbnail] image NULL,
    [Properties] xml NULL,
    CONSTRAINT [PK_Documents] PRIMARY KEY CLUSTERED ([DocumentID] ASC)
);
GO

-- One column of every type; its first rows are the extremes.
CREATE TABLE [dbo].[AllTypes] (
    [Id] int NOT NULL,
    [Bit] bit NULL,
    [TinyInt] tinyint NULL,
    [SmallInt] smallint NULL,
    [Int] int NULL,
    [BigInt] bigint NULL,
    [Decimal5_0] decimal(5, 0) NULL,
    [Decimal9_2] decimal(9, 2) NULL,
    [Decimal19_4] decimal(19, 4) NULL,
    [Decimal28_10] decimal(28, 10) NULL,
    [Decimal38_0] decimal(38, 0) NULL,
    [Decimal38_10] decimal(38, 10) NULL,
    [Decimal38_38] decimal(38, 38) NULL,
    [Numeric18_6] numeric(18, 6) NULL,
    [Money] money NULL,
    [SmallMoney] smallmoney NULL,
    [Real] real NULL,
    [Float] float NULL,
    [Date] date NULL,
    [Time0] time(0) NULL,
    [Time3] time(3) NULL,
    [Time7] time(7) NULL,
    [DateTime] datetime NULL,
    [SmallDateTime] smalldatetime NULL,
    [DateTime2_0] datetime2(0) NULL,
    [DateTime2_3] datetime2(3) NULL,
    [DateTime2_6] datetime2(6) NULL,
    [DateTime2_7] datetime2(7) NULL,
    [DateTimeOffset0] datetimeoffset(0) NULL,
    [DateTimeOffset3] datetimeoffset(3) NULL,
    [DateTimeOffset7] datetimeoffset(7) NULL,
    [Char10] char(10) NULL,
    [VarChar100] varchar(100) NULL,
    [VarCharMax] varchar(max) NULL,
    [Text] text NULL,
    [NChar10] nchar(10) NULL,
    [NVarChar100] nvarchar(100) NULL,
    [NVarCharMax] nvarchar(max) NULL,
    [NText] ntext NULL,
    [Binary8] binary(8) NULL,
    [VarBinary100] varbinary(100) NULL,
    [VarBinaryMax] varbinary(max) NULL,
    [Image] image NULL,
    [UniqueIdentifier] uniqueidentifier NULL,
    [RowVersion] rowversion NOT NULL,
    [Xml] xml NULL,
    CONSTRAINT [PK_AllTypes] PRIMARY KEY CLUSTERED ([Id] ASC)
);
GO

-- A heap: no key, and some of its rows are equal in every column.
CREATE TABLE [dbo].[EventLog] (
    [OccurredAt] datetime2(7) NOT NULL,
    [Severity] varchar(10) NOT NULL,
    [Source] nvarchar(50) NOT NULL,
    [Message] nvarchar(400) NULL,
    [DurationMs] real NULL,
    [UserID] int NULL
);
GO
CREATE NONCLUSTERED INDEX [IX_EventLog_OccurredAt] ON [dbo].[EventLog] ([OccurredAt] DESC) INCLUDE ([Severity]);
GO

CREATE TABLE [dbo].[Archived Orders] (
    [OrderID] bigint NOT NULL,
    [ArchivedAt] datetime2(0) NOT NULL,
    [Payload] xml NULL,
    [Total] money NULL,
    CONSTRAINT [PK_Archived Orders] PRIMARY KEY CLUSTERED ([OrderID] ASC)
);
GO

CREATE TABLE [hr].[Departments] (
    [DepartmentID] tinyint NOT NULL,
    [Name] nvarchar(50) NOT NULL,
    [Budget] money NULL,
    [Opened] date NOT NULL,
    CONSTRAINT [PK_Departments] PRIMARY KEY CLUSTERED ([DepartmentID] ASC)
);
GO

CREATE TABLE [hr].[Employees] (
    [EmployeeID] smallint NOT NULL,
    [FirstName] nvarchar(50) NOT NULL,
    [LastName] nvarchar(50) NOT NULL,
    [FullName] AS (CAST([FirstName] + N' ' + [LastName] AS nvarchar(101))),
    [DepartmentID] tinyint NOT NULL,
    [ManagerID] smallint NULL,
    [BirthDate] date NULL,
    [HiredAt] datetime NOT NULL,
    [ReviewAt] smalldatetime NULL,
    [ShiftStart] time(0) NOT NULL,
    [ShiftEnd] time(3) NULL,
    [LastSeen] time(7) NULL,
    [Salary] money NOT NULL,
    [Badge] binary(4) NULL,
    [Photo] varbinary(max) NULL,
    [Version] rowversion NOT NULL,
    CONSTRAINT [PK_Employees] PRIMARY KEY CLUSTERED ([EmployeeID] ASC),
    CONSTRAINT [FK_Employees_Departments] FOREIGN KEY ([DepartmentID]) REFERENCES [hr].[Departments] ([DepartmentID]),
    CONSTRAINT [FK_Employees_Manager] FOREIGN KEY ([ManagerID]) REFERENCES [hr].[Employees] ([EmployeeID])
);
GO

CREATE TABLE [hr].[Salaries] (
    [EmployeeID] smallint NOT NULL,
    [ValidFrom] date NOT NULL,
    [Amount] money NOT NULL,
    [Bonus] decimal(9, 2) NULL,
    CONSTRAINT [PK_Salaries] PRIMARY KEY CLUSTERED ([EmployeeID] ASC, [ValidFrom] ASC),
    CONSTRAINT [FK_Salaries_Employees] FOREIGN KEY ([EmployeeID]) REFERENCES [hr].[Employees] ([EmployeeID])
);
GO

CREATE TABLE [hr].[Timesheets] (
    [TimesheetID] int IDENTITY(1000, 10) NOT NULL,
    [EmployeeID] smallint NOT NULL,
    [WorkDate] date NOT NULL,
    [StartTime] time(0) NOT NULL,
    [Hours] decimal(4, 2) NOT NULL,
    [Remark] nvarchar(100) NULL,
    CONSTRAINT [PK_Timesheets] PRIMARY KEY CLUSTERED ([TimesheetID] ASC),
    CONSTRAINT [FK_Timesheets_Employees] FOREIGN KEY ([EmployeeID]) REFERENCES [hr].[Employees] ([EmployeeID])
);
GO

CREATE TABLE [sales].[Coupons] (
    [Code] varchar(20) NOT NULL,
    [Percent] decimal(5, 2) NOT NULL,
    [ValidFrom] smalldatetime NOT NULL,
    [ValidTo] smalldatetime NULL,
    [MaxUses] smallint NULL,
    [Description] nvarchar(100) NULL,
    CONSTRAINT [PK_Coupons] PRIMARY KEY CLUSTERED ([Code] ASC)
);
GO

-- Its key has gaps, negatives and a jump beyond 2^40.
CREATE TABLE [sales].[Orders] (
    [OrderID] bigint NOT NULL,
    [CustomerID] int NOT NULL,
    [EmployeeID] smallint NULL,
    [PlacedAt] datetimeoffset(3) NOT NULL,
    [ShippedOn] date NULL,
    [Status] varchar(12) NOT NULL,
    [CurrencyCode] char(3) NOT NULL,
    [Freight] money NULL,
    [CouponCode] varchar(20) NULL,
    [Comment] nvarchar(200) NULL,
    [Version] rowversion NOT NULL,
    CONSTRAINT [PK_Orders] PRIMARY KEY CLUSTERED ([OrderID] ASC),
    CONSTRAINT [FK_Orders_Customers] FOREIGN KEY ([CustomerID]) REFERENCES [dbo].[Customers] ([CustomerID]),
    CONSTRAINT [FK_Orders_Employees] FOREIGN KEY ([EmployeeID]) REFERENCES [hr].[Employees] ([EmployeeID]),
    CONSTRAINT [FK_Orders_Currencies] FOREIGN KEY ([CurrencyCode]) REFERENCES [dbo].[Currencies] ([Code]),
    CONSTRAINT [FK_Orders_Coupons] FOREIGN KEY ([CouponCode]) REFERENCES [sales].[Coupons] ([Code])
);
GO
CREATE NONCLUSTERED INDEX [IX_Orders_CustomerID] ON [sales].[Orders] ([CustomerID] ASC);
GO

CREATE TABLE [dbo].[Order Details] (
    [OrderID] bigint NOT NULL,
    [Line No] smallint NOT NULL,
    [Product ID] int NOT NULL,
    [Unit Price] decimal(10, 4) NOT NULL,
    [Quantity] smallint NOT NULL,
    [Discount] real NOT NULL,
    [Line Total] AS (CAST([Unit Price] * [Quantity] AS decimal(19, 4))) PERSISTED,
    [Größe in cm] decimal(6, 1) NULL,
    [Gewicht (kg)] float NULL,
    CONSTRAINT [PK_Order Details] PRIMARY KEY CLUSTERED ([OrderID] ASC, [Line No] ASC),
    CONSTRAINT [FK_Order Details_Orders] FOREIGN KEY ([OrderID]) REFERENCES [sales].[Orders] ([OrderID]),
    CONSTRAINT [FK_Order Details_Products] FOREIGN KEY ([Product ID]) REFERENCES [dbo].[Products] ([ProductID])
);
GO

CREATE TABLE [sales].[Transactions] (
    [TransactionID] int IDENTITY(1, 1) NOT NULL,
    [CustomerID] int NOT NULL,
    [CurrencyCode] char(3) NOT NULL,
    [Amount] decimal(12, 2) NOT NULL,
    [Fee] smallmoney NULL,
    [BookedAt] datetime2(3) NOT NULL,
    [ValueDate] date NOT NULL,
    [Kind] tinyint NOT NULL,
    [IsReversed] bit NOT NULL,
    [Reference] varchar(20) NOT NULL,
    [Note] nvarchar(60) NULL,
    CONSTRAINT [PK_Transactions] PRIMARY KEY CLUSTERED ([TransactionID] ASC),
    CONSTRAINT [FK_Transactions_Customers] FOREIGN KEY ([CustomerID]) REFERENCES [dbo].[Customers] ([CustomerID])
);
GO

-- Its key exceeds bigint.
CREATE TABLE [sales].[Ledger] (
    [EntryNo] decimal(20, 0) NOT NULL,
    [Account] nvarchar(20) NOT NULL,
    [PostedOn] date NOT NULL,
    [Amount] decimal(38, 10) NOT NULL,
    [Balance] decimal(38, 0) NULL,
    [Rate] decimal(9, 8) NULL,
    [Memo] nvarchar(100) NULL,
    CONSTRAINT [PK_Ledger] PRIMARY KEY CLUSTERED ([EntryNo] ASC)
);
GO

CREATE TABLE [sales].[DailyPrices] (
    [PriceDate] date NOT NULL,
    [ProductID] int NOT NULL,
    [Open] decimal(18, 6) NOT NULL,
    [Close] decimal(18, 6) NULL,
    [Volume] bigint NULL,
    [Average] float NULL,
    CONSTRAINT [PK_DailyPrices] PRIMARY KEY CLUSTERED ([PriceDate] ASC, [ProductID] ASC),
    CONSTRAINT [FK_DailyPrices_Products] FOREIGN KEY ([ProductID]) REFERENCES [dbo].[Products] ([ProductID])
);
GO

CREATE TABLE [sales].[Sessions] (
    [SessionID] uniqueidentifier NOT NULL,
    [CustomerID] int NULL,
    [StartedAt] datetime2(6) NOT NULL,
    [EndedAt] datetime2(6) NULL,
    [UserAgent] varchar(200) NULL,
    [Address] varbinary(16) NOT NULL,
    [Score] real NULL,
    CONSTRAINT [PK_Sessions] PRIMARY KEY NONCLUSTERED ([SessionID] ASC),
    CONSTRAINT [FK_Sessions_Customers] FOREIGN KEY ([CustomerID]) REFERENCES [dbo].[Customers] ([CustomerID])
);
GO

-- 50 columns.
CREATE TABLE [sales].[Measurements] (
    [MeasurementID] int NOT NULL,
    [Sensor] uniqueidentifier NOT NULL,
    [TakenAt] datetime2(0) NOT NULL,
    [Count01] int NOT NULL,
    [Count02] int NOT NULL,
    [Count03] int NOT NULL,
    [Count04] int NOT NULL,
    [Count05] int NOT NULL,
    [Count06] int NOT NULL,
    [Count07] int NULL,
    [Count08] int NULL,
    [Count09] int NULL,
    [Count10] int NULL,
    [Count11] int NULL,
    [Count12] int NULL,
    [Level01] decimal(9, 3) NOT NULL,
    [Level02] decimal(9, 3) NOT NULL,
    [Level03] decimal(9, 3) NOT NULL,
    [Level04] decimal(9, 3) NOT NULL,
    [Level05] decimal(9, 3) NOT NULL,
    [Level06] decimal(9, 3) NOT NULL,
    [Level07] decimal(9, 3) NULL,
    [Level08] decimal(9, 3) NULL,
    [Level09] decimal(9, 3) NULL,
    [Level10] decimal(9, 3) NULL,
    [Level11] decimal(9, 3) NULL,
    [Level12] decimal(9, 3) NULL,
    [Signal01] float NOT NULL,
    [Signal02] float NOT NULL,
    [Signal03] float NOT NULL,
    [Signal04] float NOT NULL,
    [Signal05] float NOT NULL,
    [Signal06] float NOT NULL,
    [Signal07] float NULL,
    [Signal08] float NULL,
    [Signal09] float NULL,
    [Signal10] float NULL,
    [Signal11] float NULL,
    [Signal12] float NULL,
    [Flag01] bit NOT NULL,
    [Flag02] bit NOT NULL,
    [Flag03] bit NOT NULL,
    [Flag04] bit NOT NULL,
    [Label01] varchar(8) NOT NULL,
    [Label02] varchar(8) NOT NULL,
    [Label03] varchar(8) NULL,
    [Label04] varchar(8) NULL,
    [Day01] date NOT NULL,
    [Day02] date NULL,
    [Day03] date NULL,
    CONSTRAINT [PK_Measurements] PRIMARY KEY CLUSTERED ([MeasurementID] ASC)
);
GO

CREATE VIEW [sales].[OrderTotals] AS
SELECT [o].[OrderID], [o].[CustomerID], COUNT_BIG(*) AS [Lines], SUM([d].[Line Total]) AS [Total]
FROM [sales].[Orders] AS [o]
JOIN [dbo].[Order Details] AS [d] ON [d].[OrderID] = [o].[OrderID]
GROUP BY [o].[OrderID], [o].[CustomerID];
GO
