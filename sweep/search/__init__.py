"""What to try next, and which trials to prune: grids in order, Optuna's samplers and pruners.

Called by `runner` and `cli`; calls `storage`, `study` and `errors`.

    planner         the next trial, whether a trial is pruned, and when the search ends
    order           in which order the trials of a grid are started
    sampling        assignments from a sampler, none of them twice
    optuna_study    the in-memory Optuna study that samplers and pruners read
    sampler_state   the state of samplers and pruners as plain data
    methods         Optuna's samplers and pruners, created and checked by name
    imported        the trials of other studies that a study learns from
    importing       `sweep import`: select and store such trials
"""
