"""Every type with its boundary values, as data; run through the sandbox, Spark and real servers."""
