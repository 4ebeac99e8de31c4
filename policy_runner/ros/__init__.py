"""The thin ROS side: parameters, messages to numpy, the nodes and the control thread."""
