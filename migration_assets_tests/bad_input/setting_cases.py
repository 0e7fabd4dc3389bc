"""Settings, the file `.env`, hosts, ports and certificates."""

from __future__ import annotations

from migration_assets_tests.bad_input.case import FOLDER, Case, Content, Kind

SOON = {"MSSQL_LOGIN_TIMEOUT_S": "1", "STARROCKS_CONNECT_TIMEOUT_S": "1",
        "S3_CONNECT_TIMEOUT_S": "1", "S3_REQUEST_TIMEOUT_S": "1"}  # fmt: skip
RUN = ("run",)
PLAN = ("plan", "--dry-run")
FITS = "the plan still fits the source"


def setting(
    kind: Kind, name: str, value: str | None, *said: str, code: int = 2, run: bool = False,
    **more: str | None,
) -> Case:  # fmt: skip
    """One variable with a bad value; `plan` looks at it, or `run` where SQL Server does not."""
    shown = "not set" if value is None else repr(value[:30])
    env = {name: value, **more}
    return Case(kind, f"{name} {shown}", said, RUN if run else PLAN, code, env=env)


def of_env(
    name: str, content: Content, *said: str, code: int = 2, without: str = "DATABASE"
) -> Case:
    """What stands in `.env`, with a variable of SQL Server that only stands there."""
    env = {f"MSSQL_{without}": None}
    return Case(Kind.ENV_FILE, name, said, code=code, env=env, files={".env": content})


