"""One session of `sweep run`: hands trials to workers, records what they report and decides which continue.

Called by `cli` and `api`.
"""
