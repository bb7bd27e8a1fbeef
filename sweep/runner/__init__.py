"""One session of `sweep run`: hands trials to workers, records what they report and decides which continue.

Called by `cli` and `api`.

    session                      from lock to release: checks the folder, records the study, puts the parts together
    runner, slots                the loop that answers workers' events, and what it knows of each slot
    stopping, signals            requests to stop, from the study's folder and from the operating system
    ledger, queue                every trial's record, and the runs that are still to start
    failures                     the texts and errors of trials and workers that failed
    timers                       how the session's wall clock time was spent
    gpu_sharing                  how many trials run on a GPU at a time, measured while the first one trains
    environment                  versions, commit and devices, stored beside the results
    observers, plain_lines       the interface of whoever shows a session; one line for each event
    outcome                      how a session ended, as a value and in one line
"""
