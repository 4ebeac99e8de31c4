"""Host and Jetson readings from a root path: text to numbers, no ROS."""
