"""Tables of the schema `hr`, in the order of `schema.sql`."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from migration_assets.sandbox.sample import words
from migration_assets.sandbox.sample.draw import Draw
from migration_assets.sandbox.sample.sizes import (
    DAY_2020,
    DAY_2025,
    DEPARTMENTS,
    EMPLOYEES,
    Sizes,
)

SECOND = 1_000_000
ROWVERSION_EMPLOYEES = 500_000
"""First rowversion of hr.Employees: the numbers of all tables with one differ."""
RAISES = 3
"""Salaries of each employee."""


def departments(seed: int, _sizes: Sizes) -> pa.Table:
    """hr.Departments: a tinyint key."""
    draw = Draw(seed, "hr.Departments", DEPARTMENTS)
    names = ["Accounting", "Büro", "Comité", "Design", "Einkauf", "Forschung", "Gestión", "HR", "IT",
             "Juridique", "Küche", "物流"]  # fmt: skip
    return pa.table(
        {
            "DepartmentID": pa.arange(1, DEPARTMENTS + 1).cast(pa.uint8()),
            "Name": pa.array(names),
            "Budget": draw.nullable("Budget", 20, draw.decimals("Budget", -(10**9), 10**11, 19, 4)),
            "Opened": draw.dates("Opened", -30_000, DAY_2020),
        }
    )


def employees(seed: int, _sizes: Sizes) -> pa.Table:
    """hr.Employees: a smallint key, a manager of the same table, all kinds of time."""
    rows = EMPLOYEES
    draw = Draw(seed, "hr.Employees", rows)
    keys = pa.arange(1, rows + 1)
    # A manager has about a third of one's own number; the first employee has none.
    manager = pc.divide(keys, 3).cast(pa.int16())
    return pa.table(
        {
            "EmployeeID": keys.cast(pa.int16()),
            "FirstName": draw.choice("FirstName", words.FIRST_NAMES),
            "LastName": draw.choice("LastName", words.LAST_NAMES),
            "DepartmentID": draw.integers("DepartmentID", 1, DEPARTMENTS, pa.uint8()),
            "ManagerID": pc.if_else(pc.less(keys, 3), pa.scalar(None, pa.int16()), manager),
            "BirthDate": draw.nullable("BirthDate", 5, draw.dates("BirthDate", -7_000, 13_000)),
            "HiredAt": draw.datetimes("HiredAt", 10_000, DAY_2025),
            "ReviewAt": draw.nullable(
                "ReviewAt", 30, draw.timestamps("ReviewAt", DAY_2020, DAY_2025, 60 * SECOND)
            ),
            "ShiftStart": draw.times("ShiftStart", SECOND),
            "ShiftEnd": draw.nullable("ShiftEnd", 10, draw.times("ShiftEnd", 1_000)),
            "LastSeen": draw.nullable("LastSeen", 10, draw.times("LastSeen")),
            "Salary": draw.decimals("Salary", 30_000_0000, 200_000_0000, 19, 4),
            "Badge": pc.binary_slice(draw.binaries("Badge", 8).cast(pa.binary()), 0, 4).cast(
                pa.binary(4)
            ),
            "Photo": draw.nullable("Photo", 50, draw.binaries("Photo", 512).cast(pa.binary())),
            "Version": draw.rowversions(ROWVERSION_EMPLOYEES),
        }
    )


def salaries(seed: int, _sizes: Sizes) -> pa.Table:
    """hr.Salaries: a composite key whose second column is a date."""
    rows = EMPLOYEES * RAISES
    draw = Draw(seed, "hr.Salaries", rows)
    number = pa.arange(0, rows)
    employee = pc.divide(number, RAISES)
    raised = pc.subtract(number, pc.multiply(employee, RAISES))
    days = pc.add(pc.multiply(raised, 365), DAY_2020)
    return pa.table(
        {
            "EmployeeID": pc.add(employee, 1).cast(pa.int16()),
            "ValidFrom": days.cast(pa.int32()).cast(pa.date32()),
            "Amount": draw.decimals("Amount", 30_000_0000, 200_000_0000, 19, 4),
            "Bonus": draw.nullable("Bonus", 40, draw.decimals("Bonus", -99_99, 9_999_999_99, 9, 2)),
        }
    )


def timesheets(seed: int, sizes: Sizes) -> pa.Table:
    """hr.Timesheets: an identity that starts at 1000 and counts by 10."""
    rows = sizes.timesheets
    draw = Draw(seed, "hr.Timesheets", rows)
    keys = pc.add(pc.multiply(pa.arange(0, rows), 10), 1000)
    return pa.table(
        {
            "TimesheetID": keys.cast(pa.int32()),
            "EmployeeID": draw.integers("EmployeeID", 1, EMPLOYEES, pa.int16()),
            "WorkDate": draw.dates("WorkDate", DAY_2020, DAY_2025),
            "StartTime": draw.times("StartTime", SECOND),
            "Hours": draw.decimals("Hours", 0, 24_00, 4, 2),
            "Remark": draw.nullable("Remark", 80, draw.choice("Remark", words.NOTES)),
        }
    )
