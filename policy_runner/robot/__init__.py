"""What this robot does with the policy: parameters, limits, loading. No ROS."""
