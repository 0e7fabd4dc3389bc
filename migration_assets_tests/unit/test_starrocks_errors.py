"""Answers of a real frontend (and of the driver), and what we make of them."""

from __future__ import annotations

import pytest

from migration_assets.errors import (
    AccessDeniedError,
    CommitConflictError,
    ConfigurationError,
    ConnectionLimitError,
    ConnectionLostError,
    ExistingObjectError,
    ObjectNotFoundError,
    OperationTimeoutError,
    PermanentError,
    ServerBusyError,
    StatementError,
    TransientError,
    UnsupportedError,
    VerificationError,
)
from migration_assets.starrocks.server_errors import is_unknown_snapshot, understand

AE = "Getting analyzing error. Detail message: "
ANSWERS = [
    (1064, "Reach user-level(qualifiedUser: u2) connection limit, currentUserMaxConn=1, connectionMap.size=2, connByUser.totConn=2, user.currConn=1, node=127.0.0.1:9010", ConnectionLimitError),
    (1064, "Reach cluster-wide connection limit, qe_max_connection=3, connectionMap.size=3, node=n", ConnectionLimitError),
    (2003, "Can't connect to MySQL server on 'sr' ([SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch, certificate is not valid for 'sr'. (_ssl.c:1006))", ConfigurationError),
    (2003, "Can't connect to MySQL server on 'sr' ([SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:1006))", ConfigurationError),
    (2026, "SSL is required but the server doesn't support it", ConfigurationError),
    (1064, "Invalid parquet file, file size is too small, s3://lake/x.parquet", VerificationError),
    (1203, "User u has exceeded the 'max_user_connections' resource", ConnectionLimitError),
    (1045, "Access denied for user 'root' (using password: YES)", AccessDeniedError),
    (5203, "Access denied; you need (at least one of) the SELECT privilege(s) on TABLE src for this operation.", AccessDeniedError),
    (2003, "Can't connect to MySQL server on '127.0.0.1' ([Errno 111] Connection refused)", ConnectionLostError),
    (2003, "Can't connect to MySQL server on 'x' ([Errno -2] Name or service not known)", ConnectionLostError),
    (2013, "Lost connection to MySQL server during query", ConnectionLostError),
    (2013, "Lost connection to MySQL server during query (timed out)", OperationTimeoutError),
    (2006, "MySQL server has gone away (BrokenPipeError(32, 'Broken pipe'))", ConnectionLostError),
    (0, "", ConnectionLostError),
    (5024, "Insert reached its timeout of 2 seconds, please increase the 'insert_timeout' session variable", OperationTimeoutError),
    (5077, "Query cancelled by crash of backends or RpcException", ServerBusyError),
    (1064, "No alive backends", ServerBusyError),
    (1064, "Backend node not found. Check if any backend node is down", ServerBusyError),
    (5609, "too many versions. tablet_id: 10087, version_count: 1001, limit: 1000", ServerBusyError),
    (1064, "current running txns on db 10005 is 1000, larger than limit 1000", ServerBusyError),
    (1064, "The transaction is possibly lost due to FE leader switch", ServerBusyError),
    (1064, "create partition failed because src partitions changed", CommitConflictError),
    (1064, "partition id:10123 does not exist in table id:10110", CommitConflictError),
    (1064, "A schema change operation is in progress on the table t", CommitConflictError),
    (1064, "Iceberg snapshot ID does not exists: 3051729675574597004", TransientError),
    (1064, f"{AE}fail to begin transaction. Label [lab1] has already been used..", ServerBusyError),
    (1064, f"{AE}No partition specified in partition lists.", StatementError),
    (5604, f"{AE}Inserted target column count: 6 doesn't match select/value column count: 5.", StatementError),
    (5609, "killed manually: KILL QUERY 33554434", StatementError),
    (5502, "Unknown table 'iceberg.shop.zz'", ObjectNotFoundError),
    (1064, f"{AE}Table x is not found.", ObjectNotFoundError),
    (5501, "Unknown database 'zz'", ObjectNotFoundError),
    (1064, f"{AE}Unknown catalog lake.", ObjectNotFoundError),
    (1007, "Can't create database 'a'; database exists", ExistingObjectError),
    (1050, "Table 't' already exists", ExistingObjectError),
    (1064, "Table replication num should be less than of equal to the number of available BE nodes. You can change this default by setting the replication_num table properties.", ConfigurationError),
    (1193, "Unknown system variable 'dynamic_overwrite'", UnsupportedError),
    (1064, "Access Denied (Service: Amazon S3; Status Code: 403)", AccessDeniedError),
    (1064, "Please reduce your request rate. (SlowDown)", ServerBusyError),
    (5609, "Memory of process exceed limit. Pipeline Backend: 127.0.0.1", ServerBusyError),
    (9999, "something new", StatementError),
    (2059, "Authentication plugin 'authentication_ldap_simple' not configured", AccessDeniedError),
    (1227, "Access denied; you need (at least one of) the OPERATE privilege(s) for this operation", AccessDeniedError),
    (1064, "Access denied; you need (at least one of) the INSERT privilege(s) on TABLE t for this operation.", AccessDeniedError),
    (1064, "Table t already exists", ExistingObjectError),
    (1064, "cast from VARCHAR(abc) to INT failed", StatementError),
    (5610, "Insert has filtered data", StatementError),
    (1064, "Insert has filtered data, txn_id = 3", StatementError),
    (1064, "Table creation timed out. unfinished replicas(1/3): 10087(127.0.0.1)", OperationTimeoutError),
    (5401, "Current frontend is not the leader", ServerBusyError),
    (5300, "Failed to get lock", ServerBusyError),
    (1064, "File does not exist: s3://lake/warehouse/shop/t/data/x.parquet", ObjectNotFoundError),
    (1064, "rpc failed, host: 127.0.0.1:8060", ServerBusyError),
    (1064, "publish version timeout: reached timeout", ServerBusyError),
    (1064, f"{AE}Table t1 is not found.", ObjectNotFoundError),
]  # fmt: skip


