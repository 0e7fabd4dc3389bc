import mssql_python.exceptions as odbc
import pymssql
import pytest

from migration_assets import errors
from migration_assets.mssql.driver_errors import is_doubtful, is_driver_error, translate
from migration_assets.mssql.faults import FAULTS

WHERE = {"server": "db.example,1433", "database": "shop", "user": "reader"}


def freetds(number, text):
    return pymssql.OperationalError(
        number,
        f"{text}DB-Lib error message 20018, severity 16:\nGeneral SQL Server error: Check messages "
        "from the SQL Server\n".encode(),
    )


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (18456, errors.AccessDeniedError),
        (4060, errors.ObjectNotFoundError),
        (229, errors.AccessDeniedError),
        (262, errors.AccessDeniedError),
        (297, errors.AccessDeniedError),
        (300, errors.AccessDeniedError),
        (371, errors.AccessDeniedError),
        (208, errors.ObjectNotFoundError),
        (207, errors.SchemaDriftError),
        (1205, errors.ServerBusyError),
        (1222, errors.ServerBusyError),
        (3960, errors.ServerBusyError),
        (3966, errors.ServerBusyError),
        (3958, errors.ServerBusyError),
        (945, errors.ServerBusyError),
        (911, errors.ObjectNotFoundError),
        (1823, errors.StatementError),
        (5123, errors.StatementError),
        (1844, errors.UnsupportedError),
        (40510, errors.UnsupportedError),
        (3702, errors.StatementError),
        (10928, errors.ServerBusyError),
        (40197, errors.ServerBusyError),
        (40501, errors.ServerBusyError),
        (40613, errors.ServerBusyError),
        (49918, errors.ServerBusyError),
        (701, errors.ServerBusyError),
        (9002, errors.ServerBusyError),
        (20003, errors.OperationTimeoutError),
        (20009, errors.ConnectionLostError),
        (20047, errors.ConnectionLostError),
        (3952, errors.StatementError),
        (8134, errors.StatementError),
    ],
)
def test_a_number_decides_the_class(number, kind):
    ours = translate(freetds(number, "Words."), **WHERE)
    assert type(ours) is kind


def test_a_statement_error_has_place_words_and_number_and_no_bytes():
    ours = translate(
        freetds(8134, "Divide by zero error encountered."), doing="Reading a.b", **WHERE
    )
    assert str(ours) == (
        "MA-MS-029: Reading a.b failed: SQL Server db.example,1433, database shop: "
        "Divide by zero error encountered (error 8134)."
    )


def test_an_error_while_connecting_is_a_tuple_in_a_tuple():
    text = (
        b"DB-Lib error message 20009, severity 9:\nUnable to connect: TDS server is unavailable or "
        b"does not exist (db.example)\nNet-Lib error during Connection refused (111)\n"
    )
    ours = translate(pymssql.OperationalError((20009, text + text)), **WHERE)
    assert type(ours) is errors.ConnectionLostError
    assert str(ours).count("Unable to connect") == 1
    assert "b'" not in str(ours)
    assert "\\n" not in str(ours)
    assert "MSSQL_HOST" in ours.next_step


REFUSED = b"DB-Lib error message 20018, severity 14:\nGeneral SQL Server error: Check messages\n"
GONE = b"DB-Lib error message 20009, severity 9:\nUnable to connect: TDS server is unavailable\n"
ENDED = b"DB-Lib error message 20002, severity 9:\nTDS server connection failed (db.example)\n"


@pytest.mark.parametrize(
    ("number", "text", "kind"),
    [
        (18456, GONE, errors.ConnectionLostError),
        (20003, GONE.replace(b"20009", b"20003"), errors.ConnectionLostError),
        (18456, b"Unknown error", errors.ConnectionLostError),
        (18456, ENDED, errors.ConnectionLostError),
        (18456, REFUSED + ENDED, errors.AccessDeniedError),
        (40613, REFUSED + ENDED, errors.AccessDeniedError),
        (40613, REFUSED.replace(b"14", b"17") + ENDED, errors.ServerBusyError),
        (40613, b"Database is not currently available." + REFUSED, errors.ServerBusyError),
    ],
)
def test_a_number_left_over_from_an_earlier_attempt_is_not_believed(number, text, kind):
    assert type(translate(pymssql.OperationalError((number, text)), **WHERE)) is kind


def test_the_end_of_a_process_without_number_is_a_lost_connection():
    for words in (
        "Not connected to any MS SQL server",
        "Connection to the database failed for an unknown reason.",
    ):
        ours = translate(pymssql.InterfaceError(words), **WHERE)
        assert type(ours) is errors.ConnectionLostError


