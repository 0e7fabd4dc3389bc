"""SQL Server's faults, as data: error numbers, SQLSTATEs, and texts where there is no number.

pymssql gives SQL Server's numbers and those of FreeTDS; mssql-python gives a text that stands for
the SQLSTATE, and the server's sentence without its number. A number decides where there is one,
else the first rule of which a text is found in the sentence, else the SQLSTATE.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from migration_assets.errors import (
    AccessDeniedError,
    ConfigurationError,
    ConnectionLimitError,
    ConnectionLostError,
    ObjectNotFoundError,
    OperationTimeoutError,
    SchemaDriftError,
    ServerBusyError,
    StatementError,
    UnsupportedError,
)
from migration_assets.faults import FaultRule

_MICROSOFT = "https://learn.microsoft.com/"
_EVENTS = f"{_MICROSOFT}sql/relational-databases/errors-events/"
_ENGINE = f"{_EVENTS}database-engine-events-and-errors"
_AZURE = f"{_MICROSOFT}azure/azure-sql/database/troubleshoot-common-errors-issues"
_VERSIONING = (
    f"{_MICROSOFT}sql/relational-databases/sql-server-transaction-locking-and-row-versioning-guide"
)
_SNAPSHOTS = f"{_MICROSOFT}sql/relational-databases/databases/database-snapshots-sql-server"
_ODBC = f"{_MICROSOFT}sql/odbc/reference/appendixes/appendix-a-odbc-error-codes"
_TLS = f"{_MICROSOFT}sql/connect/odbc/dsn-connection-string-attribute"
_FREETDS = "https://www.freetds.org/reference/a00352.html"


@dataclass(frozen=True, kw_only=True)
class MssqlFault(FaultRule):
    """One kind of fault of SQL Server, or of the way to it.

    Attributes:
        numbers: SQL Server's, or above 20000 FreeTDS' own.
        states: mssql-python's texts for SQLSTATEs (its `exceptions.py`).
        texts: regular expressions, case-insensitive, for errors without a number.
        sentence: replaces the server's own words, where those do not say it; `{server}`,
            `{database}`, `{user}` and `{text}` are filled in.
    """

    numbers: tuple[int, ...] = ()
    states: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    sentence: str = ""

    @property
    def signs(self) -> tuple[str, ...]:
        """Numbers, states, texts."""
        states = (f'"{state}"' for state in self.states)
        return (*map(str, self.numbers), *states, *(f"/{text}/" for text in self.texts))


_RETRY = "It is tried again by itself."
_REPLAN = "If the table was changed, run `migration-assets plan` again."
_REACH = "Check MSSQL_HOST and MSSQL_PORT, and that a firewall lets this machine through."

# Of the texts the first that is found counts, so the precise rules go before the broad ones.
FAULTS: tuple[MssqlFault, ...] = (
    MssqlFault(
        code="MA-MS-001",
        error=ConfigurationError,
        meaning="the server's certificate is for another host",
        texts=(r"(host ?name.*(mismatch|does not match))|does not match host ?name|wrong host",),
        next_step="Set MSSQL_HOST to a name that the certificate has, or "
        "MSSQL_HOST_NAME_IN_CERTIFICATE to the name to expect; Microsoft's ODBC driver finds "
        "names only, no addresses.",
        sentence="The certificate of SQL Server {server} is for another host: {text}",
        source=_TLS,
    ),
    MssqlFault(
        code="MA-MS-002",
        error=ConfigurationError,
        meaning="the server's certificate is not trusted here",
        texts=(r"certificate verify failed|certificate.*not trusted|self.signed certificate",),
        next_step="Install the authority that signed it on this machine, or let SSL_CERT_FILE name "
        "a file of authorities, or set MSSQL_TRUST_SERVER_CERTIFICATE=yes on a network that you "
        "trust (which MSSQL_ENCRYPT=strict does not heed).",
        sentence="The certificate of SQL Server {server} is not trusted here: {text}",
        source=_TLS,
    ),
    MssqlFault(
        code="MA-MS-003",
        error=ConfigurationError,
        meaning="server and client agree on no encryption",
        texts=(
            r"encryption (is )?not supported|unsupported protocol|wrong version number",
            r"SSL Provider|SSL routines|TLS handshake",
        ),
        next_step="Let the server offer TLS 1.2 or later, or set MSSQL_ENCRYPT=no on a network "
        "that you trust.",
        sentence="SQL Server {server} and this machine agree on no encryption: {text}",
        source=_TLS,
    ),
    MssqlFault(
        code="MA-MS-004",
        error=ObjectNotFoundError,
        meaning="there is no such database, or the login may not open it",
        numbers=(4060, 911, 916, 4064),
        texts=(r"Cannot open database",),
        next_step="Check MSSQL_DATABASE, and that the login has a user in it.",
        sentence="SQL Server {server} has no database {database!r} that user {user!r} may open.",
        source=f"{_EVENTS}mssqlserver-4064-database-engine-error",
    ),
    MssqlFault(
        code="MA-MS-005",
        error=AccessDeniedError,
        meaning="the login was refused",
        numbers=(18452, 18456, 18470, 18486, 18487, 18488),
        states=("Invalid authorization specification",),  # 28000
        texts=(r"Login failed",),
        next_step="Check MSSQL_USER and MSSQL_PASSWORD.",
        sentence="SQL Server {server} refused the login of user {user!r} to database {database!r}.",
        source=f"{_EVENTS}mssqlserver-18456-database-engine-error",
    ),
    MssqlFault(
        code="MA-MS-006",
        error=AccessDeniedError,
        meaning="a permission is missing",
        numbers=(229, 230, 262, 297, 300, 371, 378, 15247, 15151, 15562),
        texts=(r"permission was denied|permission denied",),
        next_step="Grant db_datareader and VIEW DEFINITION; `migration-assets doctor` lists what "
        "is needed.",
        source=f"{_EVENTS}mssqlserver-229-database-engine-error",
    ),
    MssqlFault(
        code="MA-MS-007",
        error=ObjectNotFoundError,
        meaning="a table or function is not there",
        numbers=(208, 4121),
        states=("Base table or view not found",),  # 42S02
        texts=(r"Invalid object name",),
        next_step=_REPLAN,
        source=f"{_EVENTS}mssqlserver-208-database-engine-error",
    ),
    MssqlFault(
        code="MA-MS-008",
        error=SchemaDriftError,
        meaning="a column is not there",
        numbers=(207,),
        states=("Column not found",),  # 42S22
        texts=(r"Invalid column name",),
        next_step=_REPLAN,
        source=f"{_EVENTS}mssqlserver-207-database-engine-error",
    ),
    MssqlFault(
        code="MA-MS-009",
        error=StatementError,
        meaning="the database does not allow SNAPSHOT transactions",
        numbers=(3952, 3956),
        texts=(r"snapshot isolation is not allowed in this database",),
        next_step="It is read without by itself; if this stays, it was switched off meanwhile: "
        "start again.",
        sentence="SQL Server {server}, database {database}, does not allow SNAPSHOT "
        "transactions: {text}",
        source=_VERSIONING,
    ),
    MssqlFault(
        code="MA-MS-010",
        error=ServerBusyError,
        meaning="the row versions of a SNAPSHOT transaction are gone: tempdb's version store is full",
        numbers=(3958, 3959, 3965, 3966, 3967),
        texts=(r"row version|version store|versioned row",),
        next_step=f"{_RETRY} If it comes back, let tempdb (or the database's persistent version "
        "store) grow, cut the table into more partitions, or use `consistency: database_snapshot`.",
        wait_s=10,
        sentence="SQL Server {server}, database {database}, no longer has the row versions that a "
        "SNAPSHOT transaction was reading: {text}",
        source=f"{_EVENTS}mssqlserver-3959-database-engine-error",
    ),
    MssqlFault(
        code="MA-MS-011",
        error=ServerBusyError,
        meaning="files of the database, or of a database snapshot, cannot be opened or written",
        numbers=(823, 926, 945, 5128, 17053),
        texts=(r"inaccessible files|marked suspect|sparse file",),
        next_step="Look into SQL Server's error log. A database snapshot whose disk was full is "
        "lost: free space, `migration-assets snapshot drop`, `migration-assets snapshot create`, "
        "and extract everything again, since the new one shows a later state. What was half "
        "written counts nowhere.",
        sentence="SQL Server {server} cannot open or write files of database {database}: {text}",
        source=_SNAPSHOTS,
    ),
    MssqlFault(
        code="MA-MS-012",
        error=StatementError,
        meaning="a page of the database is damaged",
        numbers=(605, 824, 825),
        texts=(r"logical consistency-based I/O error",),
        next_step="Let an administrator run DBCC CHECKDB; then start again.",
        source=f"{_EVENTS}mssqlserver-824-database-engine-error",
    ),
    MssqlFault(
        code="MA-MS-013",
        error=StatementError,
        meaning="the files of a database snapshot could not be made",
        numbers=(1823, 1830, 1834, 5119, 5120, 5123, 5127, 5133, 5170),
        next_step="Look into SQL Server's error log; the folder of its files "
        "(`database_snapshot_folder` in migration.yaml) must exist on the server, be writable by "
        "its service, and have space. Or let an administrator make it, and name it in "
        "migration.yaml: `database_snapshot: NAME`.",
        sentence="SQL Server {server} could not make the files of a database snapshot: {text}",
        source=_SNAPSHOTS,
    ),
    MssqlFault(
        code="MA-MS-014",
        error=UnsupportedError,
        meaning="the server makes no database snapshots",
        numbers=(1825, 1844, 40508, 40510, 40517),
        next_step="Use `consistency: statement` in migration.yaml.",
        sentence="SQL Server {server} makes no database snapshots: {text}",
        source=_SNAPSHOTS,
    ),
    MssqlFault(
        code="MA-MS-015",
        error=StatementError,
        meaning="a database that is to be dropped is in use",
        numbers=(3702,),
        next_step="Wait until no run reads from it, then try again.",
        sentence="A database on SQL Server {server} is still in use: {text}",
        source=_ENGINE,
    ),
    MssqlFault(
        code="MA-MS-016",
        error=ServerBusyError,
        meaning="chosen as deadlock victim",
        numbers=(1205,),
        states=("Serialization failure",),  # 40001
        texts=(r"deadlock",),
        next_step=_RETRY,
        source=f"{_EVENTS}mssqlserver-1205-database-engine-error",
    ),
    MssqlFault(
        code="MA-MS-017",
        error=ServerBusyError,
        meaning="a lock was not granted",
        numbers=(1222, 1204),
        texts=(r"Lock request time ?out", r"cannot obtain a LOCK resource"),
        next_step=f"{_RETRY} If it comes back, see who holds it in sys.dm_tran_locks, or allow "
        "SNAPSHOT isolation.",
        source=f"{_EVENTS}mssqlserver-1222-database-engine-error",
    ),
    MssqlFault(
        code="MA-MS-018",
        error=ServerBusyError,
        meaning="a SNAPSHOT or memory-optimized transaction met a change",
        numbers=(3960, 3961, 41302, 41305, 41325),
        texts=(r"Snapshot isolation transaction (aborted|failed).*(conflict|modified by a DDL)",),
        next_step=_RETRY,
        source=_VERSIONING,
    ),
    MssqlFault(
        code="MA-MS-019",
        error=ServerBusyError,
        meaning="tempdb, a filegroup or the log is full",
        numbers=(1101, 1105, 9002),
        texts=(r"Could not allocate (a new page|space)|transaction log for .* is full",),
        next_step=f"{_RETRY} If it comes back, give tempdb (or the database that the message "
        "names) more space, or cut the table into more partitions.",
        wait_s=10,
        source=f"{_EVENTS}mssqlserver-1105-database-engine-error",
    ),
    MssqlFault(
        code="MA-MS-020",
        error=ServerBusyError,
        meaning="memory or worker threads ran out",
        numbers=(701, 802, 8628, 8645, 8651, 8902, 17803),
        states=("Memory allocation error",),  # HY001
        texts=(r"insufficient (system )?memory|There is insufficient",),
        next_step=f"{_RETRY} If it comes back, lower MIGRATION_CONCURRENT_RUNS or MSSQL_POOL_SIZE.",
        wait_s=5,
        source=f"{_EVENTS}mssqlserver-701-database-engine-error",
    ),
    MssqlFault(
        code="MA-MS-021",
        error=StatementError,
        meaning="the database has reached its size quota",
        numbers=(40544,),
        texts=(r"reached its size quota",),
        next_step="Raise the database's maximum size, or remove data.",
        source=_AZURE,
    ),
    MssqlFault(
        code="MA-MS-022",
        error=ServerBusyError,
        meaning="Azure SQL ended a session that used too much (locks, tempdb, log, memory, time)",
        numbers=(40549, 40550, 40551, 40552, 40553),
        texts=(r"session has been terminated because",),
        next_step=f"{_RETRY} If it comes back, cut the table into more partitions.",
        wait_s=5,
        source=_AZURE,
    ),
    MssqlFault(
        code="MA-MS-023",
        error=ServerBusyError,
        meaning="Azure SQL throttles",
        numbers=(10922, 10928, 10929, 10936, 40501, 42108, 42109, 49918, 49919, 49920),
        texts=(
            r"Resource ID ?:|is currently busy|too busy to support requests",
            r"Not enough resources to process request|Too many .*operations in progress",
        ),
        next_step=f"{_RETRY} If it comes back, lower MIGRATION_CONCURRENT_RUNS, or choose a larger "
        "service objective.",
        wait_s=10,
        source=_AZURE,
    ),
    MssqlFault(
        code="MA-MS-024",
        error=ServerBusyError,
        meaning="the database is starting, failing over or moving",
        numbers=(
            615, 904, 921, 922, 927, 976, 978, 979, 982, 983, 4221, 6005, 9001, 17187, 18401, 18451,
            40143, 40197, 40540, 40613,
        ),
        texts=(
            r"is not currently available|service is currently|is being (recovered|restored)",
            r"service has encountered an error processing your request",
        ),
        next_step=f"{_RETRY} If it lasts, see the database's state in sys.databases.",
        wait_s=5,
        source=_AZURE,
    ),
    MssqlFault(
        code="MA-MS-025",
        error=ConnectionLimitError,
        meaning="the server gives no further connection",
        numbers=(17809, 17189, 10930, 40532),
        texts=(r"maximum number of .{1,12} user connections",),
        next_step=f"{_RETRY} If it comes back, lower MIGRATION_CONCURRENT_RUNS or MSSQL_POOL_SIZE.",
        source=f"{_MICROSOFT}sql/database-engine/configure-windows/"
        "configure-the-user-connections-server-configuration-option",
    ),
    MssqlFault(
        code="MA-MS-026",
        error=OperationTimeoutError,
        meaning="the query took longer than its timeout",
        numbers=(20003,),
        states=("Timeout expired",),  # HYT00
        texts=(r"timeout expired|timed out",),
        next_step="Raise MSSQL_QUERY_TIMEOUT_S, or cut the table into more partitions.",
        sentence="SQL Server {server} did not answer in time: {text}",
        source=_ODBC,
    ),
    MssqlFault(
        code="MA-MS-027",
        error=ConnectionLostError,
        meaning="the login got no answer",
        numbers=(20002,),
        next_step=f"{_RETRY} {_REACH} If the server offers no TLS, set MSSQL_ENCRYPT=no.",
        sentence="SQL Server {server} ended the login without an answer.",
        source=_FREETDS,
    ),
    MssqlFault(
        code="MA-MS-028",
        error=ConnectionLostError,
        meaning="no connection could be made, or it was lost",
        numbers=(596, 17197, 17830, 17832, 17836, 20004, 20006, 20009, 20012, 20013, 20017, 20047),
        states=(
            "Client unable to establish connection",  # 08001
            "Server rejected the connection",  # 08004
            "Connection not open",  # 08003
            "Connection failure during transaction",  # 08007
            "Communication link failure",  # 08S01
            "Disconnect error",  # 01002
            "Connection timeout expired",  # HYT01
            "Statement completion unknown",  # 40003
        ),
        texts=(
            r"Error code 0x274C",
            r"Connection to the database failed for an unknown reason",
            r"TCP Provider|Communication link failure|DBPROCESS is dead|Not connected to any",
            r"connection is (broken|closed)|Connection is closed|forcibly closed",
            r"Protocol error in TDS stream",
        ),
        next_step=f"{_RETRY} {_REACH}",
        sentence="The connection to SQL Server {server} was lost or could not be made: {text}",
        source=_FREETDS,
    ),
    MssqlFault(
        code="MA-MS-029",
        error=StatementError,
        meaning="any other error",
        source=_ENGINE,
    ),
)  # fmt: skip
"""The last one is what no other rule knows."""

_BY_NUMBER = {number: fault for fault in FAULTS for number in fault.numbers}
_BY_STATE = {state: fault for fault in FAULTS for state in fault.states}


def fault_of(number: int | None, state: str, text: str) -> MssqlFault:
    """Find the rule of an error.

    Args:
        number: SQL Server's or FreeTDS'; None where the driver gives none.
        state: mssql-python's text for the SQLSTATE; may be empty.
        text: the sentence.
    """
    if number is not None and number in _BY_NUMBER:
        return _BY_NUMBER[number]
    if number is None:
        for fault in FAULTS:
            if any(re.search(pattern, text, re.IGNORECASE | re.DOTALL) for pattern in fault.texts):
                return fault
    return _BY_STATE.get(state, FAULTS[-1])