SETTINGS = [
    setting(Kind.SETTINGS, "MSSQL_ENCRYPT", "maybe", "MSSQL_ENCRYPT", "'no', 'yes' or 'strict'"),
    setting(Kind.SETTINGS, "MIGRATION_MASK_SALT", "short", "MIGRATION_MASK_SALT: a salt has 16"),
    setting(Kind.SETTINGS, "MSSQL_USER", None, "MSSQL_USER is not set"),
    setting(Kind.SETTINGS, "MSSQL_USER", " ", "MSSQL_USER: string should have at least 1"),
    setting(Kind.SETTINGS, "MSSQL_PASSWORD", "", "MSSQL_PASSWORD is not set"),
    setting(Kind.SETTINGS, "MSSQL_PASSWORD", "Wr0ng;}{", "refused the login of user 'sa'", code=1),
    setting(Kind.SETTINGS, "MSSQL_PASSWORD", "w" * 129, "refused the login of user 'sa'", code=1),
    setting(Kind.SETTINGS, "MSSQL_PASSWORD", " {password} ", "refused the login", code=1),
    setting(Kind.SETTINGS, "MSSQL_USER", "😀", "refused the login of user '😀'", code=1),
    setting(Kind.SETTINGS, "MSSQL_DATABASE", "[shop]", "no database '[shop]'", code=1),
    setting(Kind.SETTINGS, "MSSQL_DATABASE", " shop ", FITS, code=0),
    setting(Kind.SETTINGS, "MSSQL_LOGIN_TIMEOUT_S", "30s", "MSSQL_LOGIN_TIMEOUT_S", "integer"),
    setting(Kind.SETTINGS, "MSSQL_LOGIN_TIMEOUT_S", "0", "greater than or equal to 1"),
    setting(Kind.SETTINGS, "MSSQL_LOGIN_TIMEOUT_S", "9" * 12, "less than or equal to 2147483"),
    setting(Kind.SETTINGS, "MSSQL_QUERY_TIMEOUT_S", "1e99", "MSSQL_QUERY_TIMEOUT_S"),
    setting(Kind.SETTINGS, "MSSQL_POOL_SIZE", "two", "MSSQL_POOL_SIZE"),
    setting(Kind.SETTINGS, "MSSQL_APPLICATION_INTENT", "readonly", "'ReadWrite' or 'ReadOnly'"),
    setting(Kind.SETTINGS, "MSSQL_PASSWORD_SECRET_ID", "nowhere", "Secret nowhere in us-east-1",
            code=1, MSSQL_PASSWORD=None),
    setting(Kind.SETTINGS, "S3_BUCKET", None, "S3_BUCKET is not set"),
    setting(Kind.SETTINGS, "S3_BUCKET", "s3://lake", "S3_BUCKET: the bare name of a bucket"),
    setting(Kind.SETTINGS, "S3_BUCKET", "lake/warehouse", "which is S3_WAREHOUSE_PATH"),
    setting(Kind.SETTINGS, "S3_BUCKET", "la ke", "S3_BUCKET: the bare name of a bucket"),
    setting(Kind.SETTINGS, "S3_BUCKET", "nowhere", "s3://nowhere", "no such bucket", code=1, run=True),
    setting(Kind.SETTINGS, "ICEBERG_CATALOG_TYPE", "hive", "'glue', 'rest' or 'sql'"),
    setting(Kind.SETTINGS, "ICEBERG_CATALOG_TYPE", "rest", "needs ICEBERG_CATALOG_URI", run=True),
    setting(Kind.SETTINGS, "ICEBERG_CATALOG_URI", "nonsense", "address is not valid", run=True,
            ICEBERG_CATALOG_TYPE="rest"),
    setting(Kind.SETTINGS, "ICEBERG_CATALOG_URI", "no address", "address is not valid", run=True,
            ICEBERG_CATALOG_TYPE="sql"),
    setting(Kind.SETTINGS, "ICEBERG_CATALOG_URI", "oracle://me:hunter2@db/lake", "not installed",
            "ICEBERG_CATALOG_URI", run=True, ICEBERG_CATALOG_TYPE="sql"),
    setting(Kind.SETTINGS, "AWS_ACCESS_KEY_ID", None, "only one of them is set", run=True),
    setting(Kind.SETTINGS, "AWS_PROFILE", "nobody", "AWS_PROFILE names a profile", run=True,
            AWS_ACCESS_KEY_ID=None, AWS_SECRET_ACCESS_KEY=None),
    setting(Kind.SETTINGS, "AWS_REGION", "us east", "endpoint or region is not valid", run=True),
    setting(Kind.SETTINGS, "AWS_REGION", "nowhere", "glue catalog", code=1, run=True),
    setting(Kind.SETTINGS, "STARROCKS_USER", None, "STARROCKS_USER is not set", run=True),
    setting(Kind.SETTINGS, "STARROCKS_REPLICATION_NUM", "three", "STARROCKS_REPLICATION_NUM", run=True),
    setting(Kind.SETTINGS, "STARROCKS_INSERT_TIMEOUT_S", "300000", "259200", run=True),
    setting(Kind.SETTINGS, "MIGRATION_CONCURRENT_RUNS", "many", "MIGRATION_CONCURRENT_RUNS", run=True),
    setting(Kind.SETTINGS, "MIGRATION_CONCURRENT_RUNS", "100000", "less than or equal to 1024", run=True),
    setting(Kind.SETTINGS, "MIGRATION_TABLE_JOBS", "perhaps", "MIGRATION_TABLE_JOBS", run=True),
    setting(Kind.SETTINGS, "MIGRATION_WINDOW", "20-06", "MIGRATION_WINDOW: a beginning and an end", run=True),
    setting(Kind.SETTINGS, "MIGRATION_WINDOW", "20:00-20:00", "begins when it ends", run=True),
    setting(Kind.SETTINGS, "MIGRATION_WINDOW_TIMEZONE", "Mars/Base", "MIGRATION_WINDOW_TIMEZONE: there "
            "is no time zone 'Mars/Base'", run=True),
    setting(Kind.SETTINGS, "MSSQL_MAX_EXTRACTIONS", "0", "MSSQL_MAX_EXTRACTIONS", run=True),
    setting(Kind.SETTINGS, "MIGRATION_ALERT_WEBHOOK_URL", "hooks.example/T0P", "begins with https://",
            run=True),
    setting(Kind.SETTINGS, "MIGRATION_ALERT_FORMAT", "mail", "'json', 'slack' or 'teams'", run=True),
    setting(Kind.SETTINGS, "MIGRATION_ALERT_TIMEOUT_S", "soon", "MIGRATION_ALERT_TIMEOUT_S", run=True),
    setting(Kind.SETTINGS, "MSSQL_AUTHENTICATION", "Windows", "MSSQL_AUTHENTICATION", "'Kerberos'"),
    setting(Kind.SETTINGS, "MSSQL_AUTHENTICATION", "ActiveDirectoryInteractive", "would ask a person"),
    setting(Kind.SETTINGS, "MSSQL_AUTHENTICATION", "activedirectoryserviceprincipal",
            "MSSQL_USER is not set", MSSQL_USER=None),
    setting(Kind.SETTINGS, "MIGRATION_RULES", "rules.yml", "There is no rules.yml"),
    setting(Kind.SETTINGS, "MIGRATION_RULES", "s3://lake/rules.yaml", "a local file"),
    setting(Kind.SETTINGS, "MIGRATION_RULES", "migration.yaml/x", "cannot be read"),
    Case(Kind.SETTINGS, "DAGSTER_HOME relative", ("no absolute path",), ("status",),
         env={"DAGSTER_HOME": "history"}),
    Case(Kind.SETTINGS, "DAGSTER_HOME in a file", ("cannot be kept in",), ("status",),
         env={"DAGSTER_HOME": "/proc/version/x"}),
    Case(Kind.SETTINGS, "a dagster.yaml that is no YAML", ("cannot be opened", "dagster.yaml"),
         ("status",), files={".dagster/dagster.yaml": "]["}),
    Case(Kind.SETTINGS, "a dagster.yaml with a key misspelt", ("cannot be opened", "run_queu"),
         ("status",), files={".dagster/dagster.yaml": "run_queu: {}\n"}),
    Case(Kind.SETTINGS, "a history that is no database", ("cannot be opened", "not a database"),
         ("status",), files={".dagster/history/runs.db": "garbage"}),
]  # fmt: skip

