"""What executes a worker's loop: both executors implement `sweep.worker.protocol.Worker`. Called by the runner and the API.

inline      in a thread of this process
local       in one process for each slot
starting    how such a process is started: as a copy of a template, or from scratch
template    a process that has imported torch, and is copied
process     what a process does around the loop: session, signals, output, pipes
dynamo      imports torch's compiler only when something is compiled
"""
