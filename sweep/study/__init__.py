"""A study and its trials as values, without anything that runs, stores or draws them.

Called by every other package; calls only `sweep.errors`. `file` reads and writes the study file.

    spec, keys                   a study, whose fields define the keys of the study file
    space, grid, methods         parameters, numbered grid points, samplers and pruners by name
    objective, command           how an objective is found, and how the words of a command are filled in
    trial, record, repeats       what a worker receives and returns, the record of a trial, trials with several seeds
    ranking, progress            which trials are best; the number of runs in each state, and the time left
    compatibility                whether a study can be resumed after its study file has changed
    timing, formatting           time per activity; numbers, durations and parameters as text
"""
