"""What to try next, and which trials to prune: grids in order, Optuna's samplers and pruners.

Called by `runner`, `cli` and `api`; calls `storage`, `study` and `errors`.
"""
