"""Bytes to arrays and back, as pure functions. Sizes are checked before anything is decoded.

Base: `bounds`. No format executes anything: there is no pickle, and no dtype with objects.
"""
