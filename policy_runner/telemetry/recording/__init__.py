"""Recordings of diagnostics: written, read again, and summed up."""
