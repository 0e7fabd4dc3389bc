"""Stand-ins for SQL Server, S3, Glue and StarRocks that speak the real wire protocols.

They exist for development, the demo and the tests. Nothing but commands and tests imports this
package, and no product code knows that it exists.
"""
