"""What executes a worker's loop: both executors implement `sweep.worker.protocol.Worker`. Called by `runner` and `cli`."""
