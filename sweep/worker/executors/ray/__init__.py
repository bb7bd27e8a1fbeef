"""Workers on the nodes of a Ray cluster, which need no shared file system; only this package imports ray.

runner's machine                                   a node
RayWorker ── command, and the trial's folder ────► Host (an actor) ─► LocalWorker ─► the worker's process
◄─ event, and what changed in it ──────
"""
