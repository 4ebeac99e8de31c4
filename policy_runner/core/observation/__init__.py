"""Build the input tensors of the model from the inputs.

Base modules: `arithmetic`, `history`, `normalization` and `terms`. Other folders use
`tensor_builder`.
"""