ENV_FILES = [
    of_env("a byte order mark", "\ufeffMSSQL_DATABASE=shop\n", FITS, code=0),
    of_env("UTF-16, as PowerShell writes it", "MSSQL_DATABASE=shop\n".encode("utf-16"), "no UTF-8 text"),
    of_env("Latin-1", "MSSQL_DATABASE=sh\xf6p\n".encode("latin-1"), "no UTF-8 text"),
    of_env("CRLF", "MSSQL_DATABASE=shop\r\nOTHER=1\r\n", FITS, code=0),
    of_env("double quotes", 'MSSQL_DATABASE="shop"\n', FITS, code=0),
    of_env("single quotes", "MSSQL_DATABASE='shop'\n", FITS, code=0),
    of_env("curly quotes", "MSSQL_DATABASE=“shop”\n", "no database '“shop”'", code=1),
    of_env("a quote that does not end", 'MSSQL_DATABASE="shop\nOTHER=1\n', ".env, line 1: not understood"),
    of_env("spaces around", "  MSSQL_DATABASE  =  shop  \n", FITS, code=0),
    of_env("no-break spaces", "MSSQL_DATABASE=\u00a0shop\u00a0\n", FITS, code=0),
    of_env("a comment behind", "MSSQL_DATABASE=shop # the shop\n", FITS, code=0),
    of_env("export before", "export MSSQL_DATABASE=shop\n", FITS, code=0),
    of_env("set before", "X=1\nset MSSQL_DATABASE=shop\n", ".env, line 2: not understood"),
    of_env("a colon", "MSSQL_DATABASE: shop\n", ".env, line 1: not understood"),
    of_env("YAML", "---\nMSSQL_DATABASE: shop\n", "not understood"),
    of_env("JSON", '{"MSSQL_DATABASE": "shop"}\n', ".env, line 1: not understood"),
    of_env("a merge conflict", "<<<<<<< HEAD\nMSSQL_DATABASE=shop\n=======\nMSSQL_DATABASE=other\n"
           ">>>>>>> theirs\n", ".env, line 1: not understood"),
    of_env("a password in a line without a name", "MSSQL_DATABASE=shop\nWr0ng-password !\n",
           ".env, line 2: not understood"),
    of_env("no value", "MSSQL_DATABASE\n", "MSSQL_DATABASE is not set"),
    of_env("an empty file", "", "MSSQL_DATABASE is not set"),
    of_env("a semicolon behind", "MSSQL_DATABASE=shop;\n", "no database 'shop;'", code=1),
    of_env("a NUL", b"MSSQL_DATABASE=sh\0op\n", "line 1", "NUL"),
    of_env("a NUL elsewhere", b"MSSQL_DATABASE=shop\nOTHER=\0\n", "line 2", "NUL"),
    of_env("a folder", FOLDER, ".env cannot be read: Is a directory"),
    of_env("a number in quotes", 'MSSQL_PORT="many"\n', "MSSQL_PORT", "integer", without="PORT"),
    of_env("a wrong password with # and $", "MSSQL_PASSWORD=Wr0ng#$HOME\n", "refused the login",
           code=1, without="PASSWORD"),
    of_env("a megabyte", f"OTHER={'a' * 1_000_000}\nMSSQL_DATABASE=shop\n", FITS, code=0),
]  # fmt: skip

