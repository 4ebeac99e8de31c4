"""The decision of every tick, and what it is based on."""
