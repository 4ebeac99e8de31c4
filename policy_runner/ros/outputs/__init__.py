"""What the node publishes: commands, gains, heartbeat, vectors."""
