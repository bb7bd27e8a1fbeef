"""Everything that TensorBoard reads. Called by workers, for their trials, and by `runner` and `cli`, for the whole study."""
