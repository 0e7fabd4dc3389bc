"""StarRocks' faults, as data.

Most of StarRocks' errors have the number 1064 whatever their cause, so the text decides first and
the number second. Numbers: `ErrorCode.java` of StarRocks/starrocks; texts as an actual frontend
(4.1) sent them, or as its source has them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from migration_assets.errors import (
    AccessDeniedError,
    CommitConflictError,
    ConfigurationError,
    ConnectionLimitError,
    ConnectionLostError,
    ExistingObjectError,
    MigrationError,
    ObjectNotFoundError,
    OperationTimeoutError,
    ServerBusyError,
    StatementError,
    TransientError,
    UnsupportedError,
    VerificationError,
)
from migration_assets.faults import FaultRule

UNKNOWN_SNAPSHOT = r"Iceberg snapshot ID does not exists?"
UNKNOWN_VARIABLE = 1193
FILTERED = "StarRocks filtered rows out that do not fit the table"
SLOW_TABLETS = "creating the table's tablets took too long"

_GITHUB = "https://github.com/StarRocks/starrocks/blob/main/fe/fe-core/src/main/java/com/starrocks/"
_ERROR_CODE = f"{_GITHUB}common/ErrorCode.java"
_OVERWRITE = f"{_GITHUB}load/InsertOverwriteJobRunner.java"
_TRANSACTIONS = f"{_GITHUB}transaction/DatabaseTransactionMgr.java"
_LOADING = "https://docs.starrocks.io/docs/loading/loading_introduction/troubleshooting_loading/"
_ICEBERG = "https://docs.starrocks.io/docs/data_source/catalog/iceberg/iceberg_catalog/"
_CONNECTIONS = (
    "https://docs.starrocks.io/docs/administration/user_privs/authorization/User_privilege/"
)
_CLIENT = "https://dev.mysql.com/doc/mysql-errors/8.4/en/client-error-reference.html"
_READER = "https://github.com/StarRocks/starrocks/blob/main/be/src/formats/parquet/file_reader.cpp"
_AWS_ERRORS = "https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"


@dataclass(frozen=True, kw_only=True)
class StarRocksFault(FaultRule):
    """One kind of answer.

    Attributes:
        numbers: error numbers that it has; empty for any.
        pattern: what the message contains, case-insensitive; empty for anything.
    """

    numbers: frozenset[int] = frozenset()
    pattern: str = ""

    @property
    def signs(self) -> tuple[str, ...]:
        """Numbers, and what must be in the message as well."""
        numbers = (str(number) for number in sorted(self.numbers))
        return (*numbers, *([f"/{self.pattern}/"] if self.pattern else []))

    def applies(self, number: int, message: str) -> bool:
        """Whether an answer is of this kind."""
        if self.numbers and number not in self.numbers:
            return False
        return re.search(self.pattern, message, re.IGNORECASE | re.DOTALL) is not None


def _rule(
    code: str,
    error: type[MigrationError],
    meaning: str,
    *numbers: int,
    pattern: str = "",
    next_step: str = "",
    wait_s: float = 0.0,
    source: str = _ERROR_CODE,
) -> StarRocksFault:
    return StarRocksFault(
        code=code,
        error=error,
        meaning=meaning,
        next_step=next_step,
        wait_s=wait_s,
        source=source,
        numbers=frozenset(numbers),
        pattern=pattern,
    )


_FEWER = (
    "Lower STARROCKS_POOL_SIZE or MIGRATION_CONCURRENT_RUNS, or raise the limit: "
    "ALTER USER … SET PROPERTIES('max_user_connections' = '…')."
)
_ADDRESS = "Check STARROCKS_HOST and STARROCKS_PORT (the frontend's query port), and that it runs."
_AGAIN = "It is safe to try again: a load replaces its partition as a whole."
_STARROCKS_AWS = (
    "Check how StarRocks itself reaches Glue and S3 (STARROCKS_AWS_…); "
    "`migration-assets doctor` reads one row that way."
)

# The first rule that applies counts, so the precise ones go before the broad ones.
# fmt: off
FAULTS: tuple[StarRocksFault, ...] = (
    _rule("MA-SR-001", ConfigurationError, "its certificate is for another host", 2003, 2026, pattern=r"certificate is not valid for|hostname mismatch", next_step="Set STARROCKS_HOST to a name that the certificate has.", source=_CLIENT),
    _rule("MA-SR-002", ConfigurationError, "its certificate is not trusted here", 2003, 2026, pattern=r"certificate verify failed", next_step="Let STARROCKS_TLS_CA_FILE name a file with the authority that signed it, or set STARROCKS_TLS_TRUST_SERVER_CERTIFICATE=yes on a network that you trust.", source=_CLIENT),
    _rule("MA-SR-003", ConfigurationError, "it offers no TLS, which STARROCKS_TLS=yes demands", 2026, next_step="Configure a keystore on the frontends (ssl_keystore_location), or set STARROCKS_TLS=prefer on a network that you trust.", source=_CLIENT),
    # 1203 only on one of several paths, 1064 else; both are refused before the password is looked at.
    _rule("MA-SR-004", ConnectionLimitError, "no connection is free", pattern=r"Reach (cluster-wide|user-level)", next_step=_FEWER, wait_s=5, source=_CONNECTIONS),
    _rule("MA-SR-004", ConnectionLimitError, "no connection is free", 1040, 1203, next_step=_FEWER, wait_s=5, source=_CONNECTIONS),
    _rule("MA-SR-005", OperationTimeoutError, "no answer came in time", 2006, 2013, pattern=r"timed out|TimeoutError", next_step=_AGAIN, source=_CLIENT),
    _rule("MA-SR-006", ConnectionLostError, "the host name cannot be resolved", 2003, 2005, pattern=r"getaddrinfo|name or service|name resolution|nodename nor servname|No address associated", next_step="Check STARROCKS_HOST.", source=_CLIENT),
    _rule("MA-SR-007", ConnectionLostError, "no connection could be made", 2002, 2003, 2005, next_step=_ADDRESS, source=_CLIENT),
    _rule("MA-SR-008", ConnectionLostError, "the connection was lost", 0, 2006, 2013, 2014, 2055, next_step=_AGAIN, source=_CLIENT),
    _rule("MA-SR-009", AccessDeniedError, "the login was refused", 1045, next_step="Check STARROCKS_USER and STARROCKS_PASSWORD."),
    _rule("MA-SR-010", AccessDeniedError, "the way of authentication is not supported", 1251, 2058, 2059, 2061, next_step="Use a user with mysql_native_password or a clear-text plugin."),
    _rule("MA-SR-011", AccessDeniedError, "a privilege is missing", 1044, 1142, 1143, 1227, 5203, next_step="GRANT what the message names to STARROCKS_USER."),
    _rule("MA-SR-011", AccessDeniedError, "a privilege is missing", pattern=r"Access denied; you need", next_step="GRANT what the message names to STARROCKS_USER."),
    # Iceberg: metadata is cached, so an id that Glue has can be unknown for a minute.
    _rule("MA-SR-012", TransientError, "StarRocks does not know the Iceberg snapshot", pattern=UNKNOWN_SNAPSHOT, next_step="Load the partition again: the load reads the snapshot that is current then. If it stays, the external catalog points to another warehouse, or the snapshot has expired.", source=_ICEBERG),
    _rule("MA-SR-013", ServerBusyError, "the label of the load is in use", pattern=r"Label \[?.*\]? has already been used", next_step="It is tried again by itself, under a new label.", source=_TRANSACTIONS),
    _rule("MA-SR-014", ObjectNotFoundError, "the external catalog does not exist", pattern=r"(Unknown|Invalid|not exist\w*:?) catalog|Catalog .*(not exist|not found)", next_step="`migration-assets doctor --fix` creates the catalog named by STARROCKS_CATALOG."),
    _rule("MA-SR-015", ObjectNotFoundError, "the database does not exist", 1049, 5501, next_step="Check the name; loads create the target database, the commit to Iceberg creates the source."),
    _rule("MA-SR-016", ObjectNotFoundError, "the table does not exist", 1051, 1146, 5502, next_step="Check the name; the partition's commit and load create what they need."),
    _rule("MA-SR-016", ObjectNotFoundError, "the table does not exist", pattern=r"Table .+ is not found|Unknown (table|database)|Can not find (table|database)", next_step="Check the name; the partition's commit and load create what they need."),
    _rule("MA-SR-017", ExistingObjectError, "an object of this name exists", 1007, 1050),
    _rule("MA-SR-017", ExistingObjectError, "an object of this name exists", pattern=r"already exists?\b"),
    _rule("MA-SR-018", ConfigurationError, "the cluster has fewer backends than replicas are asked for", pattern=r"replication num should be less than", next_step="Set STARROCKS_REPLICATION_NUM to the number of backends or less."),
    _rule("MA-SR-019", UnsupportedError, "the server is too old or a variable is unknown to it", UNKNOWN_VARIABLE, 1231, next_step="StarRocks 3.4 or newer is needed."),
    # Before what is found by words that may also be somebody's column names or values.
    _rule("MA-SR-020", StatementError, "StarRocks does not accept the statement", pattern=r"^Getting (syntax|analyzing) error"),
    _rule("MA-SR-021", StatementError, "a value does not fit the type of its column", pattern=r"cast from .+ to \S+ failed", next_step="The column's planned type is too narrow for it; see the type table in the README."),
    _rule("MA-SR-022", StatementError, FILTERED, 5610, next_step="The tracking SQL in the message shows the rows.", source=_LOADING),
    _rule("MA-SR-022", StatementError, FILTERED, pattern=r"has filtered data|too many filtered rows", next_step="The tracking SQL in the message shows the rows.", source=_LOADING),
    _rule("MA-SR-023", CommitConflictError, "another load replaced the partition at the same time", pattern=r"src partitions changed|partition id:\S* does not exist|partitions changed during insert|replace partitions failed|insert overwrite commit failed", next_step=_AGAIN, source=_OVERWRITE),
    _rule("MA-SR-024", CommitConflictError, "the table's schema is being changed, or a load runs", pattern=r"schema change operation is in progress|doing insert overwrite job|Table\[\S*\]'?s? state is not NORMAL", next_step="It is tried again; SHOW ALTER TABLE COLUMN shows the change.", source=_OVERWRITE),
    _rule("MA-SR-025", OperationTimeoutError, "the statement reached its timeout", 5024, next_step="Raise STARROCKS_INSERT_TIMEOUT_S (loads) or STARROCKS_QUERY_TIMEOUT_S, or plan smaller partitions."),
    _rule("MA-SR-026", OperationTimeoutError, SLOW_TABLETS, pattern=r"(creat\w*|Table creation|partition)\W.{0,40}time[d ]*out|unfinished replicas", next_step="It is tried again; a cluster that creates tablets slowly wants fewer partitions or buckets."),
    _rule("MA-SR-027", ServerBusyError, "a backend went away during the statement", 5077, next_step=_AGAIN, wait_s=5),
    _rule("MA-SR-028", ServerBusyError, "no backend can work at the moment", pattern=r"No alive backend|Backend node not found|Compute node not found|no available (backend|compute)", next_step="SHOW BACKENDS and SHOW COMPUTE NODES tell which ones are down.", wait_s=5),
    _rule("MA-SR-029", ServerBusyError, "loads come faster than compaction", pattern=r"too many versions|tablet writer .*version", next_step="Lower MIGRATION_CONCURRENT_RUNS if it goes on.", wait_s=30, source=_LOADING),
    _rule("MA-SR-030", ServerBusyError, "too many transactions run in the database", pattern=r"running txns? .*larger than limit|running txns", next_step="Lower MIGRATION_CONCURRENT_RUNS if it goes on.", wait_s=10, source=_TRANSACTIONS),
    _rule("MA-SR-031", ServerBusyError, "the frontends are changing their leader", 5401, next_step=_AGAIN, wait_s=5),
    _rule("MA-SR-031", ServerBusyError, "the frontends are changing their leader", pattern=r"FE leader switch|not (the )?leader|leader (FE )?is (not ready|transferring)|transfer\w* leader", next_step=_AGAIN, wait_s=5),
    _rule("MA-SR-032", ServerBusyError, "a lock or transaction could not be had", 5300, 5301, 5302, next_step=_AGAIN),
    _rule("MA-SR-033", ServerBusyError, "memory ran out", pattern=r"Mem(ory)? usage .*exceed|memory .*exceed\w* limit|Memory of .* exceed", next_step="Plan smaller partitions or lower MIGRATION_CONCURRENT_RUNS if it goes on."),
    _rule("MA-SR-034", StatementError, "somebody ended the statement by KILL", pattern=r"killed manually|^KILL", next_step=_AGAIN),
    _rule("MA-SR-035", ServerBusyError, "S3 or Glue throttles StarRocks", pattern=r"SlowDown|reduce your request rate|ThrottlingException|Status Code: 503|Rate exceeded", next_step=_AGAIN, source=_AWS_ERRORS),
    _rule("MA-SR-036", AccessDeniedError, "S3 or Glue refused StarRocks", pattern=r"AccessDenied|Access Denied|not authorized to perform|InvalidAccessKeyId|SignatureDoesNotMatch|security token|Unable to load credentials|Status Code: 403", next_step=_STARROCKS_AWS, source=_AWS_ERRORS),
    _rule("MA-SR-037", VerificationError, "a data file is damaged, or was replaced", pattern=r"Parquet file magic not matched|Invalid parquet file|\bCorruption: ", next_step="Extract the partition again: re-materialize the mssql asset of this partition, and what lies downstream.", source=_READER),
    _rule("MA-SR-038", ObjectNotFoundError, "a data file that the snapshot names is gone", pattern=r"File does not exist|NoSuchKey|No such file|Status Code: 404", next_step="Load the partition again: the load reads the snapshot that is current then.", source=_AWS_ERRORS),
    _rule("MA-SR-039", ServerBusyError, "a call inside the cluster failed", pattern=r"\brpc\b|brpc|call frontend service failed|reached? timeout|timed? ?out", next_step=_AGAIN),
    _rule("MA-SR-040", StatementError, "StarRocks refused the statement"),
)
# fmt: on
"""How each answer is understood. The last one is what no other rule knows."""


def fault_of(number: int, message: str) -> StarRocksFault:
    """Find the rule of an answer, by its MySQL error number and the server's or driver's text."""
    return next(fault for fault in FAULTS if fault.applies(number, message))
