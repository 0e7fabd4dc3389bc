"""IC: Iceberg, S3 and the catalog, beyond what they answer (`iceberg/faults.py` has those, below 100)."""

from __future__ import annotations

from migration_assets.error_codes.entry import ErrorCode as Entry

# fmt: off
ENTRIES = (
    Entry("MA-IC-101", "the Iceberg table is somebody else's",
        "A table of this name was there before and does not have the property by which ours are known.",
        "`SELECT * FROM table$properties` in Trino, or the table's properties in Glue: `migration.table-id` is missing.",
        "Set `on_existing` of the table to `adopt` or `replace` in migration.yaml, or give it another target name."),
    Entry("MA-IC-102", "the Iceberg table's format version is not supported",
        "The table was made with another format version than 2.",
        "Its metadata file has `format-version`.",
        "Drop the table, or give it another target name."),
    Entry("MA-IC-103", "the Iceberg table holds rows of another plan",
        "The table was filled under a plan whose columns, keys or partitions differ: both kinds of rows must not mix.",
        "The message has both table ids; `migration-assets status` shows the state.",
        "Run `migration-assets reset TABLE` to empty it for the new plan, or go back to the old plan."),
    Entry("MA-IC-104", "the Iceberg table was altered",
        "Somebody changed the columns, the partitioning or the location since we made it.",
        "The message lists what differs; the history of the table's metadata files shows when.",
        "Undo the change, or run `migration-assets reset TABLE`."),
    Entry("MA-IC-105", "the Iceberg table cannot be adopted",
        "`on_existing: adopt` takes a table only if it is as the plan would make it.",
        "The message lists what differs.",
        "Use `on_existing: replace`, alter the table, or give it another target name."),
    Entry("MA-IC-106", "the Iceberg table has the columns of an earlier plan",
        "The plan has columns that were added or widened since; the rows that are there can stay.",
        "`migration-assets status` shows the table as outdated.",
        "Run `migration-assets evolve TABLE`."),
    Entry("MA-IC-107", "the Iceberg table cannot evolve to the plan",
        "The plan goes on from other states than the one that the table is in.",
        "The message has the table's id and those that the plan knows.",
        "Run `migration-assets reset TABLE`."),
    Entry("MA-IC-108", "a file is not where the warehouse is",
        "A URI is of S3 where the warehouse is a local folder, or the other way round: settings and plan belong to different environments.",
        "Compare S3_BUCKET and S3_WAREHOUSE_PATH with the locations in the plan.",
        "Use the settings under which the plan was made."),
    Entry("MA-IC-109", "the Iceberg table is gone",
        "The table was dropped after it was committed to, or was never migrated.",
        "`migration-assets status --tables TABLE`",
        "Extract and commit again: re-materialize the mssql asset of the partition and what follows it."),
    Entry("MA-IC-110", "the Iceberg table has files of another partition spec",
        "Somebody changed how the table is partitioned; its old files are still there.",
        "`SELECT DISTINCT spec_id FROM table.files` in Spark.",
        "Rewrite them with the current spec, or `migration-assets reset TABLE`."),
    Entry("MA-IC-111", "rows were deleted one by one in the Iceberg table",
        "Delete files hide rows of data files, so the data files no longer show what the table has.",
        "`SELECT * FROM table.delete_files` in Spark.",
        "Compact the table, or extract the partition again."),
)
# fmt: on
