"""Tests of `sweep.worker`."""
