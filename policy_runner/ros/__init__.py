"""The thin ROS side: parameters, messages to numpy, the lifecycle node, the control thread, the sidecar."""
