"""The node `simulated_robot`."""
