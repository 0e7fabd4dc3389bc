"""Stand-in for S3, Glue and Secrets Manager: moto behind a keep-alive HTTP server.

`python -m migration_assets.sandbox.aws --port 0` serves it on loopback. What moto lacks and the
migration depends on is added: Glue's optimistic lock (`glue`), faults, counters and a statement
log (`server`).
"""
