"""Tensors in, tensors out. A heavy runtime is imported only when it is the one chosen."""
