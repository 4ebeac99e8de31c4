"""The node `jetson_diagnostics`."""
