"""From inputs to the input tensors of the model.

Ground: `arithmetic`, `history`, `normalization` and `terms`. Door: `tensor_builder`.
"""
