"""Each contract of the stages, the code that keeps it, and the test that notices when it does not."""
