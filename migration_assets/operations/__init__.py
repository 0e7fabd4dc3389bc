"""What a person starts: migrate, status, validate, reset, doctor; callable from Python too.

```python
from migration_assets.operations import migrate, validate

result = migrate(tables=["sales.*"])
assert result.success, result.failures
for found in validate(tables=["sales.*"]):
    print(found.table.full_name, found.rows, found.valid)
```
"""

from migration_assets.operations.migrate import migrate
from migration_assets.operations.validate import validate

__all__ = ["migrate", "validate"]