H = Kind.HOST
HOSTS = [
    setting(H, "MSSQL_HOST", "tcp:127.0.0.1", "MSSQL_HOST: a host name is needed"),
    setting(H, "MSSQL_HOST", "https://127.0.0.1", "MSSQL_HOST: a host name is needed"),
    setting(H, "MSSQL_HOST", "jdbc:sqlserver://db:1433;database=shop", "a host name is needed"),
    setting(H, "MSSQL_HOST", "127.0.0.1:1433", "without a port"),
    setting(H, "MSSQL_HOST", "127.0.0.1,1433", "no ','", "the port has a variable of its own"),
    setting(H, "MSSQL_HOST", "127.0.0.1/shop", "no '/'"),
    setting(H, "MSSQL_HOST", "sa@127.0.0.1", "no '@'"),
    setting(H, "MSSQL_HOST", "data base", "no ' '"),
    setting(H, "MSSQL_HOST", '"127.0.0.1"', "MSSQL_HOST: a host name is needed"),
    setting(H, "MSSQL_HOST", " 127.0.0.1 ", FITS, code=0),
    setting(H, "MSSQL_HOST", "127.0.0.1\n", FITS, code=0),
    setting(H, "MSSQL_HOST", "  ", "MSSQL_HOST: a host name is needed"),
    setting(H, "MSSQL_HOST", "", "MSSQL_HOST is not set"),
    setting(H, "MSSQL_HOST", "::1", "no IPv6 address"),
    setting(H, "MSSQL_HOST", "[::1]", "no IPv6 address"),
    setting(H, "MSSQL_HOST", "127.0.0.1\\SQLEXPRESS,1433", "a named instance finds its own port"),
    setting(H, "MSSQL_HOST", "127.0.0.1\\", "the name of an instance"),
    setting(H, "MSSQL_HOST", "127.0.0.1\\SQL EXPRESS", "the name of an instance"),
    setting(H, "MSSQL_HOST", "a" * 64, "at most 253 characters"),
    setting(H, "MSSQL_HOST", "a." * 200, "at most 253 characters"),
    setting(H, "MSSQL_HOST", "no-such-host.invalid", "no-such-host.invalid", "MSSQL_HOST", code=1),
    setting(H, "MSSQL_HOST", "bücher.invalid", "bücher.invalid", code=1),
    setting(H, "STARROCKS_HOST", "mysql://127.0.0.1", "STARROCKS_HOST: a host name", run=True),
    setting(H, "STARROCKS_HOST", "127.0.0.1:9030", "without a port", run=True),
    setting(H, "STARROCKS_HOST", "a" * 300, "at most 253 characters", run=True),
    setting(H, "STARROCKS_HOST", "no-such-host.invalid", "Check STARROCKS_HOST", code=1, run=True),
    setting(H, "AWS_ENDPOINT_URL", "127.0.0.1:9000", "AWS_ENDPOINT_URL", run=True),
    setting(H, "AWS_ENDPOINT_URL", "http://s3.invalid", "http://s3.invalid", code=1, run=True),
]  # fmt: skip

