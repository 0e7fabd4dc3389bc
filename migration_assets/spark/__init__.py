"""The Spark engine: its jars, its session, extraction on a cluster."""
