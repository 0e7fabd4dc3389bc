"""SQL Server: connections, what its catalog says, SQL text, and reading a key range as Arrow."""
