"""The policy spec: what `policy.yaml` may say."""
