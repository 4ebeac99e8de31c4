"""The decision, pure: numpy in, commands out; nothing here logs, sleeps or reads a clock.

Read `pipeline.py` first.
"""
