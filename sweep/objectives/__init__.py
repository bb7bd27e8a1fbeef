"""The objectives that come with the package. A study file names one: `objective: sweep.objectives.toy:train`.

Called by the worker that trains a trial, like anybody's own objective. The objectives use the trial handle and the panels that
it has, `worker.protocol` and `errors`; `cli.doctor` looks for their data.
"""
