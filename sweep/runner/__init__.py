"""The session of `sweep run`: hands trials to workers, records what they report, decides which continue.

Called by `cli` and `api`.
"""
