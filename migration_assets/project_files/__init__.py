"""The files that a project begins with; `migration-assets init` writes them."""
