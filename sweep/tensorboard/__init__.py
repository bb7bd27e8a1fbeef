"""What is written for TensorBoard: the HPARAMS records (`hparams`, no torch) and the trial's writer (`writer`)."""