@pytest.mark.parametrize(
    ("state", "text", "kind", "needle"),
    [
        ("28000", "Login failed for user 'reader'.", errors.AccessDeniedError, "MSSQL_PASSWORD"),
        (
            "42000",
            'Cannot open database "shop" requested by the login.',
            errors.ObjectNotFoundError,
            "MSSQL_DATABASE",
        ),
        (
            "08001",
            "SSL Provider: [error:0A000086:SSL routines::certificate verify failed:self-signed "
            "certificate]",
            errors.ConfigurationError,
            "MSSQL_TRUST_SERVER_CERTIFICATE",
        ),
        (
            "08001",
            "SSL Provider: [error:0A000102:SSL routines::unsupported protocol]",
            errors.ConfigurationError,
            "MSSQL_ENCRYPT=no",
        ),
        (
            "08001",
            "Encryption not supported on SQL Server.",
            errors.ConfigurationError,
            "MSSQL_ENC",
        ),
        ("08001", "TCP Provider: Error code 0x2749", errors.ConnectionLostError, "refused"),
        ("08001", "TCP Provider: Error code 0x2AF9", errors.ConnectionLostError, "unknown"),
        ("08S01", "TCP Provider: Error code 0x2746", errors.ConnectionLostError, "reset"),
        ("HYT00", "Query timeout expired", errors.OperationTimeoutError, "MSSQL_QUERY_TIMEOUT_S"),
        ("HYT00", "Délai expiré", errors.OperationTimeoutError, "MSSQL_QUERY_TIMEOUT_S"),
        ("40001", "Transaktion wurde zurückgesetzt", errors.ServerBusyError, "zurück"),
        ("42S02", "Ungültiger Objektname 'a.b'.", errors.ObjectNotFoundError, "a.b"),
        ("42S22", "Invalid column name 'x'.", errors.SchemaDriftError, "'x'"),
        ("42000", "The SELECT permission was denied on 'b'.", errors.AccessDeniedError, "Grant"),
        (
            "42000",
            "Snapshot isolation transaction failed accessing database 'shop' because snapshot "
            "isolation is not allowed in this database.",
            errors.StatementError,
            "not allowed",
        ),
        ("HY000", "Something else.", errors.StatementError, "Something else"),
    ],
)
def test_odbc_errors_by_text_and_state(state, text, kind, needle):
    error = odbc.sqlstate_to_exception(
        state, f"[Microsoft][ODBC Driver 18 for SQL Server][SQL Server]{text}"
    )
    ours = translate(error, **WHERE)
    assert type(ours) is kind
    assert needle in str(ours)
    assert "[Microsoft]" not in str(ours)
    assert "[SQL Server]" not in str(ours)


def test_every_state_text_is_one_that_the_driver_uses():
    states = ["01002", "08001", "08003", "08004", "08007", "08S01", "28000", "40001", "40003"]
    states += ["42S02", "42S22", "HY001", "HYT00", "HYT01"]
    listed = {state for fault in FAULTS for state in fault.states}
    assert listed == {odbc.sqlstate_to_exception(s, "").driver_error for s in states}


def test_whose_errors_are_translated():
    assert is_driver_error(pymssql.InterfaceError("x"))
    assert is_driver_error(odbc.sqlstate_to_exception("08001", "x"))
    assert not is_driver_error(ValueError("x"))
    assert not is_driver_error(errors.StatementError("x"))


_REFUSED = (
    b"DB-Lib error message 20018, severity %d:\nGeneral SQL Server error: Check messages from the SQL "
    b"Server\nDB-Lib error message 20002, severity 9:\nTDS server connection failed (db)\n"
)


@pytest.mark.parametrize(
    ("number", "text", "doubtful"),
    [
        (
            20002,
            b"DB-Lib error message 20002, severity 9:\nTDS server connection failed (db)\n",
            True,
        ),
        (17809, b"Could not connect because the maximum" + _REFUSED % 20, False),
        # The number is of an earlier refusal, which may have been another.
        (17809, _REFUSED % 20, True),
        (17809, _REFUSED % 17, True),
        # A wrong password is told by its severity; each further try would help to lock the login.
        (17809, _REFUSED % 14, False),
        (18456, b"Login failed for user 'x'." + _REFUSED % 14, False),
    ],
)
def test_what_pymssql_says_of_a_refused_connection_may_be_of_an_earlier_one(
    number: int, text: bytes, doubtful: bool
) -> None:
    assert is_doubtful(pymssql.OperationalError((number, text))) is doubtful


@pytest.mark.parametrize(
    ("number", "said", "shown"),
    [
        (
            245,
            "Conversion failed when converting the varchar value 'bob''s' to data type int.",
            "Conversion failed when converting the varchar value (not shown) to data type int",
        ),
        (
            245,
            "Fehler beim Konvertieren des varchar-Werts 'bob' in int.",
            "Werts (not shown) in int",
        ),
        (220, "Arithmetic overflow error for data type tinyint, value = 300.", "value (not shown)"),
        (2628, "Truncated value: 'bob'.", "Truncated value: (not shown)"),
        (208, "Invalid object name 'bob'.", "Invalid object name 'bob'"),
    ],
)
def test_a_value_that_could_not_be_converted_is_not_shown(number, said, shown):
    """It may be one of a masked column."""
    found = translate(freetds(number, said), **WHERE).found
    assert shown in found
    assert number == 208 or ("bob" not in found and "300" not in found)


def test_nor_is_it_where_the_driver_has_no_number():
    error = odbc.DataError(
        driver_error="Invalid character value for cast specification",
        ddbc_error="[Microsoft][SQL Server]Échec de la conversion de la valeur varchar 'bob'.",
    )
    found = translate(error, **WHERE).found
    assert "varchar (not shown)" in found
    assert "bob" not in found
