"""One session of `sweep run`: hands trials to workers, records what they report and decides which continue.

Called by `cli` and `api`.

    session                      from lock to release: checks the folder, records the study, puts the parts together
    runner, slot_state           the loop that answers workers' events; what it knows of each slot
    stopping                     requests to stop, from the study's folder and from the operating system
    ledger, queue                every trial's record, and the runs that are still to start
    failures                     the texts and errors of trials and workers that failed
    timers                       how the session's wall clock time was spent, without that in which it was suspended
    other_sessions               the sessions that use the same cores and GPUs
    gpu_sharing                  the slots at the beginning, and how many trials then run on a GPU at a time
    environment                  versions, commit and devices, stored beside the results
    observers, plain_lines       the interface of whoever shows a session, and how it ended; one line for each event
"""
