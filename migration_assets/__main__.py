"""`python -m migration_assets` is the command `migration-assets`."""

from migration_assets.cli import main

main()
