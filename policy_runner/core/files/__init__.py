"""Reading files that come with a policy: bounded, safe, checked."""
