"""Messages as bytes and as objects.

Ground: `types.py` (classes and fields by name) and `topics.py` (names, what creates publishers).
Doors: `raw_reader.py` and `message_reader.py` for reading, `serialized.py` for writing.
"""
