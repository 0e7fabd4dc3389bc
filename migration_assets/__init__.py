"""Move a Microsoft SQL Server database to StarRocks through Apache Iceberg, as Dagster assets."""
