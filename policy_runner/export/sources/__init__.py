"""The trained policies that can be exported, one file per trainer.

Ground: `trained_policy`. Door: `open_source`.
"""
