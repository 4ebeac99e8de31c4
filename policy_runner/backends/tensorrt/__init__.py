"""TensorRT: engines built on this machine, cached, and run."""
