"""CUDA memory, streams and graphs, through whichever binding is installed.

Ground: `interface`, `driver`. Door: `open`.
"""
