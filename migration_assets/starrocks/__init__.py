"""StarRocks: its connections, the tables made in it, and the load from Iceberg."""
