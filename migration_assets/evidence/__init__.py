"""What a migration can prove: the values of `report.json`, their JSON schema, and the page."""
