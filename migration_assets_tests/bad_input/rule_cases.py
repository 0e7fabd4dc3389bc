"""`migration.yaml`, and names of the source and of the targets."""

from __future__ import annotations

from migration_assets_tests.bad_input.case import FOLDER, Case, Content, Kind

WRITTEN = "Nothing was written"


def of_rules(
    name: str, content: Content, *said: str, code: int = 2, kind: Kind = Kind.RULES
) -> Case:
    """What stands in `migration.yaml`."""
    return Case(kind, name, said, code=code, files={"migration.yaml": content})


def of_items(name: str, wishes: str, *said: str, code: int = 2, kind: Kind = Kind.RULES) -> Case:
    """What `migration.yaml` wishes about dbo.Items."""
    return of_rules(name, f"tables:\n  dbo.Items: {wishes}\n", *said, code=code, kind=kind)


RULES = [
    of_rules("a tab", "tables:\n\tdbo.Items: {partitions: 8}\n", "line 2", "not valid YAML"),
    of_rules("a list", "- a\n- b\n", "no `key: value` lines"),
    of_rules("a word", "hello", "no `key: value` lines"),
    of_rules("yes where a list belongs", "include: yes\n", "include is yes", "a list belongs there"),
    of_rules("nothing where a list belongs", "include:\n", "include is empty", "a list belongs there"),
    of_rules("numbers where patterns belong", "include: [1]\n", "include.0", "text belongs there"),
    of_rules("a list in a list", "include: [[a]]\n", "include.0", "text belongs there"),
    of_items("a number as text", "{partitions: '8'}", WRITTEN, code=0),
    of_items("a number with a fraction", "{partitions: 8.5}", "line 2", "partitions is 8.5"),
    of_items("yes where a number belongs", "{partitions: yes}", "partitions is yes", "a number"),
    of_items("a word where a number belongs", "{partitions: many}", "partitions is 'many'"),
    of_items("no partitions", "{partitions: 0}", "greater than or equal to 1"),
    of_items("a billion partitions", "{partitions: 1000000000}", "less than or equal to 4096"),
    of_items("a German yes", "{isolated: ja}", "isolated is 'ja'", "boolean"),
    of_items("yes as text", "{isolated: 'yes'}", WRITTEN, code=0),
    of_rules("a star without quotes", "include: [*]\n", "Put quotes around"),
    of_rules("a pattern without quotes", "include: *.Items\n", "Put quotes around"),
    of_rules("a key twice", "include: a\ninclude: b\n", "line 2", "given twice"),
    of_rules("a key misspelt", "inclde: [a]\n", "did you mean include?"),
    of_rules("tables as a list", "tables: [dbo.Items]\n", "`key: value` lines belong there"),
    of_rules("no tables", "tables:\n", "tables is empty", "`key: value` lines belong there"),
    of_items("no wishes", "", "tables.dbo.Items is empty"),
    of_items("a number for wishes", "8", "tables.dbo.Items is 8", "`key: value` lines belong there"),
    of_rules("a number as a pattern", "tables:\n  1: {partitions: 8}\n", "the key 1 is no text"),
    of_rules("a date as a key", "2024-01-01: x\n", "the key 2024-01-01 is no text"),
    of_rules("a list as a key", "? [a, b]\n: c\n", "not valid YAML"),
    of_rules("a level that is none", "defaults: {verification: all}\n", "'none', 'count', 'full'"),
    of_rules("no, which YAML takes for false", "defaults: {verification: no}\n", "verification is no"),
    of_rules("off for consistency", "consistency: off\n", "consistency is no", "off"),
    of_rules("a barrier of the whole plan", "consistency: barrier\n", "a barrier is of one table"),
    of_rules("a byte order mark", "\ufeffinclude: ['*']\n", WRITTEN, code=0),
    of_rules("UTF-16", "include: ['*']\n".encode("utf-16"), "no UTF-8 text"),
    of_rules("Latin-1", "include: ['\xfc']\n".encode("latin-1"), "no UTF-8 text"),
    of_rules("CRLF", "include: ['*']\r\n", WRITTEN, code=0),
    of_rules("JSON", '{"tables": {"dbo.Items": {"partitions": 1}}}', WRITTEN, code=0),
    of_rules("only a comment", "# nothing\n", WRITTEN, code=0),
    of_rules("a folder", FOLDER, "migration.yaml cannot be read"),
    of_rules("a tag of Python", "include: !!python/object/apply:os.system ['echo']\n", "not valid YAML"),
    of_rules("a billion laughs", "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\n"
             "c: &c [*b,*b,*b,*b,*b,*b,*b]\ninclude: *c\n", "a is not a known key"),
    of_rules("two documents", "include: ['*']\n---\nexclude: []\n", "another document"),
    of_rules("itself inside", "tables: &t\n  dbo.Items: *t\n", "not a known key"),
    of_rules("a control character", "include: ['a\x07b']\n", "not valid YAML"),
    of_rules("a quote that does not end", "include: ['a\n", "not valid YAML"),
    of_rules("two thousand brackets", f"tables: {'[' * 2000}{']' * 2000}\n", "not valid YAML"),
    of_rules("a number of 5,000 digits", f"defaults: {{target_rows: {'9' * 5000}}}\n", "not valid YAML"),
    of_rules("an infinite number", "defaults: {target_rows: .inf}\n", "finite"),
    of_rules("a pattern that matches nothing", "include: ['nothing.*']\n",
             "include: nothing.* matches no table", code=0),
    of_items("columns as a list", "{columns: [Id]}", "`key: value` lines belong there"),
    of_items("a column to cut by that is not there", "{partition_column: Nope, partitions: 8}", "Nope is not a column"),
    of_items("a column to leave out that is not there", "{exclude_columns: [Nope]}", "Nope", code=0),
    of_items("a model that is none", "{model: aggregate}", "'duplicate', 'primary' or 'unique'"),
    of_items("a key that may have rows twice", "{model: primary, keys: [Name]}",
             "nothing keeps its rows distinct by Name"),
    of_items("a key with NULL", "{model: primary, keys: [Id, Name]}", "its column Name takes NULL"),
    of_items("keys that are no columns", "{keys: [Nope]}", "Nope is not a column of it"),
    of_items("keys misspelt", "{kyes: [Id]}", "did you mean keys?"),
    of_items("a distribution outside of the key", "{model: unique, distributed_by: Name}",
             "distributed by columns of its key alone"),
    of_items("a distribution by no column", "{distributed_by: [Nope]}", "Nope is not a column of it"),
    of_items("properties as a list", "{properties: [compression]}", "`key: value` lines belong there"),
    of_items("a property of ours", "{properties: {replication_num: 1}}", "STARROCKS_REPLICATION_NUM"),
    of_items("a property that drops partitions", "{properties: {partition_live_number: 3}}",
             "make or drop partitions by itself"),
    of_items("a property with a quotation mark", "{properties: {compression: 'Z\"'}}", "pattern"),
    of_items("a property with a blank in its name", "{properties: {'a b': c}}", "pattern"),
    of_items("a list as a property", "{properties: {compression: [LZ4]}}", "text belongs there"),
    of_items("create, a word", "{create: never}", "create is 'never'", "boolean"),
    of_items("dropping what somebody else made", "{create: no, on_existing: replace}",
             "create: false and on_existing: replace"),
    of_items("dropping what is protected", "{prevent_reset: yes, on_existing: replace}",
             "prevent_reset: true and on_existing: replace"),
    of_items("protection as a number of days", "{prevent_reset: 30}", "prevent_reset is 30", "boolean"),
    of_items("an owner that is neither address nor team", "{owners: [Ann]}", "email address or team:name"),
    of_rules("keys for all tables", "defaults: {keys: [Id]}\n", "defaults.keys is not a known key"),
    of_items("a mask that is none", "{columns: {Name: {mask: sha1}}}", "mask is 'sha1'", "hash, null,"),
    of_items("a mask of a column that is not there", "{columns: {Nmae: {mask: hash}}}", "Nmae has a mask", "no table"),
    of_rules("a mask in a table that is not there", "tables: {dbo.Itms: {columns: {Name: {mask: null}}}}\n", "dbo.Itms matches no table"),
    of_items("a mask of the primary key", "{columns: {Id: {mask: hash}}}", "Id cannot be masked", "primary key"),
    of_items("a hash without a salt", "{columns: {Name: {mask: hash}}}", "there is no salt", "MIGRATION_MASK_SALT"),
    of_items("a mask without a word", "{columns: {Name: {mask: }}}", WRITTEN, code=0),
    of_items("a mask of yes", "{columns: {Name: {mask: yes}}}", "mask is yes", "hash, null,"),
    of_items("two masks at once", "{columns: {Name: {mask: {fixed: x, partial: {last: 2}}}}}", "hash, null,"),
    of_items("a fixed value that is too long", f"{{columns: {{Name: {{mask: {{fixed: {'x' * 21}}}}}}}}}", "longer than 20"),
    of_items("a fixed list", "{columns: {Name: {mask: {fixed: [a]}}}}", "fixed wants one value"),
    of_items("a fixed NULL", "{columns: {Name: {mask: {fixed: null}}}}", "write `mask: null`"),
    of_items("a partial mask that keeps nothing", "{columns: {Name: {mask: {partial: {}}}}}", "keeps nothing"),
    of_items("a partial mask of a word", "{columns: {Name: {mask: {partial: {last: two}}}}}", "partial wants"),
    of_items("a partial mask of other ends", "{columns: {Name: {mask: {partial: {frist: 2}}}}}", "partial wants"),
    of_items("a new name that is illegal", "{columns: {Name: {name: 'Full Name'}}}", "full_name would be one"),
    of_items("a new name that is reserved", "{columns: {Name: {name: source_partition}}}", "reserved"),
    of_items("a new name that another column has", "{columns: {Name: {name: x}, Id: {name: x}}}", "both Id and Name x"),
    of_items("a new name for a pattern", "{columns: {'N*': {name: x}}}", "belongs to one column"),
    of_items("columns to take that are not there", "{include_columns: [Nope]}", "no column is left", code=0),
    of_items("a condition with a semicolon", "{where: 'Id > 1; DROP TABLE dbo.Items'}", "a semicolon"),
    of_items("a condition that closes the parenthesis", "{where: 'Id > 1) OR (1 = 1'}", "a ) too many"),
    of_items("a condition with an open comment", "{where: 'Id > 1 /*'}", "a comment has no end"),
    of_items("a condition with an open quote", "{where: \"Name = 'x\"}", "has no end"),
    of_items("a condition with WHERE", "{where: 'WHERE Id > 1'}", "begins with WHERE"),
    of_items("a condition that joins a query", "{where: 'Id > 1 UNION SELECT 1'}", "holds UNION"),
    of_items("a condition with a clock", "{where: 'Name > GETDATE()'}", "GETDATE", "other rows each time"),
    of_items("a condition with a variable", "{where: 'Id > @x'}", "the variable @X"),
    of_items("an empty condition", "{where: ''}", "holds no condition"),
    of_items("a condition of a column that is not there", "{where: Nope > 1}", "where is refused", "Nope"),
    of_items("a condition that is none", "{where: Id + 1}", "where is refused", "non-boolean"),
    of_items("a number where wishes belong", "{partitions: 8}\nspark_from: 10", "spark_from is 10"),
]  # fmt: skip

