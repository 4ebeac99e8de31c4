"""Messages as bytes and as objects.

Base: `types.py` (classes and fields by name) and `topics.py` (topic names, protocols for creating
publishers and subscriptions). Entry points: `raw_reader.py` and `message_reader.py` for reading,
`serialized.py` for writing.
"""
