"""A study and its trials as values: what is searched, how, and what came out; nothing here runs, stores or draws anything.

Called by every other package, and calls none but `sweep.errors`. `file` reads and writes the study file.

    spec, space, grid, methods   what a study is: metrics, parameters, numbered points, samplers and pruners by name
    objective, command           how the objective is found, and how a command's words are filled in
    trial, record, repeats       a trial on its way to a worker, what is kept of it, and of several seeds of one
    ranking                      which trials are best: the one answer for planner, folder, TensorBoard and report
    compatibility                whether a changed study can continue in the folder of an earlier one
    timing, formatting           time by activity; numbers, durations and parameters as people read them
"""
