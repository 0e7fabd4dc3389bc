"""Permissions that are missing on each system, and databases that take no writes, or nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from migration_assets_tests.bad_input.case import Case, Kind

M, L, S, O = (  # noqa: E741 - one letter each, for the tables below
    Kind.MSSQL_PERMISSION, Kind.LAKE_PERMISSION, Kind.STARROCKS_PERMISSION, Kind.READ_ONLY,
)  # fmt: skip
DOCTOR = ("doctor",)


def answer(system: str, number: int, message: str, match: str) -> tuple[str, Mapping[str, Any]]:
    return system, {"kind": "error", "number": number, "message": message, "match": match}


def mssql(
    kind: Kind, name: str, number: int, message: str, *said: str, code: int = 1,
    match: str = "^SELECT", command: str = "plan --dry-run", lines: int = 1,
) -> Case:  # fmt: skip
    """What SQL Server answers to certain statements."""
    faults = (answer("sqlserver", number, message, match),)
    return Case(kind, name, said, tuple(command.split()), code, faults=faults, lines=lines)


def denied(name: str, permission: str, *said: str) -> Case:
    """A permission that the login lacks while `plan` looks: the plan says so."""
    sql = (f"DENY {permission} TO sa", f"GRANT {permission} TO sa")
    return Case(M, name, said, code=0, sql=sql)


def lake(
    kind: Kind, name: str, status: int, message: str, *said: str, match: str = "^GET /lake", code: int = 1,
) -> Case:  # fmt: skip
    """What S3 or Glue answers when `run` first looks there."""
    return Case(kind, name, said, ("run",), code, faults=(answer("aws", status, message, match),))


def examined(  # noqa: PLR0917 - a row of a table
    kind: Kind, name: str, system: str, number: int, message: str, match: str, *said: str
) -> Case:
    """What the doctor finds, in lines of standard output."""
    command = ("doctor", "--until", "iceberg") if system == "aws" else DOCTOR
    faults = (answer(system, number, message, match),)
    return Case(kind, name, ("FAIL", *said), command, 1, faults=faults, lines=0)


def starrocks(
    kind: Kind, name: str, number: int, message: str, *said: str, match: str = ""
) -> Case:
    """What StarRocks answers when `run` first looks there."""
    return Case(
        kind, name, said, ("run",), 1, faults=(answer("starrocks", number, message, match),)
    )


GLUE = "AWSGlue"
NEED = "Access denied; you need (at least one of) the {} privilege(s) on {} for this operation."
NOT_OPEN = "Database 'shop' cannot be opened"

ON_SQL_SERVER = [
    denied("no SELECT on a table", "SELECT ON dbo.Items", "dbo.Items", "SELECT"),
    denied("no SELECT on a column", "SELECT ON dbo.Items (Name)", "Name"),
    denied("no VIEW DEFINITION", "VIEW DEFINITION", "no VIEW DEFINITION"),
    mssql(M, "no INFORMATION_SCHEMA.COLUMNS", 229, "The SELECT permission was denied on the object "
          "'COLUMNS', database 'shop', schema 'INFORMATION_SCHEMA'.", code=0,
          match="FROM INFORMATION_SCHEMA.COLUMNS"),
    mssql(M, "no sys.tables", 371, "VIEW DEFINITION permission denied", code=0, match=r"sys\.tables"),
    mssql(M, "nothing at all", 297, "The user does not have permission to perform this action.",
          "does not have permission", "db_datareader"),
    mssql(M, "no access to the database", 916, "The server principal \"sa\" is not able to access the "
          "database \"shop\" under the current security context.", "MSSQL_DATABASE"),
    mssql(M, "a locked login", 18486, "Login failed for user 'sa' because the account is currently locked "
          "out.", "MSSQL_USER and MSSQL_PASSWORD"),
    mssql(M, "an expired password", 18487, "Login failed for user 'sa'. The password has expired.",
          "refused the login"),
    mssql(M, "no permission to read rows", 229, "The SELECT permission was denied on the object 'Items'.",
          "permission was denied", match="FROM .dbo.",
          command="validate --tables dbo.Items --until iceberg", lines=0),
]  # fmt: skip

ON_LAKE = [
    lake(L, "no ListBucket", 403, "AccessDenied: Access Denied", "access was denied", "doctor"),
    lake(L, "an expired token", 400, "ExpiredToken: The provided token has expired.", "have expired"),
    lake(L, "an unknown key", 403, "InvalidAccessKeyId: It is not known.", "access was denied"),
    lake(L, "a wrong secret", 403, "SignatureDoesNotMatch: The signature differs.", "access was denied"),
    lake(L, "a clock that is wrong", 403, "RequestTimeTooSkewed: The difference is too large.", "clock",
         code=2),
    lake(L, "another region", 400, "AuthorizationHeaderMalformed: expecting 'eu-west-1'", "AWS_REGION",
         code=2),
    lake(L, "a redirect to another region", 301, "PermanentRedirect: use the endpoint", "AWS_REGION", code=2),
    lake(L, "a KMS key that is off", 400, "KMS.DisabledException: the key is disabled.", "(KMS)"),
    lake(L, "no GetDatabase", 400, "AccessDeniedException: not authorized to perform: glue:GetDatabase",
         "The glue catalog", "access was denied", match=GLUE),
    lake(L, "no Lake Formation grant", 400, "AccessDeniedException: Insufficient Lake Formation "
         "permission(s) on shop", "Lake Formation", match=GLUE),
    lake(L, "an expired token for Glue", 400, "ExpiredTokenException: expired", "have expired", match=GLUE),
    lake(L, "an unknown token for Glue", 400, "UnrecognizedClientException: bad", "denied", match=GLUE),
    lake(L, "a KMS key of Glue's catalog", 400, "GlueEncryptionException: kms:Decrypt", "(KMS)", match=GLUE),
    examined(L, "no PutObject", "aws", 403, "AccessDenied: Access Denied", "^PUT", "Lake: put object"),
    examined(L, "no DeleteObject", "aws", 403, "AccessDenied: Access Denied", "^DELETE|delete",
             "Lake: delete object"),
    examined(L, "no CreateDatabase", "aws", 400, "AccessDeniedException: glue:CreateDatabase",
             "CreateDatabase", "Lake: create table"),
    examined(L, "no CreateTable", "aws", 400, "AccessDeniedException: glue:CreateTable", "CreateTable",
             "Lake: create table"),
]  # fmt: skip

ON_STARROCKS = [
    starrocks(S, "a wrong password", 1045, "Access denied for user 'root' (using password: YES)",
              "STARROCKS_USER and STARROCKS_PASSWORD"),
    starrocks(S, "no OPERATE", 1227, "Access denied; you need OPERATE", "A privilege is missing"),
    starrocks(S, "no SELECT", 5203, NEED.format("SELECT", "TABLE x"), "GRANT what the message names"),
    starrocks(S, "a way to log in that is unknown", 1251, "Client does not support authentication",
              "mysql_native_password"),
    examined(S, "no CREATE DATABASE", "starrocks", 5203, NEED.format("CREATE DATABASE", "CATALOG x"),
             "CREATE DATABASE", "create and drop a table", "CREATE DATABASE"),
    examined(S, "no CREATE TABLE", "starrocks", 5203, NEED.format("CREATE TABLE", "DATABASE x"),
             "CREATE TABLE", "create and drop a table", "CREATE TABLE"),
    examined(S, "no DROP", "starrocks", 5203, NEED.format("DROP", "TABLE x"), "DROP TABLE",
             "create and drop a table", "DROP"),
    examined(S, "no USAGE on the catalog", "starrocks", 5203, NEED.format("USAGE", "CATALOG lake"),
             "SHOW CREATE CATALOG|SHOW CATALOGS|lake", "external catalog", "USAGE"),
    Case(S, "a catalog that is not there", ("FAIL", "external catalog", "--fix"), DOCTOR, 1,
         env={"STARROCKS_CATALOG": "nowhere"}, lines=0),
]  # fmt: skip

UNAVAILABLE = [
    mssql(O, "a database that is not there", 911, "Database 'shop' does not exist.", "no database 'shop'"),
    mssql(O, "offline", 942, f"{NOT_OPEN} because it is offline.", "because it is offline"),
    mssql(O, "in a restore", 927, f"{NOT_OPEN}. It is in the middle of a restore.", "of a restore"),
    mssql(O, "single user", 924, "Database 'shop' is already open and can only have one user at a time.",
          "only have one user"),
    mssql(O, "suspect", 926, f"{NOT_OPEN}. It has been marked SUSPECT by recovery.", "SUSPECT"),
    mssql(O, "files out of reach", 945, f"{NOT_OPEN} due to inaccessible files.", "inaccessible files"),
    mssql(O, "only for reading intent", 978, "The target database ('shop') is in an availability group "
          "and is currently accessible for connections when the application intent is set to read only.",
          "read only"),
    mssql(O, "a secondary that takes nobody", 976, "The target database, 'shop', is participating in an "
          "availability group and is currently not accessible for queries.", "not accessible"),
    mssql(O, "read-only, where nothing has to be written", 3906, "Failed to update database \"shop\" because "
          "the database is read-only.", code=0, match="^(INSERT|UPDATE|CREATE|ALTER)"),
    lake(O, "a bucket that takes no method", 405, "MethodNotAllowed: not allowed", "MethodNotAllowed"),
    examined(O, "a bucket that takes no writes", "aws", 403, "AccessDenied: bucket is read-only", "^PUT",
             "Lake: put object", "read-only"),
    starrocks(O, "a frontend without a leader", 5401, "FE leader switch", "leader"),
    starrocks(O, "no connection to give", 1040, "Reach limit of connections", "No connection is free"),
    examined(O, "no backend that is alive", "starrocks", 1064, "No alive backend", "CREATE TABLE",
             "SHOW BACKENDS"),
]  # fmt: skip

CASES = [*ON_SQL_SERVER, *ON_LAKE, *ON_STARROCKS, *UNAVAILABLE]
