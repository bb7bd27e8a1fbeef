"""Tests of `sweep.tensorboard`."""
