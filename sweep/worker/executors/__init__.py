"""What executes a worker's loop: `inline` in this process, `local` in one process for each slot.

Both implement `protocol.Worker`.
"""
