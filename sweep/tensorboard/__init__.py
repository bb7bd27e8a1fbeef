"""Everything that TensorBoard reads: HPARAMS records, the trial's writer, panels, event files.

Called by workers and the runner.
"""
