"""What lies in S3 between the stages: receipts and data files."""

from __future__ import annotations

from functools import partial

from migration_assets.assets.translator import Stage
from migration_assets_tests.bad_input.case import REMOVED, Edited, Kind, Spoilt, StoredCase

of_receipt = partial(StoredCase, Kind.RECEIPT)
of_file = partial(StoredCase, Kind.PARQUET)
LOAD = Stage.STARROCKS
TWIN = "dbo.Twin"
CORRUPT = ("The receipt of mssql/dbo/Items p000 is corrupt", "again")
DAMAGED = ("a data file is damaged, or was replaced", "Extract the partition again")
NO_PARQUET = ("is no Parquet file", "Extract again")


def twice(found: list[object]) -> list[object]:
    return found * 2


RECEIPTS = [
    of_receipt("missing", ("has no receipt", "Materialize that asset partition first"), None),
    of_receipt("empty", CORRUPT, b""),
    of_receipt("the first half", CORRUPT, Spoilt(keep=0.5)),
    of_receipt("without its last brace", CORRUPT, Spoilt(cut=1)),
    of_receipt("an error page", CORRUPT, "<html>503</html>"),
    of_receipt("null", CORRUPT, "null"),
    of_receipt("a list", CORRUPT, "[]"),
    of_receipt("UTF-16", CORRUPT, Spoilt(encoding="utf-16")),
    of_receipt("a key of a later release", CORRUPT, Edited(("future",), 1)),
    of_receipt("without a key", CORRUPT, Edited(("attempt",), REMOVED)),
    of_receipt("rows as a word", CORRUPT, Edited(("rows",), "two")),
    of_receipt("of another table", ("was made under table id", "the plan has"), other=TWIN),
    of_receipt("of another plan", ("was made under table id 0000",), Edited(("table_id",), "0" * 16)),
    of_receipt("of another partition", ("is one of p005",), Edited(("partition_key",), "p005")),
    of_receipt("of another number", ("source_partition 5, not 0",), Edited(("source_partition",), 5)),
    of_receipt("fewer rows", ("says 1 rows, its files have 2",), Edited(("rows",), 1)),
    of_receipt("no files", ("says 2 rows, its files have 0",), Edited(("files",), [])),
    of_receipt("a file twice", ("says 2 rows, its files have 4",), Edited(("files",), twice)),
    of_receipt("a file elsewhere", ("which is outside",), Edited(("files", 0, "path"), "s3://lake/x")),
    of_receipt("a file of the machine", ("/etc/passwd, which is outside",),
               Edited(("files", 0, "path"), "/etc/passwd")),
    of_receipt("load: missing", ("iceberg/dbo/items p000 has no receipt",), None, LOAD),
    of_receipt("load: most of it", ("iceberg/dbo/items p000 is corrupt",), Spoilt(keep=0.9), LOAD),
    of_receipt("load: of another table", ("was made under table id",), other=TWIN, reader=LOAD),
    of_receipt("load: other sums", ("copy differs", "expected"),
               Edited(("fingerprint", "values", "id.sum"), 99), LOAD),
    of_receipt("load: fewer rows", ("says 1 rows, its files have 2",), Edited(("rows",), 1), LOAD),
    of_receipt("load: other files", ("no longer holds the files",),
               Edited(("files", 0, "path"), "s3://lake/x.parquet"), LOAD),
]  # fmt: skip

FILES = [
    of_file("gone", ("is gone", "Extract again"), None),
    of_file("empty", NO_PARQUET, b""),
    of_file("the first half", NO_PARQUET, Spoilt(keep=0.5)),
    of_file("without its last byte", NO_PARQUET, Spoilt(cut=1)),
    of_file("more behind", NO_PARQUET, Spoilt(after=b"junk")),
    of_file("a footer overwritten", NO_PARQUET, Spoilt(flipped=(-40, -1))),
    of_file("another table's", ("bytes, the receipt says",), other=TWIN),
    of_file("load: gone", ("a data file that the snapshot names is gone",), None, LOAD),
    of_file("load: empty", DAMAGED, b"", LOAD),
    of_file("load: the first half", DAMAGED, Spoilt(keep=0.5), LOAD),
    of_file("load: an error page", DAMAGED, "<html>503</html>", LOAD),
    of_file("load: values overwritten", DAMAGED, Spoilt(flipped=(30, 60)), LOAD),
    of_file("load: another table's", ("copy differs", "name.bytes"), other=TWIN, reader=LOAD),
]  # fmt: skip

CASES = [*RECEIPTS, *FILES]