N = Kind.NAME


def made(name: str, table: str, *said: str) -> Case:
    """A table of the source with such a name, in brackets."""
    quoted = table.replace("]", "]]")
    sql = (
        f"CREATE TABLE dbo.[{quoted}] (Id int NOT NULL PRIMARY KEY)",
        f"DROP TABLE dbo.[{quoted}]",
    )
    return Case(N, name, said, code=0, sql=sql)


NAMES = [
    made("quotes", "it's \"so\"", "it's \"so\"", "1 added"),
    made("brackets", "a]b[c", "a]b[c", "1 added"),
    made("an emoji", "T😀", "1 added"),
    made("a dot", "a.b", "dbo.[a.b]"),
    made("only a blank", " ", "1 added"),
    made("128 units of four bytes", "\U0001d54f" * 64, "1 added"),
    made("a backslash and a slash", "a\\b/c", "1 added"),
    made("a percent sign and a brace", "100%s{x}", "1 added"),
    made("markup of a terminal", "[red]x[/red]", "[red]x[/red]"),
    made("a reserved word", "select", "dbo.select"),
    of_items("an Iceberg table with a sign", "{iceberg_table: 'Items!'}", "iceberg_table is", kind=N),
    of_items("an Iceberg table of 256 letters", f"{{iceberg_table: {'a' * 256}}}", "pattern", kind=N),
    of_items("an empty StarRocks table", "{starrocks_table: ''}", "starrocks_table is ''", kind=N),
    of_items("a StarRocks table with a back quote", "{starrocks_table: 'a`b'}", "pattern", kind=N),
    of_rules("a namespace with a blank", "schemas: {dbo: 'Core DB'}\n", "'Core DB'", kind=N),
    of_rules("a database of StarRocks' own", "schemas: {dbo: information_schema}\n", "of its own", kind=N),
    of_rules("a prefix with a blank", "namespace_prefix: 'My Prefix'\n", "'My Prefix'", kind=N),
    of_rules("a suffix with a sign", "namespace_suffix: -glue\n", "'-glue'", kind=N),
    of_rules("a template without the table", "iceberg_table: '{schema}'\n", "put {table} into it", kind=N),
    of_rules("one name for all tables", "defaults: {starrocks_table: t}\n", "put {table} into it", kind=N),
    of_items("a template of something else", "{iceberg_table: '{database}'}", "pattern", kind=N),
    of_rules("one target for two tables", "tables:\n  dbo.Items: {iceberg_table: same}\n"
             "  dbo.Ranged: {iceberg_table: same}\n", "to the same Iceberg table", kind=N),
    of_rules("one location for all tables", "tables:\n  'dbo.*': {location: 's3://lake/x'}\n",
             "to the same location", kind=N),
    of_items("a location that is a path", "{location: /data}", "location is '/data'", kind=N),
    of_items("a location without a key", "{location: 's3://'}", "location is 's3://'", kind=N),
]  # fmt: skip

CASES = [*RULES, *NAMES]
