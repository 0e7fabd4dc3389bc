"""The three assets of a table, and what joins their systems; the only package that does."""
