"""Tests of `sweep.objectives`."""
