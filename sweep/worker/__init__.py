"""One trial in one process: the loop that a slot's process runs, the live trial, checkpoints, and what executes the loop.

Called by the runner, through the interface `protocol.Worker`. `executors` starts processes; `script` runs programs as objectives.
"""
