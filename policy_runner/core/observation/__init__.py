"""From inputs to the input tensors of the model."""
