"""One trial in one process: the loop that a slot's process runs, the trial's handle, checkpoints, and what executes the loop.

Called by the runner through the interface `protocol.Worker`; the objectives use `handle`.

    protocol     commands to a worker, events from it, and the interface of a worker
    loop         import the objective, prepare it, run one trial after another
    attempt      one attempt at a trial: where to resume, the order of effects, how it ends
    handle       `Trial`: what an objective gets
    checkpoint   the files that a trial resumes from
    devices      GPUs and CPU cores, cut into slots
    visible      which GPUs there are, in CUDA's order
    processes    processes that end with the one that started them
    executors    what executes the loop: this process, or one process for each slot
    script       programs as objectives
"""
