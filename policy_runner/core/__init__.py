"""The decision, pure: numpy in, commands out. Read pipeline.py first; nothing here logs, sleeps or reads a clock."""
