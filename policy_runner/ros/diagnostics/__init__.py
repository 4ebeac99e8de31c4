"""Diagnostic statuses: written and heard."""
