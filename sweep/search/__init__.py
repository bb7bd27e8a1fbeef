"""What to try next, and what to give up: grids in order, Optuna's samplers and pruners. Called by the runner."""
