"""`policy-runner sim`: a robot from an MJCF or URDF next to the runner."""
