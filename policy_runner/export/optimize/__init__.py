"""Smaller and faster variants of a policy, each judged in action units; none applied that harms.

Needs onnx, and no torch. Ground: `variants`, `latency`, `verdicts`. Door: `optimize_policy`.
"""
