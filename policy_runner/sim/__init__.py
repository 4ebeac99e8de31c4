"""The simulated robot of the demo and of the closed-loop tests: physics and scenario, no ROS."""
