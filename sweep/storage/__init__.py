"""A study's folder: its paths, its database, its lock, and the files that are kept.

Called by `tensorboard`, `search`, `worker`, `runner`, `report`, `cli` and `api`; calls `study` and `errors`.
"""
