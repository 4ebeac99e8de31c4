"""The black box: the last seconds of a pipeline in memory, and their replay.

Base: `memory` and `state`. Entry points: `recorder` and `replay`.
"""
