"""Messages as bytes and as objects: types, fields, readers, writers."""
