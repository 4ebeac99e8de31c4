"""Foreign artefacts read into the policy spec and its statistics, one small module each."""
