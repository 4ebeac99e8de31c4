"""The runner's parameters: one row declares, checks and documents each."""
