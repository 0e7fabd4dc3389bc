"""The Iceberg side: catalog and file store, data files, commits and upkeep of the tables."""
