#!/bin/bash
# Makes the sample database and the login that may read it, once. sqlcmd finds sa's password in
# SQLCMDPASSWORD, and the scripts' variables in the environment.
set -euo pipefail
run() { /opt/mssql-tools18/bin/sqlcmd -C -S sqlserver -U sa -b -i "$1"; }
exists=$(/opt/mssql-tools18/bin/sqlcmd -C -S sqlserver -U sa -h -1 -W -Q "SET NOCOUNT ON; SELECT COUNT(*) FROM sys.databases WHERE name = '$DATABASE'")
if [ "$exists" != 0 ]; then
  echo "The database $DATABASE is there already."
  exit
fi
run /seed/database.sql
for name in login read sizes snapshot-isolation; do run "/permissions/$name.sql"; done
run /seed/tables.sql
echo "The database $DATABASE has been made."