@pytest.mark.parametrize(("number", "message", "kind"), ANSWERS)
def test_answers_are_understood(number, message, kind):
    error = understand(number, message, subject="Table a.b", server="sr:9030")
    assert type(error) is kind
    assert "sr:9030" in str(error)
    assert error.found.startswith("Table a.b: ")


@pytest.mark.parametrize(
    "message",
    [
        "Getting syntax error at line 1, column 7: memory usage exceeds limit",
        f"{AE}Column 'timeout' cannot be resolved",
        f"{AE}Varchar size must be <= 1048576: 1048577",
        "cast from VARCHAR(connection timed out) to INT failed",
    ],
)
def test_words_of_the_user_do_not_make_an_error_transient(message):
    assert isinstance(understand(1064, message, subject="", server="s"), PermanentError)


def test_filtered_rows_quote_the_tracking_sql():
    tracking = "select tracking_log from information_schema.load_tracking_logs where job_id=10016"
    error = understand(
        1064,
        f"Insert has filtered data, txn_id = 3, tracking sql = {tracking}",
        subject="Table a.b, partition p001",
        server="sr:9030",
    )
    assert type(error) is StatementError
    assert tracking in error.found
    assert "partition p001" in error.found


def test_secrets_are_never_shown():
    error = understand(
        1064,
        'Getting syntax error near "aws.s3.secret_key" = "s3cr3t" and password pw-1',
        subject="Catalog lake",
        server="s",
        secrets=["s3cr3t", "pw-1", ""],
    )
    assert "s3cr3t" not in str(error)
    assert "pw-1" not in str(error)
    assert "***" in str(error)


def test_long_answers_are_cut():
    error = understand(1064, "x" * 100_000, subject="", server="s")
    assert len(str(error)) < 2_000


def test_unknown_snapshots_are_recognized():
    unknown = understand(1064, "Iceberg snapshot ID does not exists: 5", subject="", server="s")
    assert is_unknown_snapshot(unknown)
    assert not is_unknown_snapshot(understand(2013, "Lost", subject="", server="s"))
