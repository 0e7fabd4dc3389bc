"""Tests of migration_assets."""