P = Kind.PORT
PORTS = [
    setting(P, "MSSQL_PORT", "0", "MSSQL_PORT", "greater than or equal to 1"),
    setting(P, "MSSQL_PORT", "-1", "MSSQL_PORT", "greater than or equal to 1"),
    setting(P, "MSSQL_PORT", "99999", "MSSQL_PORT", "less than or equal to 65535"),
    setting(P, "MSSQL_PORT", "1433,1434", "MSSQL_PORT", "integer"),
    setting(P, "MSSQL_PORT", "1433.5", "MSSQL_PORT", "integer"),
    setting(P, "MSSQL_PORT", "0x599", "MSSQL_PORT", "integer"),
    setting(P, "MSSQL_PORT", "ms-sql-s", "MSSQL_PORT", "integer"),
    setting(P, "MSSQL_PORT", " {sqlserver} ", FITS, code=0),
    setting(P, "MSSQL_PORT", "{closed}", "MSSQL_PORT", "refused", code=1),
    setting(P, "MSSQL_PORT", "{silent}", "SQL Server 127.0.0.1,", "MSSQL_PORT", code=1, **SOON),
    setting(P, "MSSQL_PORT", "{starrocks}", "SQL Server 127.0.0.1,", "MSSQL_PORT", code=1),
    setting(P, "STARROCKS_PORT", "99999", "STARROCKS_PORT", "65535", run=True),
    setting(P, "STARROCKS_PORT", "{closed}", "STARROCKS_PORT", "refused", code=1, run=True),
    setting(P, "STARROCKS_PORT", "{silent}", "No answer came in time", code=1, run=True, **SOON),
    setting(P, "AWS_ENDPOINT_URL", "http://127.0.0.1:99999", "AWS_ENDPOINT_URL", run=True),
    setting(P, "AWS_ENDPOINT_URL", "http://127.0.0.1:{closed}", "AWS_ENDPOINT_URL", code=1, run=True),
    setting(P, "AWS_ENDPOINT_URL", "http://127.0.0.1:{silent}", "no answer came in time", code=1,
            run=True, **SOON),
]  # fmt: skip

C = Kind.CERTIFICATE
TLS = "https://127.0.0.1:{self_signed}"


def ca(name: str, endpoint: str, bundle: str | None, *said: str, code: int = 2) -> Case:
    """An endpoint over TLS, and the file of authorities that is trusted."""
    env = {"AWS_ENDPOINT_URL": endpoint, "AWS_CA_BUNDLE": bundle}
    return Case(C, name, said, RUN, code, env=env)


UNTRUSTED = "the endpoint's certificate is not trusted here"
CERTIFICATES = [
    ca("self-signed", TLS, None, UNTRUSTED, "AWS_CA_BUNDLE"),
    ca("signed by another authority", TLS, "{folder}/other.pem", UNTRUSTED, "self-signed"),
    ca("expired", "https://127.0.0.1:{expired}", "{folder}/expired.pem", UNTRUSTED, "expired"),
    ca("of another host", "https://127.0.0.1:{misnamed}", "{folder}/other.pem", UNTRUSTED, "127.0.0.2"),
    ca("a bundle that is not there", TLS, "{folder}/none.pem", UNTRUSTED, "No such file"),
    ca("a bundle that is a folder", TLS, "{folder}", UNTRUSTED, "directory"),
    ca("a bundle without PEM", TLS, "{folder}/tables.sql", UNTRUSTED),
    ca("an empty bundle", TLS, "/dev/null", UNTRUSTED),
    ca("TLS to a server without", "https://127.0.0.1:{aws}", None, "does not speak TLS"),
    ca("no TLS to a server with", "http://127.0.0.1:{self_signed}", None, "AWS_ENDPOINT_URL", code=1),
    setting(C, "MSSQL_TRUST_SERVER_CERTIFICATE", "server.pem", "MSSQL_TRUST_SERVER_CERTIFICATE"),
    setting(C, "MSSQL_TRUST_SERVER_CERTIFICATE", "ja", "MSSQL_TRUST_SERVER_CERTIFICATE", "boolean"),
]  # fmt: skip

CASES = [*SETTINGS, *ENV_FILES, *HOSTS, *PORTS, *CERTIFICATES]
