"""CUDA memory, streams and graphs, through the installed Python binding.

Ground: `interface`, `driver`. Door: `open`.
"""
